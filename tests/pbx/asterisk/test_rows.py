"""CDRs become the rows of a call: parties, queues and groups. tests/pbx/asterisk/test_payload.py tests whole calls."""

import pytest

from onhook.pbx.asterisk.call import CallHeader, format_body, parse_call
from onhook.pbx.asterisk.call_row import CallRow, callee_kind
from onhook.pbx.asterisk.messages import AmiMessage
from onhook.pbx.asterisk.rows import build_rows
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


HEADER = CallHeader(trunks=("trunk-a", "trunk-b"), inbound_contexts=("from-trunk",))
FROM_TRUNK = {"Source": "5550199", "Channel": "PJSIP/trunk-a-00000001"}


def called(*cdrs: AmiMessage) -> list[tuple[str, str, str]]:
    """Return kind, called party and status of each row, sorted."""
    built_rows = build_rows(parse_call(format_body(HEADER, cdrs)))
    return sorted((row.kind, row.call_to, row.status) for row in built_rows)


def test_row_of_a_member_outside_has_the_number_of_the_dial_string() -> None:
    """The number that was dialled is the group's."""
    dial = {"Destination": "600", "LastApplication": "Dial", "LastData": "PJSIP/1001&PJSIP/5550177@trunk-b,20"}
    outside = cdr(**FROM_TRUNK, **dial, DestinationChannel="PJSIP/trunk-b-00000003")
    inside = cdr(**FROM_TRUNK, **dial, DestinationChannel="PJSIP/1001-00000002", Disposition="NO ANSWER")
    expected = [("group", "600", "ANSWERED"), ("member", "5550177", "ANSWERED")]
    assert called(outside) == expected
    assert called(inside, outside) == sorted([*expected, ("member", "1001", "NO ANSWER")])


def test_row_of_two_members_outside_by_one_trunk() -> None:
    dial = {"Destination": "600", "LastApplication": "Dial", "LastData": "PJSIP/5550177@trunk-b&PJSIP/5550188@trunk-b"}
    first = cdr(**FROM_TRUNK, **dial, DestinationChannel="PJSIP/trunk-b-00000002", Disposition="NO ANSWER")
    second = cdr(**FROM_TRUNK, **dial, DestinationChannel="PJSIP/trunk-b-00000003")
    members = [("member", "5550177", "NO ANSWER"), ("member", "5550188", "ANSWERED")]
    assert called(second, first) == [("group", "600", "ANSWERED"), *members]


def test_row_of_one_number_that_is_called_by_two_trunks_is_what_was_dialled() -> None:
    """That is no group."""
    dial = {
        "Destination": "95550123",
        "LastApplication": "Dial",
        "LastData": "PJSIP/5550123@trunk-a&SIP/trunk-b/5550123",
    }
    first = cdr(**dial, DestinationChannel="PJSIP/trunk-a-00000002", Disposition="NO ANSWER")
    second = cdr(**dial, DestinationChannel="DAHDI/trunk-b/5550123-1")
    assert called(first, second) == [("member", "95550123", "ANSWERED"), ("member", "95550123", "NO ANSWER")]


def test_row_of_a_queue_member_outside_has_the_trunk() -> None:
    """The argument of `Queue` names no member."""
    queue = {"Destination": "6400", "LastApplication": "Queue", "LastData": "support,t"}
    outside = cdr(**FROM_TRUNK, **queue, DestinationChannel="PJSIP/trunk-b-00000003")
    assert called(outside) == [("member", "trunk-b", "ANSWERED"), ("queue", "6400", "ANSWERED")]


