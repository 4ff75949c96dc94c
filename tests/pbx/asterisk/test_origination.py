"""Calls that the PBX begins by itself: whichever side is called first, the telephone inside is the caller."""

import pytest

from onhook.cdr.call_details import CallDetails
from onhook.pbx.asterisk.call import CallHeader, format_body
from onhook.pbx.asterisk.messages import AmiMessage
from onhook.pbx.asterisk.payload import Asterisk
from tests.pbx.asterisk.ami_streams import build_event

LINKED_ID = "1777309476.1"
AGENT, CUSTOMER = "PJSIP/1002-00000001", "PJSIP/trunk-a-00000002"
FIRST_HALF, SECOND_HALF = "Local/x@internal-00000003;1", "Local/x@internal-00000003;2"


def cdr(channel: str, dst_channel: str = "", **lines: str) -> AmiMessage:
    defaults = {
        "Source": "95550123",
        "CallerID": '"Web" <95550123>',
        "Channel": channel,
        "DestinationChannel": dst_channel,
        "LastApplication": "Dial",
        "StartTime": "2026-04-27 19:04:36",
        "EndTime": "2026-04-27 19:04:46",
        "Duration": "10",
        "BillableSeconds": "7",
        "Disposition": "ANSWERED",
        "LinkedID": LINKED_ID,
        "UniqueID": LINKED_ID,
    }
    return build_event("Cdr", **(defaults | lines))


def cel(name: str, channel: str, application: str = "", **lines: str) -> AmiMessage:
    defaults = {
        "EventName": name,
        "Channel": channel,
        "Application": application,
        "EventTime": "2026-04-27 19:04:36",
        "UniqueID": LINKED_ID,
        "LinkedID": LINKED_ID,
    }
    return build_event("CEL", **(defaults | lines))


def parse(*events: AmiMessage) -> list[CallDetails]:
    has_all_events = any(event.get("Event") == "CEL" for event in events)
    header = CallHeader(trunks=("trunk-a", "trunk-b"), has_all_events=has_all_events)
    return Asterisk().parse(format_body(header, events))


def summary(details: CallDetails) -> tuple[str, str, str, str, str]:
    return details.type, details.call_from, details.call_to, details.status, str(details.extra.get("originated", ""))


CALLED_FIRST = cel("ANSWER", CUSTOMER, "AppDial2")
OUTBOUND = ("Outbound", "1002", "95550123", "ANSWERED", "call")


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(
            [cdr(AGENT, CUSTOMER, Destination="95550123"), cel("ANSWER", AGENT, "AppDial2")],
            id="agent first, by extension",
        ),
        pytest.param(
            [
                cdr(AGENT, CUSTOMER, Destination="s", LastData="PJSIP/95550123@trunk-a,20"),
                cel("ANSWER", AGENT, "AppDial2"),
            ],
            id="agent first, by application",
        ),
        pytest.param([cdr(CUSTOMER, AGENT, Destination="1002"), CALLED_FIRST], id="customer first, by extension"),
        pytest.param([cdr(CUSTOMER, AGENT, Destination="s"), CALLED_FIRST], id="customer first, by application"),
        pytest.param(
            [cdr(FIRST_HALF, CUSTOMER, Destination="95550123"), cdr(SECOND_HALF, AGENT, Destination="1002")],
            id="agent first, by a Local channel",
        ),
        pytest.param(
            [cdr(FIRST_HALF, AGENT, Destination="1002"), cdr(SECOND_HALF, CUSTOMER, Destination="95550123")],
            id="customer first, by a Local channel",
        ),
        pytest.param(
            [cdr(FIRST_HALF, AGENT, Destination="s"), cdr(SECOND_HALF, CUSTOMER, Destination="95550123", CallerID="")],
            id="customer first, by a Local channel and an application",
        ),
    ],
)
def test_call_that_the_pbx_begins_is_the_telephones_call(events: list[AmiMessage]) -> None:
    (details,) = parse(*events)
    assert summary(details) == OUTBOUND
    assert details.talk_duration == 7 or details.extra["cdr_talk_duration"] == 7


def test_attempt_that_no_telephone_answers_is_its_own() -> None:
    unanswered = {"Disposition": "NO ANSWER", "BillableSeconds": "0", "Destination": "s"}
    (direct,) = parse(cdr(AGENT, LastApplication="AppDial2", **unanswered))
    (local,) = parse(
        cdr(FIRST_HALF, LastApplication="AppDial2", **unanswered),
        cdr(SECOND_HALF, AGENT, **unanswered | {"Destination": "1002"}),
    )
    assert summary(direct) == summary(local) == ("Outbound", "1002", "95550123", "NO ANSWER", "attempt")


