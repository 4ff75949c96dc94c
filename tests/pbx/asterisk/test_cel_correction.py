"""Channel events correct the CDRs, as far as they contain the facts. tests/pbx/asterisk/test_payload.py tests whole
calls.
"""

import re

import pytest

from onhook.cdr.call_details import CallDetails
from onhook.pbx.asterisk.call import CallHeader, format_body
from onhook.pbx.asterisk.messages import AmiMessage
from onhook.pbx.asterisk.payload import Asterisk
from tests.pbx.asterisk.ami_streams import build_event, events

CALLER, CALLEE = "PJSIP/1001-00000001", "PJSIP/1002-00000002"


def cdr(**lines: str) -> AmiMessage:
    """Return the CDR of Alice's call to Bob, which was not answered."""
    defaults = {
        "Source": "1001",
        "Destination": "1002",
        "Channel": CALLER,
        "DestinationChannel": CALLEE,
        "LastApplication": "Dial",
        "StartTime": "2026-04-27 19:04:36",
        "EndTime": "2026-04-27 19:04:46",
        "Duration": "10",
        "BillableSeconds": "0",
        "Disposition": "NO ANSWER",
        "LinkedID": "1777309476.1",
    }
    return build_event("Cdr", **(defaults | lines))


def cel(name: str, channel: str, **lines: str) -> AmiMessage:
    return build_event("CEL", EventName=name, Channel=channel, EventTime="2026-04-27 19:04:36", **lines)


def parse(*messages: AmiMessage) -> CallDetails:
    (details,) = Asterisk().parse(format_body(CallHeader(has_all_events=True), messages))
    return details


@pytest.mark.parametrize(
    ("extra", "status"),
    [
        ('{"hangupcause": 1}', "FAILED"),
        ('{"hangupcause": 34}', "FAILED"),
        ('{"hangupcause": 17}', "BUSY"),
        ('{"hangupcause": 16}', "NO ANSWER"),
        ('{"hangupcause": [1]}', "NO ANSWER"),
        ('{"hangupcause": {"1": 1}}', "NO ANSWER"),
        ("{}", "NO ANSWER"),
    ],
)
def test_correction_status_follows_hangup_cause(extra: str, status: str) -> None:
    """The CDR's own status is stored if it differs."""
    details = parse(cdr(), cel("CHAN_START", CALLEE), cel("HANGUP", CALLEE, Extra=extra))
    assert details.status == status
    assert details.extra.get("cdr_status") == (None if status == "NO ANSWER" else "NO ANSWER")


def test_correction_conference_without_complete_span_keeps_cdr() -> None:
    """As when the events of the caller's leaving belong to another call."""
    conference = {"LastApplication": "ConfBridge", "DestinationChannel": "", "Destination": "6500"}
    details = parse(
        cdr(**conference, Disposition="ANSWERED", AnswerTime="2026-04-27 19:04:36", BillableSeconds="10"),
        cel("BRIDGE_ENTER", CALLER, Application="ConfBridge"),
    )
    assert (details.status, details.call_duration, details.talk_duration) == ("ANSWERED", 10, 10)


def test_correction_queue_without_application_events_keeps_times_of_cdr() -> None:
    queue = {"LastApplication": "Queue", "LastData": "support", "DestinationChannel": "", "Destination": "6400"}
    details = parse(cdr(**queue), cel("CHAN_START", CALLER, Exten="6400"))
    assert details.call_to == "support<6400>"
    assert (details.time_start, details.call_duration) == ("2026-04-27 19:04:36", 10)
    assert (details.status, details.agent_ring_time) == ("NO ANSWER", 0)


@pytest.mark.parametrize(
    ("source", "second", "has_abandoned"),
    [(CALLER, 46, True), ("dialplan/builtin", 46, False), ("", 46, True), ("", 56, False), (CALLER, 56, False)],
)
def test_correction_abandoned_caller_hung_up_in_the_queue(source: str, second: int, has_abandoned: bool) -> None:
    """Asterisk reports a caller whose wait timed out as abandoned too."""
    queue = {"LastApplication": "Queue", "LastData": "support", "DestinationChannel": "", "Destination": "6400"}
    hangup = build_event(
        "CEL",
        EventName="HANGUP",
        Channel=CALLER,
        EventTime=f"2026-04-27 19:04:{second}",
        Extra=f'{{"hangupsource":"{source}"}}',
    )
    abandon = build_event("QueueCallerAbandon", Queue="support", Channel=CALLER)
    details = parse(cdr(**queue), cel("CHAN_START", CALLER, Exten="6400"), hangup, abandon)
    assert ("abandoned" in details.extra) == has_abandoned


@pytest.mark.parametrize(
    ("member", "expected"),
    [("PJSIP/5550177@trunk-b", "5550177"), ("PJSIP/trunk-b", "trunk-b"), ("PJSIP/5550177@trunk-a", "trunk-b")],
)
def test_correction_queue_member_outside_has_the_number_that_the_queue_dialled(member: str, expected: str) -> None:
    """The CDR has only the trunk, and the number of the queue."""
    outside = "PJSIP/trunk-b-00000002"
    queue = {"LastApplication": "Queue", "LastData": "support", "Destination": "6400", "DestinationChannel": outside}
    connected = build_event("AgentConnect", Queue="support", DestChannel=outside, Interface=member, RingTime="3")
    header = CallHeader(has_all_events=True, trunks=("trunk-a", "trunk-b"))
    events = (cdr(**queue), cel("CHAN_START", outside), cel("BRIDGE_ENTER", outside), connected)
    queue_row, member_row = Asterisk().parse(format_body(header, events))
    assert (queue_row.call_to, queue_row.type) == ("support<6400>", "Internal")
    assert (member_row.call_to, member_row.type, member_row.agent_ring_time) == (expected, "Outbound", 3)


@pytest.mark.parametrize("seconds", [0, 1, 2, 3])
def test_correction_short_ivr_without_a_number_has_a_row_before_its_party(seconds: int) -> None:
    """Times are whole seconds: a prompt of a second and a half lasts one or two, by where the second began."""
    answered_at = f"2026-11-28 23:13:{35 - seconds:02}"
    body = format_body(CallHeader(has_all_events=True, trunks=("trunk-a",)), answered_at_second(answered_at))
    ivr, party = sorted(Asterisk().parse(body), key=lambda details: details.call_to != "ivr-1")
    assert (ivr.call_to, ivr.time_start, ivr.call_duration) == ("ivr-1", answered_at, seconds)
    assert (party.call_to, party.time_start, party.talk_duration) == ("Bob<1002>", "2026-11-28 23:13:35", 3)


def answered_at_second(answered_at: str) -> list[AmiMessage]:
    """Return a recorded call through an IVR at extension `s`, which the caller left at 23:13:35, answered at a time."""
    return [
        AmiMessage(
            tuple((name, re.sub(r"2026-11-28 23:13:3[34]", answered_at, value)) for name, value in message.lines)
        )
        for message in events("freepbx_ivr")
    ]
