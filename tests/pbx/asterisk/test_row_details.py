"""Transfers: the row of the two parties of whom one transferred the other has kind and target."""

import json

import pytest

from onhook.pbx.asterisk.call import CallHeader, format_body
from onhook.pbx.asterisk.messages import AmiMessage
from onhook.pbx.asterisk.payload import Asterisk
from tests.pbx.asterisk.ami_streams import bodies, build_event, events
from tests.pbx.asterisk.scenario_tables import to_table_rows

ALICE, BOB, FRANK = "PJSIP/1001-00000001", "PJSIP/1002-00000002", "PJSIP/1006-00000003"
TRUNK, TRUNK_OUT = "PJSIP/trunk-a-00000004", "PJSIP/trunk-a-00000005"
CONSULTING = "Local/1006@internal-00000000;1"


def cdr(channel: str, callee: str, start: int, seconds: int, **lines: str) -> AmiMessage:
    """Return the CDR of a connected call; times are seconds after 19:04."""
    defaults = {
        "Source": channel.partition("/")[2].partition("-")[0],
        "Destination": callee.partition("/")[2].partition("-")[0].partition("@")[0],
        "Channel": channel,
        "DestinationChannel": callee,
        "LastApplication": "Dial",
        "StartTime": f"2026-04-27 19:04:{start:02}",
        "AnswerTime": f"2026-04-27 19:04:{start:02}",
        "EndTime": f"2026-04-27 19:04:{start + seconds:02}",
        "Duration": str(seconds),
        "BillableSeconds": str(seconds),
        "Disposition": "ANSWERED",
        "LinkedID": "1777309440.1",
        "UniqueID": "1777309440.1",
    }
    return build_event("Cdr", **(defaults | lines))


def transfer(by: str, second: int, name: str = "ATTENDEDTRANSFER", **extra: str) -> AmiMessage:
    """Return the event of a transfer."""
    lines = {"EventName": name, "Channel": by, "EventTime": f"2026-04-27 19:04:{second:02}", "Extra": json.dumps(extra)}
    return build_event("CEL", LinkedID="1777309440.1", UniqueID="1777309440.1", **lines)


def transfers(*messages: AmiMessage) -> list[tuple[str, str, str]]:
    """Return called party, kind and target of each row with a transfer."""
    body = format_body(CallHeader(trunks=("trunk-a",), has_all_events=True), messages)
    return [
        (details.call_to, details.extra["transfer"], details.extra["transferred_to"])
        for details in Asterisk().parse(body)
        if "transfer" in details.extra
    ]


def test_transfer_attended_belongs_to_the_row_of_the_transferring_telephone() -> None:
    """Though its CDR ends with the consultation, and the consultation has the later row."""
    messages = [cdr(TRUNK, BOB, 0, 2), cdr(BOB, FRANK, 3, 4), cdr(TRUNK, FRANK, 7, 6)]
    event = transfer(BOB, 7, transferee_channel_name=TRUNK, transfer_target_channel_name=FRANK, channel2_name=BOB)
    assert transfers(*messages, event) == [("1002", "attended", "1006")]


@pytest.mark.parametrize("target", [FRANK, CONSULTING])
def test_transfer_by_the_caller_names_who_transferred(target: str) -> None:
    messages = [cdr(ALICE, BOB, 0, 3), cdr(ALICE, FRANK, 3, 4), cdr(BOB, FRANK, 7, 6)]
    event = transfer(ALICE, 7, transferee_channel_name=BOB, transfer_target_channel_name=target)
    assert transfers(*messages, event) == [("1002", "attended", "1006")]
    body = format_body(CallHeader(has_all_events=True), [*messages, event])
    assert [details.extra.get("transferred_by") for details in Asterisk().parse(body)] == ["1001", None, None]


def test_transfer_blind_by_the_caller_belongs_to_its_row() -> None:
    messages = [cdr(ALICE, BOB, 0, 3), cdr(BOB, FRANK, 3, 6)]
    event = transfer(ALICE, 3, "BLINDTRANSFER", extension="1006", transferee_channel_name=BOB)
    assert transfers(*messages, event) == [("1002", "blind", "1006")]


def test_transfer_to_an_outside_party_has_the_dialled_number() -> None:
    """The channel of a trunk has no number."""
    outside = {"Destination": "95550123", "LastData": "PJSIP/5550123@trunk-a"}
    messages = [cdr(TRUNK, BOB, 0, 3), cdr(BOB, TRUNK_OUT, 3, 4, **outside)]
    event = transfer(BOB, 7, transferee_channel_name=TRUNK, transfer_target_channel_name=TRUNK_OUT)
    assert transfers(*messages, event) == [("1002", "attended", "95550123")]


def test_transfer_into_an_application_has_the_dialled_number() -> None:
    """Such as a queue in which the consulting telephone waits: there is no target's channel."""
    second = "PJSIP/1002-00000009"
    queue = {"LastApplication": "Queue", "LastData": "team,,,,30", "Destination": "6400", "DestinationChannel": ""}
    messages = [cdr(TRUNK, BOB, 0, 3), cdr(second, "", 3, 4, **queue)]
    event = transfer(BOB, 7, transferee_channel_name=TRUNK, channel2_name=second, app="Queue")
    assert transfers(*messages, event) == [("1002", "attended", "6400")]
    assert transfers(cdr(TRUNK, BOB, 0, 3), event) == [("1002", "attended", "Queue")]


def test_transfer_of_a_party_behind_a_local_channel_is_found() -> None:
    """A member of a ring group whose partner is a half of the Local channel."""
    first, second = "Local/1002@ext-local-00000007;1", "Local/1002@ext-local-00000007;2"
    messages = [cdr(TRUNK, first, 0, 3), cdr(second, BOB, 0, 3), cdr(BOB, FRANK, 3, 4)]
    event = transfer(BOB, 7, transferee_channel_name=second, transfer_target_channel_name=FRANK)
    assert transfers(*messages, event) == [("1002", "attended", "1006")]


def test_transfer_of_a_second_call_does_not_mark_the_first() -> None:
    """One telephone transfers two callers of one call, one after the other."""
    messages = [cdr(TRUNK, BOB, 0, 3), cdr(ALICE, BOB, 10, 5)]
    first = transfer(BOB, 3, "BLINDTRANSFER", extension="1006", transferee_channel_name=TRUNK)
    second = transfer(BOB, 15, "BLINDTRANSFER", extension="1007", transferee_channel_name=ALICE)
    assert sorted(transfers(*messages, first, second)) == [("1002", "blind", "1006"), ("1002", "blind", "1007")]


def test_transfer_by_a_channel_without_a_row_marks_nothing() -> None:
    assert transfers(cdr(TRUNK, BOB, 0, 3), transfer(FRANK, 3, "BLINDTRANSFER", extension="1006")) == []


def test_transfer_recorded_with_a_consultation_is_attended() -> None:
    (body,) = bodies(events("transfer_attended"))
    rows = to_table_rows(Asterisk().parse(body))
    assert [row["more"] for row in rows] == ["transfer=attended transferred_to=1006", "", ""]