@pytest.mark.parametrize(
    ("telephone", "number", "direction"),
    [
        ("1002", "95550123", "Outbound"),
        ("1002", "1003", "Internal"),
        ("1002", "112", "Internal"),
        ("99201", "1002", "Outbound"),
        ("201-web", "205", "Internal"),
    ],
)
def test_direction_of_an_attempt_is_assumed_by_the_length_of_the_number(
    telephone: str, number: str, direction: str
) -> None:
    """That of a second device's extension, as far as it is known."""
    lines = {"Source": number, "CallerID": number, "Destination": telephone[-3:] if "9" in telephone else telephone[:3]}
    (details,) = parse(cdr(SECOND_HALF, f"PJSIP/{telephone}-00000001", **lines | UNANSWERED))
    assert (details.type, details.call_to, details.extra["originated"]) == (direction, number, "attempt")


def test_attempt_without_a_number_for_display_is_internal() -> None:
    """Such as a call file without a caller id: the telephone's own number is shown to it."""
    (details,) = parse(
        cdr(AGENT, LastApplication="AppDial2", Source="1002", CallerID="1002", Disposition="NO ANSWER", Destination="s")
    )
    assert (details.type, details.call_to, details.status) == ("Internal", "1002", "NO ANSWER")


@pytest.mark.parametrize("disposition", ["NO ANSWER", "BUSY", "FAILED"])
@pytest.mark.parametrize("display", [("1002", '"Bob" <1002>'), ("95550123", '"Web" <95550123>'), ("", "")])
def test_customer_who_does_not_answer_is_a_call_to_the_customer(display: tuple[str, str], disposition: str) -> None:
    """It has no caller yet, whatever was set for display."""
    source, caller_id = display
    unanswered = {"Disposition": disposition, "BillableSeconds": "0", "Source": source, "CallerID": caller_id}
    first_half = cdr(FIRST_HALF, LastApplication="AppDial2", **unanswered | {"Destination": "s"})
    second_half = cdr(SECOND_HALF, CUSTOMER, Destination="95550123", **unanswered)
    for events in ([second_half], [first_half, second_half]):
        (details,) = parse(*events)
        assert summary(details) == ("Outbound", "anonymous", "95550123", disposition, "call")


@pytest.mark.parametrize("disposition", ["NO ANSWER", "BUSY"])
def test_customer_called_directly_who_does_not_answer_is_called_by_no_one_yet(disposition: str) -> None:
    unanswered = {"Disposition": disposition, "BillableSeconds": "0", "Destination": "s"}
    (details,) = parse(cdr(CUSTOMER, LastApplication="AppDial2", LastData="(Outgoing Line)", **unanswered))
    assert summary(details) == ("Outbound", "anonymous", "95550123", disposition, "call")
    assert (details.src_trunk_name, details.dst_trunk_name) == ("", "trunk-a")


def test_first_party_alone_is_kept() -> None:
    """The other half was not reported."""
    (details,) = parse(cdr(SECOND_HALF, AGENT, Destination="1002"))
    assert (details.call_to, details.status, details.extra["originated"]) == ("1002", "ANSWERED", "call")
    (details,) = parse(cdr(FIRST_HALF, AGENT, Destination="1002"))
    assert (details.call_to, details.status) == ("1002", "ANSWERED")


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(
            [
                cdr(FIRST_HALF, CUSTOMER, Destination="95550123"),
                cdr(SECOND_HALF, LastApplication="ConfBridge", LastData="6500,,", Destination="6500"),
            ],
            id="the conference first",
        ),
        pytest.param(
            [
                cdr(FIRST_HALF, LastApplication="ConfBridge", LastData="6500,,", Destination="6500"),
                cdr(SECOND_HALF, CUSTOMER, Destination="95550123"),
            ],
            id="the customer first",
        ),
        pytest.param(
            [cdr(CUSTOMER, LastApplication="ConfBridge", LastData="6500,,", Destination="s"), CALLED_FIRST],
            id="the customer directly",
        ),
    ],
)
def test_customer_called_into_a_conference_talks_there(events: list[AmiMessage]) -> None:
    (details,) = parse(*events)
    assert (details.type, details.call_from, details.status) == ("Outbound", "6500", "ANSWERED")
    assert details.call_to == "95550123"


