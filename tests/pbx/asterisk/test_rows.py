"""CDRs become the rows of a call: parties, queues and groups. tests/pbx/asterisk/test_payload.py tests whole calls."""

from onhook.pbx.asterisk.call import CallHeader, format_body, parse_call
from onhook.pbx.asterisk.messages import AmiMessage
from onhook.pbx.asterisk.rows import CallRow, build_rows
from tests.pbx.asterisk.ami_streams import build_event


def cdr(**lines: str) -> AmiMessage:
    """Return an answered CDR of Alice's call."""
    defaults = {
        "Source": "1001",
        "Channel": "PJSIP/1001-00000001",
        "StartTime": "2026-04-27 19:04:36",
        "EndTime": "2026-04-27 19:04:46",
        "Duration": "10",
        "BillableSeconds": "7",
        "Disposition": "ANSWERED",
        "LinkedID": "1777309476.1",
    }
    return build_event("Cdr", **(defaults | lines))


def rows(*cdrs: AmiMessage) -> list[CallRow]:
    return build_rows(parse_call(format_body(CallHeader(), cdrs)))


def test_row_of_queue_without_agent_is_unanswered() -> None:
    """The CDR is ANSWERED, because the PBX itself answered."""
    (row,) = rows(cdr(Destination="6400", LastApplication="Queue", LastData="support"))
    assert (row.kind, row.call_to, row.status, row.talk) == ("queue", "6400", "NO ANSWER", 0)


def test_row_of_group_is_added_to_rows_of_members() -> None:
    (first, second) = group_cdrs("6300")
    assert [(row.kind, row.call_to) for row in rows(first, second)] == [
        ("member", "1002"),
        ("member", "1003"),
        ("group", "6300"),
    ]


def test_row_of_extension_with_two_telephones_has_no_group() -> None:
    """The rows of the telephones are sufficient."""
    assert [(row.kind, row.call_to) for row in rows(*group_cdrs("1002"))] == [("member", "1002"), ("member", "1003")]


def group_cdrs(number: str) -> tuple[AmiMessage, AmiMessage]:
    """Return the CDRs of a call to a number that rings two telephones."""
    dial = {"Destination": number, "LastApplication": "Dial", "LastData": "PJSIP/1002&PJSIP/1003,20"}
    return (
        cdr(**dial, DestinationChannel="PJSIP/1002-00000002"),
        cdr(**dial, DestinationChannel="PJSIP/1003-00000003", Disposition="NO ANSWER"),
    )