def test_row_of_a_member_outside_behind_a_local_channel() -> None:
    """As of an extension that rings a mobile too."""
    local = "Local/1001@internal-00000005"
    member = cdr(
        **FROM_TRUNK, Destination="6400", LastApplication="Queue", LastData="support", DestinationChannel=f"{local};1"
    )
    dial = {"Destination": "1001", "LastApplication": "Dial", "LastData": "PJSIP/1001&PJSIP/5550177@trunk-b,20"}
    inside = cdr(**dial, Channel=f"{local};2", DestinationChannel="PJSIP/1001-00000006", Disposition="NO ANSWER")
    outside = cdr(**dial, Channel=f"{local};2", DestinationChannel="PJSIP/trunk-b-00000007")
    assert called(member, inside, outside) == [
        ("member", "1001", "NO ANSWER"),
        ("member", "5550177", "ANSWERED"),
        ("queue", "6400", "ANSWERED"),
    ]


def test_row_of_an_extension_that_rings_a_mobile_too_has_no_group() -> None:
    dial = {"Destination": "1001", "LastApplication": "Dial", "LastData": "PJSIP/1001&PJSIP/5550177@trunk-b,20"}
    inside = cdr(**FROM_TRUNK, **dial, DestinationChannel="PJSIP/1001-00000002", Disposition="NO ANSWER")
    outside = cdr(**FROM_TRUNK, **dial, DestinationChannel="PJSIP/trunk-b-00000003")
    assert called(inside, outside) == [("member", "1001", "NO ANSWER"), ("member", "5550177", "ANSWERED")]


def test_row_of_a_number_from_outside_that_rings_several_telephones() -> None:
    """The rows of the telephones are sufficient, unless one is outside: then the group has the direction."""
    dial = {"Destination": "5550000", "DestinationContext": "from-trunk", "LastApplication": "Dial"}
    inside_only = cdr(**FROM_TRUNK, **dial, LastData="PJSIP/1001&PJSIP/1002", DestinationChannel="PJSIP/1001-00000002")
    assert called(inside_only) == [("member", "1001", "ANSWERED")]
    outside = cdr(
        **FROM_TRUNK, **dial, LastData="PJSIP/1001&PJSIP/5550177@trunk-b", DestinationChannel="PJSIP/trunk-b-00000002"
    )
    assert called(outside) == [("group", "5550000", "ANSWERED"), ("member", "5550177", "ANSWERED")]


def test_row_of_a_queue_is_there_whatever_led_to_it() -> None:
    """The number of a trunk, or no number at all."""
    queue = {"LastApplication": "Queue", "LastData": "support,t", "DestinationChannel": "PJSIP/1002-00000002"}
    for destination, name in (("5550000", "5550000"), ("s", "support")):
        lines = {"Destination": destination, "DestinationContext": "from-trunk"}
        answered = cdr(**FROM_TRUNK, **queue, **lines)
        assert called(answered) == [("member", "1002", "ANSWERED"), ("queue", name, "ANSWERED")]
        assert called(cdr(**FROM_TRUNK, **queue | lines | {"DestinationChannel": ""})) == [("queue", name, "NO ANSWER")]


def test_row_of_a_trunk_with_the_number_of_a_group_is_no_second_telephone() -> None:
    dial = {"Destination": "600", "LastApplication": "Dial", "LastData": "PJSIP/5550177@trunk-600&PJSIP/600,20"}
    cdrs = [cdr(**dial, DestinationChannel=f"PJSIP/{name}") for name in ("trunk-600-00000002", "600-00000003")]
    header = CallHeader(trunks=("trunk-600",))
    assert sorted(row.call_to for row in build_rows(parse_call(format_body(header, cdrs)))) == ["5550177", "600"]


def group_cdrs(number: str) -> tuple[AmiMessage, AmiMessage]:
    """Return the CDRs of a call to a number that rings two telephones."""
    dial = {"Destination": number, "LastApplication": "Dial", "LastData": "PJSIP/1002&PJSIP/1003,20"}
    return (
        cdr(**dial, DestinationChannel="PJSIP/1002-00000002"),
        cdr(**dial, DestinationChannel="PJSIP/1003-00000003", Disposition="NO ANSWER"),
    )