def test_telephone_called_into_a_conference_is_in_it() -> None:
    (details,) = parse(
        cdr(FIRST_HALF, AGENT, Destination="1002"),
        cdr(SECOND_HALF, LastApplication="ConfBridge", LastData="6500,,", Destination="6500"),
    )
    assert (details.type, details.call_to, details.status) == ("Internal", "6500", "ANSWERED")
    assert details.extra["callee_kind"] == "conference"


def test_two_customers_are_connected_from_the_first_to_the_second() -> None:
    second = "PJSIP/trunk-b-00000009"
    (details,) = parse(
        cdr(FIRST_HALF, second, Destination="95550199"), cdr(SECOND_HALF, CUSTOMER, Destination="95550123")
    )
    assert (details.type, details.call_to, details.dst_trunk_name) == ("Outbound", "95550199", "trunk-b")


def test_local_channel_without_a_party_is_no_call() -> None:
    assert parse(cdr(SECOND_HALF, Destination="ussd", LastApplication="Hangup")) == []


def test_call_of_a_telephone_is_unchanged() -> None:
    (details,) = parse(cdr(AGENT, "PJSIP/1003-00000004", Source="1002", CallerID="1002", Destination="1003"))
    assert summary(details) == ("Internal", "1002", "1003", "ANSWERED", "")


def test_customers_number_may_be_unknown() -> None:
    """Called directly by a trunk, with the agent's number for display, or none."""
    for caller_id in ('"Bob" <1002>', ""):
        (details,) = parse(cdr(CUSTOMER, AGENT, Source="1002", CallerID=caller_id, Destination="1002"), CALLED_FIRST)
        assert (details.type, details.call_from, details.call_to) == ("Outbound", "1002", "trunk-a")


def test_customers_number_may_be_that_for_display() -> None:
    """Where the trunk's channel has no number of its own."""
    (details,) = parse(cdr(CUSTOMER, AGENT, Source="", CallerID='"Web" <95550123>', Destination="1002"), CALLED_FIRST)
    assert (details.call_from, details.call_to) == ("1002", "95550123")


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([cdr("PJSIP/bob-00000005", CUSTOMER, Destination="95550123")], id="directly, without events"),
        pytest.param(
            [cdr("PJSIP/bob-00000005", CUSTOMER, Destination="s", LastData="PJSIP/95550123@trunk-a,20")],
            id="directly, by an application",
        ),
        pytest.param(
            [
                cdr(FIRST_HALF, CUSTOMER, Destination="95550123"),
                cdr(SECOND_HALF, "PJSIP/bob-00000005", Destination="1002"),
            ],
            id="by a Local channel",
        ),
    ],
)
def test_telephone_with_a_name_is_not_the_number_that_is_shown_to_it(events: list[AmiMessage]) -> None:
    (details,) = parse(*events)
    assert (details.type, details.call_from, details.call_to) == ("Outbound", "bob", "95550123")
    assert details.extra["outbound_caller_id"] == "Web <95550123>"


NAMED_AGENT, OTHER_AGENT = "PJSIP/bob-00000005", "PJSIP/1003-00000006"
QUEUE = {"Destination": "6400", "LastApplication": "Queue", "LastData": "support,t"}
RING_GROUP = {"Destination": "600", "LastApplication": "Dial", "LastData": "PJSIP/1002&PJSIP/1003,20"}
UNANSWERED = {"Disposition": "NO ANSWER", "BillableSeconds": "0"}
LATER = {"StartTime": "2026-04-27 19:04:46", "EndTime": "2026-04-27 19:04:56"}


def customer_first(*calls: tuple[str, dict[str, str]], by_local: bool) -> list[AmiMessage]:
    """Return the events of a customer who is called first, and of the calls to these channels (empty: none)."""
    if not by_local:
        return [*(cdr(CUSTOMER, channel, **lines) for channel, lines in calls), CALLED_FIRST]
    return [
        cdr(SECOND_HALF, CUSTOMER, Destination="95550123", EndTime="2026-04-27 19:04:56", Duration="20"),
        *(cdr(FIRST_HALF, channel, **lines) for channel, lines in calls),
    ]


BY_LOCAL = pytest.mark.parametrize("by_local", [False, True], ids=["directly", "by a Local channel"])


