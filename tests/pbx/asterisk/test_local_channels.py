"""Who, or what, is behind a Local channel: a telephone, a mailbox, a queue, a conference, an IVR."""

from datetime import UTC, datetime

import pytest

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call
from onhook.cdr.record import Call
from onhook.pbx.asterisk.call import CallHeader, format_body
from onhook.pbx.asterisk.messages import AmiMessage
from onhook.pbx.asterisk.payload import Asterisk
from tests.pbx.asterisk.ami_streams import build_event
from tests.pbx.asterisk.test_origination import LINKED_ID, cel

CALLER, PHONE = "PJSIP/trunk-a-00000001", "PJSIP/1001-00000002"
FIRST, SECOND = "Local/1001@internal-00000001;1", "Local/1001@internal-00000001;2"
HEADER = CallHeader(trunks=("trunk-a",), inbound_contexts=("from-trunk",))
ALL_EVENTS = CallHeader(trunks=("trunk-a",), inbound_contexts=("from-trunk",), has_all_events=True)
UNANSWERED = {"Disposition": "NO ANSWER"}
MAILBOX = {"LastApplication": "VoiceMail", "LastData": "1001@default,u", "Destination": "1001"}

Leg = tuple[str, str, int | None, int | None, object]
"""Called party, status, duration, talk, kind of the called party."""


def clock(second: int) -> str:
    return f"2026-04-27 19:04:{second:02}"


def cdr(channel: str, dst_channel: str, begin: int, answer: int, end: int, **lines: str) -> AmiMessage:
    """Return a CDR between seconds of the call; of one that is not answered, `answer` is the end."""
    talk = 0 if lines.get("Disposition") else end - answer
    defaults = {
        "Source": "5550199",
        "CallerID": "5550199",
        "DestinationContext": "internal",
        "Channel": channel,
        "DestinationChannel": dst_channel,
        "LastApplication": "Dial",
        "LastData": "PJSIP/1001,20",
        "Destination": "1001",
        "StartTime": clock(begin),
        "AnswerTime": clock(answer) if talk else "",
        "EndTime": clock(end),
        "Duration": str(end - begin),
        "BillableSeconds": str(talk),
        "Disposition": "ANSWERED",
        "LinkedID": LINKED_ID,
        "UniqueID": LINKED_ID,
    }
    return build_event("Cdr", **(defaults | lines))


def inbound(answer: int, end: int, **lines: str) -> AmiMessage:
    """Return the CDR of a caller at a DID whose dialplan calls the Local channel."""
    outer = {"Destination": "5550064", "DestinationContext": "from-trunk", "LastData": "Local/1001@internal,60"}
    return cdr(CALLER, FIRST, 0, answer, end, **outer | lines)


def read(*events: AmiMessage, header: CallHeader = HEADER) -> Call:
    legs = [
        ReportedLeg(details=details, seq=1, via="ami", received_at=datetime(2026, 4, 27, tzinfo=UTC))
        for details in Asterisk().parse(format_body(header, events))
    ]
    return assemble_call("LAB", legs, PbxFacts(dialect="asterisk"))


def legs(call: Call) -> list[Leg]:
    return sorted(
        (leg.call_to, leg.status, leg.call_duration, leg.talk_duration, leg.extra.get("callee_kind"))
        for leg in call.legs
    )


def test_did_is_what_the_caller_dialled_before_the_local_channel() -> None:
    call = read(inbound(3, 20), cdr(SECOND, PHONE, 0, 3, 20))
    assert (call.did_number, call.call_to, call.answered_by) == ("5550064", "1001", "1001")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(MAILBOX, ("1001", "VOICEMAIL", 12, 12, "voicemail"), id="mailbox"),
        pytest.param(
            MAILBOX | {"Destination": "vmu1001"}, ("1001", "VOICEMAIL", 12, 12, "voicemail"), id="mailbox of a FreePBX"
        ),
        pytest.param(
            {"LastApplication": "Queue", "LastData": "support,t", "Destination": "6400"},
            ("6400", "NO ANSWER", 12, 0, "queue"),
            id="queue without an agent",
        ),
        pytest.param(
            {"LastApplication": "ConfBridge", "LastData": "3000,,", "Destination": "3000"},
            ("3000", "ANSWERED", 12, 12, "conference"),
            id="conference",
        ),
        pytest.param(
            {"LastApplication": "WaitExten", "LastData": "10", "Destination": "s", "DestinationContext": "ivr-1"},
            ("internal", "ANSWERED", 12, 12, "ivr"),
            id="IVR",
        ),
        pytest.param(
            {"LastApplication": "Echo", "Destination": "*43"}, ("*43", "ANSWERED", 12, 12, "feature"), id="echo"
        ),
        pytest.param({"Destination": "2009"}, ("2009", "FAILED", 12, 0, None), id="a telephone that is not registered"),
    ],
)
def test_machine_behind_a_local_channel_is_no_person(lines: dict[str, str], expected: Leg) -> None:
    call = read(inbound(0, 12, DestinationContext="internal"), cdr(SECOND, "", 0, 0, 12, **lines))
    assert legs(call) == [expected]
    assert call.answered_by == ("3000" if expected[4] == "conference" else "")


def test_message_after_a_telephone_behind_a_local_channel_is_one_leg() -> None:
    call = read(inbound(20, 32), cdr(SECOND, PHONE, 0, 20, 20, **UNANSWERED), cdr(SECOND, "", 20, 20, 32, **MAILBOX))
    assert legs(call) == [("1001", "VOICEMAIL", 32, 12, "extension")]
    assert (call.status, call.wait_duration, call.did_number) == ("VOICEMAIL", 20, "5550064")