def test_row_caller_of_an_outgoing_call_is_the_extension_as_far_as_it_is_known() -> None:
    """By the dialplan's record, by the telephone's channel; a telephone with a name keeps what it shows."""
    outgoing = {"DestinationChannel": "PJSIP/trunk-a-00000002", "Source": "5550000", "CallerID": '"ACME" <5550000>'}
    header = CallHeader(trunks=("trunk-a",))

    def caller(**lines: str) -> tuple[str, str]:
        (row,) = build_rows(parse_call(format_body(header, [cdr(**outgoing | lines)])))
        return row.cdr.source, row.cdr.outbound_caller_id

    assert caller(cnum="1001", cnam="Alice") == ("1001", "ACME <5550000>")
    assert caller() == ("1001", "ACME <5550000>")
    assert caller(Channel="PJSIP/alice-00000001") == ("5550000", "")
    assert caller(Source="1001", CallerID="1001") == ("1001", "")
    assert caller(Source="1001", CallerID='"ACME" <5550000>') == ("1001", "ACME <5550000>")


def test_row_of_second_telephones_is_their_extensions() -> None:
    """Those that a FreePBX marks, and no other number that ends in the same digits."""

    def called_devices(*endpoints: str) -> list[str]:
        names = "&".join(f"PJSIP/{endpoint}" for endpoint in endpoints)
        dial = {"Destination": "201", "LastApplication": "Dial", "LastData": f"{names},20"}
        cdrs = [
            cdr(**dial, DestinationChannel=f"PJSIP/{endpoint}-0000000{number}")
            for number, endpoint in enumerate(endpoints, 2)
        ]
        return sorted(row.call_to for row in rows(*cdrs))

    assert called_devices("201", "91201", "201-web") == ["201"]
    assert called_devices("201", "1201") == ["1201", "201"]
    assert called_devices("201", "91201", "205") == ["201", "205"]


def test_row_of_a_mailbox_belongs_to_the_extension_that_was_tried() -> None:
    tried = cdr(
        DestinationChannel="PJSIP/1002-00000002", Destination="1002", LastApplication="Dial", Disposition="NO ANSWER"
    )
    message = {"StartTime": "2026-04-27 19:04:46", "EndTime": "2026-04-27 19:04:56", "LastApplication": "VoiceMail"}
    (row,) = rows(tried, cdr(**message, Destination="vmu1002", LastData="1002@default,u"))
    assert (row.call_to, row.status, row.duration) == ("1002", "VOICEMAIL", 20)
    other_rows = rows(tried, cdr(**message, Destination="vmb1003", LastData="1003@default,b"))
    assert [(row.call_to, row.status) for row in other_rows] == [("1002", "NO ANSWER"), ("1003", "VOICEMAIL")]


@pytest.mark.parametrize("destination", ["s-NOANSWER", "s-BUSY", "s-CHANUNAVAIL", "exit-FAILED", "s"])
def test_row_of_a_mailbox_is_found_by_the_argument_of_voicemail(destination: str) -> None:
    """Where the dialplan jumps by the outcome of the call, the extension names no mailbox."""
    tried = cdr(
        DestinationChannel="PJSIP/1002-00000002", Destination="1002", LastApplication="Dial", Disposition="NO ANSWER"
    )
    message = {"StartTime": "2026-04-27 19:04:46", "EndTime": "2026-04-27 19:04:56", "LastApplication": "VoiceMail"}
    own, other = (cdr(**message, Destination=destination, LastData=data) for data in ("1002@default,u", "1003&1004,b"))
    assert [(row.call_to, row.status, row.duration) for row in rows(tried, own)] == [("1002", "VOICEMAIL", 20)]
    assert [(row.call_to, row.status) for row in rows(tried, other)] == [("1002", "NO ANSWER"), ("1003", "VOICEMAIL")]
    assert [row.call_to for row in rows(own)] == ["1002"]