@BY_LOCAL
@pytest.mark.parametrize(
    ("calls", "caller"),
    [
        pytest.param([("", QUEUE)], "6400", id="queue without an agent"),
        pytest.param([(AGENT, QUEUE | UNANSWERED)], "6400", id="queue whose agent does not answer"),
        pytest.param([(AGENT, QUEUE | UNANSWERED), ("", QUEUE | LATER)], "6400", id="agent, then the queue alone"),
        pytest.param(
            [(AGENT, QUEUE | UNANSWERED), (OTHER_AGENT, QUEUE | UNANSWERED | LATER)], "6400", id="two agents in turn"
        ),
        pytest.param([("", QUEUE | {"Destination": "s"})], "support", id="queue without a number"),
        pytest.param(
            [(AGENT, RING_GROUP | UNANSWERED), (OTHER_AGENT, RING_GROUP | UNANSWERED)], "600", id="ring group"
        ),
        pytest.param([("", {"Destination": "1002"})], "1002", id="extension that cannot be called"),
        pytest.param([(AGENT, UNANSWERED | {"Destination": "1002"})], "1002", id="extension that does not answer"),
    ],
)
def test_customer_whom_no_telephone_takes_is_called_by_the_queue(
    calls: list[tuple[str, dict[str, str]]], caller: str, *, by_local: bool
) -> None:
    """The customer answered the PBX alone: for the office, an unanswered outbound call."""
    (details,) = parse(*customer_first(*calls, by_local=by_local))
    assert summary(details) == ("Outbound", caller, "95550123", "NO ANSWER", "call")
    assert (details.talk_duration, details.dst_trunk_name) == (0, "trunk-a")
    last_end = max(lines.get("EndTime", "2026-04-27 19:04:46") for _, lines in calls)
    assert details.call_duration == (20 if by_local else int(last_end[-2:]) - 36)


@BY_LOCAL
@pytest.mark.parametrize(
    ("calls", "caller", "duration"),
    [
        pytest.param([(AGENT, QUEUE)], "1002", 10, id="queue"),
        pytest.param([(NAMED_AGENT, QUEUE)], "bob", 10, id="queue, a telephone with a name"),
        pytest.param([(OTHER_AGENT, QUEUE | UNANSWERED), (AGENT, QUEUE | LATER)], "1002", 20, id="the second agent"),
        pytest.param([(OTHER_AGENT, QUEUE | UNANSWERED), (AGENT, QUEUE)], "1002", 10, id="agents who ring together"),
        pytest.param([(AGENT, RING_GROUP), (OTHER_AGENT, RING_GROUP | UNANSWERED)], "1002", 10, id="ring group"),
        pytest.param([(AGENT, QUEUE), ("", LATER | {"LastApplication": "Hangup"})], "1002", 10, id="and hangs up"),
    ],
)
def test_customer_whom_a_member_takes_is_called_by_that_member(
    calls: list[tuple[str, dict[str, str]]], caller: str, duration: int, *, by_local: bool
) -> None:
    """The ringing of others before is the wait."""
    (details,) = parse(*customer_first(*calls, by_local=by_local))
    assert summary(details) == ("Outbound", caller, "95550123", "ANSWERED", "call")
    assert (details.talk_duration, details.call_duration) == (7, 20 if by_local else duration)


@BY_LOCAL
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param({}, ("Outbound", "1002", "95550123", "ANSWERED", "call"), id="answered"),
        pytest.param(UNANSWERED, ("Outbound", "6400", "95550123", "NO ANSWER", "call"), id="not answered"),
    ],
)
def test_customer_first_member_behind_a_local_channel(
    lines: dict[str, str], expected: tuple[str, ...], *, by_local: bool
) -> None:
    """As the members of a FreePBX's queues are; the call begins with the customer's ringing."""
    member = "Local/1002@from-queue-0000000b"
    dial = {"Destination": "1002", "LastData": "PJSIP/1002,20", "StartTime": "2026-04-27 19:04:38", "Duration": "8"}
    inner_cdr = cdr(f"{member};2", AGENT, **dial | lines)
    (details,) = parse(*customer_first((f"{member};1", QUEUE | lines), by_local=by_local), inner_cdr)
    assert summary(details) == expected
    assert details.time_start == "2026-04-27 19:04:36"
    assert details.call_duration == (20 if by_local else 10)