def test_hangup_after_a_telephone_behind_a_local_channel_is_no_leg() -> None:
    hangup = cdr(SECOND, "", 20, 20, 20, LastApplication="Hangup", LastData="")
    assert legs(read(inbound(3, 20), cdr(SECOND, PHONE, 0, 3, 20), hangup)) == [
        ("1001", "ANSWERED", 20, 17, "extension")
    ]


def test_message_behind_two_local_channels_is_a_message() -> None:
    inner = "Local/1001@devices-00000007"
    call = read(inbound(0, 12), cdr(SECOND, f"{inner};1", 0, 0, 12), cdr(f"{inner};2", "", 0, 0, 12, **MAILBOX))
    assert legs(call) == [("1001", "VOICEMAIL", 12, 12, "voicemail")]


IN_GROUP = {"DestinationContext": "ext-group"}
QUEUE = {"LastApplication": "Queue", "LastData": "support,t", "Destination": "6400"} | IN_GROUP
RING_GROUP = {"LastData": "Local/1001@internal&Local/1002@internal,60", "Destination": "600"} | IN_GROUP
GROUPS = pytest.mark.parametrize(
    ("group", "number", "kind"), [(QUEUE, "6400", "queue"), (RING_GROUP, "600", "ring_group")]
)


@GROUPS
@pytest.mark.parametrize("has_telephone", [True, False])
def test_mailbox_of_a_member_does_not_answer_for_the_group(
    group: dict[str, str], number: str, kind: str, *, has_telephone: bool
) -> None:
    ring = 20 if has_telephone else 0
    telephone = [cdr(SECOND, PHONE, 0, 20, 20, **UNANSWERED)] if has_telephone else []
    call = read(inbound(ring, 32, **group), *telephone, cdr(SECOND, "", ring, ring, 32, **MAILBOX))
    member_kind = "extension" if has_telephone else "voicemail"
    assert legs(call) == [("1001", "VOICEMAIL", 32, 32 - ring, member_kind), (number, "NO ANSWER", 32, 0, kind)]
    assert call.answered_by == ""


@GROUPS
def test_other_member_answers_for_the_group(group: dict[str, str], number: str, kind: str) -> None:
    other = "Local/1002@internal-00000009"
    call = read(
        inbound(0, 5, **group),
        cdr(SECOND, "", 0, 0, 5, LastApplication="Playback", LastData="busy-now", Destination="7000"),
        cdr(CALLER, f"{other};1", 5, 10, 30, **group),
        cdr(f"{other};2", "PJSIP/1002-0000000a", 5, 10, 30, Destination="1002", LastData="PJSIP/1002,20"),
    )
    assert legs(call) == sorted(
        [
            ("1002", "ANSWERED", 25, 20, "extension"),
            (number, "ANSWERED", 30, 20, kind),
            ("7000", "ANSWERED", 5, 5, "ivr"),
        ]
    )
    assert call.answered_by == "1002"


@GROUPS
@pytest.mark.parametrize("has_all_events", [False, True])
def test_conference_that_is_a_member_answers_for_the_group(
    group: dict[str, str], number: str, kind: str, *, has_all_events: bool
) -> None:
    """In a conference people talk with people."""
    conference = cdr(SECOND, "", 0, 0, 12, LastApplication="ConfBridge", LastData="3000,,", Destination="3000")
    events = [cel("CHAN_START", CALLER)] if has_all_events else []
    call = read(inbound(0, 12, **group), conference, *events, header=ALL_EVENTS if has_all_events else HEADER)
    name = f"support<{number}>" if has_all_events and kind == "queue" else number
    assert legs(call) == sorted([("3000", "ANSWERED", 12, 12, "conference"), (name, "ANSWERED", 12, 12, kind)])


@pytest.mark.parametrize("ring", [0, 20])
@pytest.mark.parametrize("group", [{}, QUEUE], ids=["by its extension", "member of a queue"])
def test_message_behind_a_local_channel_with_channel_events(group: dict[str, str], ring: int) -> None:
    """The Local channel is in a bridge with the caller."""
    end = ring + 12
    telephone = [
        cel("CHAN_START", PHONE, EventTime=clock(0), CallerIDnum="1001", CallerIDname="Ann"),
        cel("HANGUP", PHONE, EventTime=clock(20), Extra='{"hangupcause":0}'),
    ]
    events = [
        cel("CHAN_START", CALLER, EventTime=clock(0), Exten="5550064", Context="from-trunk"),
        *(cel("CHAN_START", channel, EventTime=clock(0)) for channel in (FIRST, SECOND)),
        *(telephone if ring else []),
        cel("APP_START", SECOND, "VoiceMail", EventTime=clock(ring), Exten="1001"),
        *(cel("BRIDGE_ENTER", channel, EventTime=clock(ring)) for channel in (FIRST, CALLER)),
        *(cel("BRIDGE_EXIT", channel, EventTime=clock(end)) for channel in (FIRST, CALLER)),
        *(
            cel("HANGUP", channel, EventTime=clock(end), Extra='{"hangupcause":16}')
            for channel in (CALLER, FIRST, SECOND)
        ),
    ]
    cdrs = [inbound(ring, end, **group), cdr(SECOND, "", ring, ring, end, **MAILBOX)]
    if ring:
        cdrs.append(cdr(SECOND, PHONE, 0, 20, 20, **UNANSWERED))
    call = read(*cdrs, *events, header=ALL_EVENTS)
    message = ("Ann<1001>", "VOICEMAIL", 32, 12, "extension") if ring else ("1001", "VOICEMAIL", 12, 12, "voicemail")
    assert [leg for leg in legs(call) if leg[4] != "queue"] == [message]
    assert [leg[1] for leg in legs(call) if leg[4] == "queue"] == (["NO ANSWER"] if group else [])
    assert (call.did_number, call.answered_by) == ("5550064", "")