def test_row_of_a_mailbox_belongs_to_a_telephone_with_a_name() -> None:
    """Nothing says that the mailbox is another one's."""
    tried = {"Destination": "s", "LastApplication": "Dial", "Disposition": "NO ANSWER"}
    message = cdr(
        Destination="s-NOANSWER", LastApplication="VoiceMail", LastData="1002", StartTime="2026-04-27 19:04:46"
    )
    (row,) = rows(cdr(**tried, DestinationChannel="PJSIP/bobs-desk-00000002"), message)
    assert (row.call_to, row.status) == ("bobs-desk", "VOICEMAIL")
    (row,) = rows(cdr(**tried | {"Destination": "1002"}, DestinationChannel="PJSIP/91002-00000002"), message)
    assert (row.call_to, row.status) == ("1002", "VOICEMAIL")


@pytest.mark.parametrize(
    ("lines", "called"),
    [
        ({"Destination": "s-CHANUNAVAIL", "LastApplication": "Congestion"}, ("machine", "Congestion")),
        ({"Destination": "hangup", "LastApplication": "Hangup"}, ("machine", "Hangup")),
        ({"Destination": "zapateller", "LastApplication": "Zapateller"}, ("machine", "Zapateller")),
        ({"Destination": "busy", "LastApplication": "Busy"}, ("machine", "Busy")),
        ({"Destination": "fax", "LastApplication": "ReceiveFAX", "LastData": "fax/1.tif"}, ("machine", "ReceiveFAX")),
        ({"Destination": "vmret", "LastApplication": "Playback", "DestinationContext": "ivr-1"}, ("ivr", "ivr-1")),
    ],
)
def test_row_of_an_extension_of_the_dialplan_alone_has_no_number(
    lines: dict[str, str], called: tuple[str, str]
) -> None:
    (row,) = rows(cdr(**lines))
    assert (row.kind, row.call_to) == called


def test_hangup_of_a_freepbx_after_a_telephone_is_no_row() -> None:
    tried = cdr(DestinationChannel="PJSIP/1002-00000002", Destination="1002", Disposition="NO ANSWER")
    (row,) = rows(tried, cdr(Destination="hangup", LastApplication="Hangup", StartTime="2026-04-27 19:04:46"))
    assert (row.call_to, row.status) == ("1002", "NO ANSWER")


@pytest.mark.parametrize("application", ["", "NoOp"])
def test_call_file_that_reached_no_party_is_no_call(application: str) -> None:
    """Asterisk runs the extension `failed` for it, on a channel that it has answered."""
    assert rows(cdr(Channel="OutgoingSpoolFailed", Destination="failed", LastApplication=application)) == []


def test_row_of_a_line_channel_has_no_number_of_its_own() -> None:
    """The line's number is no extension; the dialled one is."""
    (row,) = rows(cdr(DestinationChannel="DAHDI/33-1", Destination="205", LastApplication="Dial"))
    assert row.call_to == "205"


def test_helper_channel_is_no_called_party() -> None:
    assert (
        rows(cdr(DestinationChannel="AudioSocket/a-00000002", Destination="205", LastApplication="Stasis"))[0].kind
        == "machine"
    )


@pytest.mark.parametrize(
    ("application", "data", "status"),
    [
        ("Dial", "PJSIP/2009,20", "FAILED"),
        ("Dial", "PJSIP/2009&PJSIP/2010,20", "FAILED"),
        ("Congestion", "10", "FAILED"),
        ("Busy", "10", "BUSY"),
    ],
)
def test_row_of_a_telephone_that_could_not_be_called_behind_an_ivr(application: str, data: str, status: str) -> None:
    """The CDR is ANSWERED, because the IVR answered; no channel of the telephone was made."""
    ivr = cdr(**FROM_TRUNK, Destination="6500", LastApplication="WaitExten", DestinationContext="menu")
    dialled = cdr(**FROM_TRUNK, Destination="2009", LastApplication=application, LastData=data)
    (ivr_row, row) = build_rows(parse_call(format_body(HEADER, (ivr, dialled))))
    assert (ivr_row.kind, ivr_row.status) == ("ivr", "ANSWERED")
    assert (row.call_to, row.status, row.talk, callee_kind(row, HEADER)) == ("2009", status, 0, None)