@BY_LOCAL
@pytest.mark.parametrize("group", [QUEUE, RING_GROUP | {"LastData": "Local/1002@members&Local/1003@members,20"}])
@pytest.mark.parametrize("has_rung", [False, True])
def test_customer_whom_the_mailbox_of_a_member_takes_is_called_by_it(
    group: dict[str, str], *, has_rung: bool, by_local: bool
) -> None:
    """One call, from the first ring."""
    member = "Local/1002@members-0000000b"
    mailbox = {"Destination": "1002", "LastApplication": "VoiceMail", "LastData": "1002@default,u"}
    inner = [cdr(f"{member};2", **mailbox | (LATER if has_rung else {}))]
    times = {"EndTime": "2026-04-27 19:04:56", "Duration": "20"} if has_rung else {}
    if has_rung:
        inner.append(cdr(f"{member};2", AGENT, Destination="1002", LastData="PJSIP/1002,20", **UNANSWERED))
    (details,) = parse(*customer_first((f"{member};1", group | times), by_local=by_local), *inner)
    assert summary(details) == ("Outbound", "1002", "95550123", "VOICEMAIL", "call")
    assert (details.talk_duration, details.call_duration) == (7, 20 if has_rung or by_local else 10)


@BY_LOCAL
def test_customer_whom_a_queue_of_a_queue_takes_is_called_by_the_queue(*, by_local: bool) -> None:
    """The inner one has no agent."""
    member = "Local/6401@members-0000000b"
    inner = cdr(f"{member};2", Destination="6401", LastApplication="Queue", LastData="empty,t", **UNANSWERED)
    (details,) = parse(*customer_first((f"{member};1", QUEUE), by_local=by_local), inner)
    assert summary(details) == ("Outbound", "6400", "95550123", "NO ANSWER", "call")


def test_telephone_first_behind_a_local_channel_is_the_caller() -> None:
    """The first party is called through two of them."""
    local = "Local/1002@devices-0000000b"
    (details,) = parse(
        cdr(FIRST_HALF, CUSTOMER, Destination="95550123"),
        cdr(SECOND_HALF, f"{local};1", Destination="1002"),
        cdr(f"{local};2", AGENT, Destination="1002"),
    )
    assert summary(details) == OUTBOUND


def test_attempt_of_a_telephone_behind_a_second_local_channel_is_its_own() -> None:
    local = "Local/1002@devices-0000000b"
    (details,) = parse(
        cdr(FIRST_HALF, LastApplication="AppDial2", Destination="s", **UNANSWERED),
        cdr(SECOND_HALF, f"{local};1", Destination="1002", **UNANSWERED),
        cdr(f"{local};2", AGENT, Destination="1002", **UNANSWERED),
    )
    assert summary(details) == ("Outbound", "1002", "95550123", "NO ANSWER", "attempt")


def test_wait_of_a_telephone_whose_other_party_is_behind_a_local_channel_is_no_row() -> None:
    """An application dialled the Local channel; without channel events, as in a file."""
    dial = {"Destination": "s", "LastData": "Local/95550123@trunks/n,20"}
    (details,) = parse(
        cdr(AGENT, **dial, EndTime="2026-04-27 19:04:40", Duration="4", BillableSeconds="0"),
        cdr(AGENT, "Local/95550123@trunks-0000000b;1", **dial | {"StartTime": "2026-04-27 19:04:40"}),
        cdr("Local/95550123@trunks-0000000b;2", CUSTOMER, Destination="95550123", StartTime="2026-04-27 19:04:40"),
    )
    assert summary(details) == ("Outbound", "1002", "95550123", "ANSWERED", "")


def test_customer_behind_a_second_local_channel_is_called_into_a_conference() -> None:
    local = "Local/95550123@trunks-0000000b"
    (details,) = parse(
        cdr(FIRST_HALF, f"{local};1", Destination="95550123"),
        cdr(SECOND_HALF, LastApplication="ConfBridge", LastData="6500,,", Destination="6500"),
        cdr(f"{local};2", CUSTOMER, Destination="95550123"),
    )
    assert summary(details) == ("Outbound", "6500", "95550123", "ANSWERED", "call")


@BY_LOCAL
@pytest.mark.parametrize(
    ("lines", "caller"),
    [
        ({"LastApplication": "Playback", "LastData": "reminder", "DestinationContext": "reminders"}, "reminders"),
        ({"LastApplication": "Playback", "LastData": "reminder"}, "Playback"),
        ({"LastApplication": "AMD", "LastData": "2500"}, "AMD"),
        ({"LastApplication": "ConfBridge", "LastData": "6500,,"}, "6500"),
        ({"LastApplication": "Playback", "LastData": "reminder", "Destination": "9000"}, "9000"),
    ],
)
def test_customer_whom_a_machine_calls_answers_it(lines: dict[str, str], caller: str, *, by_local: bool) -> None:
    """A file or an option is no caller."""
    (details,) = parse(*customer_first(("", {"Destination": "s"} | lines), by_local=by_local))
    assert summary(details) == ("Outbound", caller, "95550123", "ANSWERED", "call")
    assert details.talk_duration == 7


@pytest.mark.parametrize(
    ("lines", "status", "talk"),
    [
        ({"LastApplication": "Playback", "LastData": "reminder", "Destination": "s"}, "ANSWERED", 7),
        (QUEUE, "NO ANSWER", 0),
    ],
)
def test_customer_whom_a_machine_calls_is_in_no_bridge(lines: dict[str, str], status: str, talk: int) -> None:
    """The CDR decides, though all channel events are there."""
    events = [cel(name, CUSTOMER, "AppDial2" if name == "ANSWER" else "") for name in ("CHAN_START", "ANSWER")]
    (details,) = parse(cdr(CUSTOMER, **lines), *events, cel("HANGUP", CUSTOMER, Extra='{"hangupcause":16}'))
    assert (details.status, details.talk_duration, "cdr_status" in details.extra) == (status, talk, False)


@pytest.mark.parametrize(
    ("cause", "bridged_at", "expected"),
    [(16, "2026-04-27 19:04:44", ("ANSWERED", 12)), (17, "", ("BUSY", 0)), (16, "", ("NO ANSWER", 0))],
)
def test_customer_first_talk_is_that_of_the_telephone(cause: int, bridged_at: str, expected: tuple[str, int]) -> None:
    """The customer is in a bridge with the Local channel from the first."""
    end = "2026-04-27 19:04:56"
    events = [
        cel("CHAN_START", CUSTOMER),
        cel("BRIDGE_ENTER", CUSTOMER, EventTime="2026-04-27 19:04:38"),
        cel("CHAN_START", AGENT, EventTime="2026-04-27 19:04:40"),
        *([cel("BRIDGE_ENTER", AGENT, EventTime=bridged_at)] if bridged_at else []),
        cel("HANGUP", AGENT, EventTime=end, Extra=f'{{"hangupcause":{cause}}}'),
        cel("BRIDGE_EXIT", CUSTOMER, EventTime=end),
        cel("HANGUP", CUSTOMER, EventTime=end, Extra='{"hangupcause":16}'),
    ]
    lines = {"EndTime": end, "Duration": "20", "Destination": "1002"} | ({} if bridged_at else UNANSWERED)
    (details,) = parse(*customer_first((AGENT, lines), by_local=True), *events)
    assert (details.call_from, details.call_to) == ("1002", "95550123")
    assert (details.status, details.talk_duration) == expected


def test_customer_first_ring_time_is_that_of_the_agent() -> None:
    connected = build_event("AgentConnect", Queue="support", DestChannel=AGENT, RingTime="3", HoldTime="8")
    events = [cel("CHAN_START", CUSTOMER), cel("CHAN_START", AGENT), cel("BRIDGE_ENTER", AGENT), connected]
    (details,) = parse(*customer_first((AGENT, QUEUE), by_local=False), *events)
    assert (details.agent_ring_time, details.extra["hold_time"]) == (3, 8)


def test_customer_who_is_transferred_talks_with_both() -> None:
    later = {"Destination": "1003", "LastData": "PJSIP/1003,20"} | LATER
    first, second = parse(*customer_first((AGENT, QUEUE), (OTHER_AGENT, later), by_local=False))
    assert [(details.call_from, details.status) for details in (first, second)] == [
        ("1002", "ANSWERED"),
        ("1003", "ANSWERED"),
    ]


def test_customer_who_waits_again_after_an_agent_has_left_is_with_the_queue() -> None:
    first, second = parse(*customer_first((AGENT, QUEUE), ("", QUEUE | LATER), by_local=False))
    assert [(details.call_from, details.status) for details in (first, second)] == [
        ("1002", "ANSWERED"),
        ("6400", "NO ANSWER"),
    ]


def test_number_that_the_dialplan_recorded_for_the_customer_is_not_the_telephones() -> None:
    (details,) = parse(cdr(CUSTOMER, AGENT, Destination="1002", cnum="95550123", cnam="Web"), CALLED_FIRST)
    assert (details.call_from, details.call_to) == ("1002", "95550123")
