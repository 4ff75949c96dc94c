"""Events become whole calls; no CDR that was heard is lost, and none is handed out twice."""

from hypothesis import given
from hypothesis import strategies as st

from onhook.pbx.asterisk.call import CDRS_MAX, EVENTS_MAX, AsteriskCall, parse_call
from onhook.pbx.asterisk.call_collector import (
    CDR_HOLD_SECONDS_MAX,
    GRACE_SECONDS,
    LATE_CDR_SECONDS,
    MISSING_CDR_SECONDS,
    OPEN_CALLS_MAX,
    QUIET_SECONDS,
    CallCollector,
    CollectedCall,
)
from onhook.pbx.asterisk.messages import AmiMessage
from tests.pbx.asterisk.ami_streams import PARSE_OPTIONS, events
from tests.pbx.asterisk.scenarios import SCENARIOS

QUEUE = events("inbound_ivr_queue_two_agents")


def heard(*messages: AmiMessage) -> CallCollector:
    gathering = CallCollector(PARSE_OPTIONS)
    for message in messages:
        gathering.add_event(message, now=1.0)
    return gathering


def calls(gathered: list[CollectedCall]) -> list[AsteriskCall]:
    return [parse_call(one.body) for one in gathered]


def cdrs_of(messages: list[AmiMessage]) -> list[AmiMessage]:
    return [message for message in messages if message.get("Event") == "Cdr"]


def without(messages: list[AmiMessage], *names: str) -> list[AmiMessage]:
    return [message for message in messages if message.get("EventName") not in names]


def cdr(linked_id: str, number: int = 0) -> AmiMessage:
    lines = {"Event": "Cdr", "LinkedID": linked_id, "UniqueID": f"1777309476.{number}"}
    return AmiMessage(tuple((lines | {"StartTime": "2026-04-27 19:04:36"}).items()))


def test_a_call_is_handed_out_when_its_cdrs_have_come() -> None:
    """A moment after its end, whole, and once."""
    gathering = heard(*QUEUE)
    assert gathering.pop_completed(1.0 + GRACE_SECONDS / 2) == []
    (call,) = calls(gathering.pop_completed(1.0 + GRACE_SECONDS))
    assert call.header.has_all_events
    assert len(call.cdrs) == 2
    assert gathering.pop_completed(1000.0) == []


def test_a_call_waits_for_the_cdr_of_every_channel_that_was_called() -> None:
    """A slow database lets them come one by one; one that does not come at all holds up its call for a while only."""
    first, last = cdrs_of(QUEUE)
    early = [message for message in QUEUE if message is not last]
    gathering = heard(*early)
    assert gathering.pop_completed(1.0 + GRACE_SECONDS * 2) == []
    gathering.add_event(last, now=10.0)
    (call,) = calls(gathering.pop_completed(10.0 + GRACE_SECONDS))
    assert (call.header.has_all_events, len(call.cdrs)) == (True, 2)
    (call,) = calls(heard(*early).pop_completed(1.0 + LATE_CDR_SECONDS))
    assert [cdr.dst_channel.name for cdr in call.cdrs] == [first.get("DestinationChannel")]


def test_without_channel_events_silence_ends_a_call() -> None:
    """The CDRs are read alone."""
    gathering = heard(*cdrs_of(QUEUE))
    assert gathering.pop_completed(1.0 + QUIET_SECONDS / 2) == []
    (call,) = calls(gathering.pop_completed(1.0 + QUIET_SECONDS))
    assert not call.header.has_all_events
    assert len(call.cdrs) == 2


def test_a_call_that_was_not_heard_from_its_begin_is_not_whole() -> None:
    """What was missed might say otherwise: the CDRs are read alone, and the events are not kept."""
    (call,) = calls(heard(*QUEUE[3:]).pop_completed(1.0 + GRACE_SECONDS))
    assert not call.header.has_all_events
    assert not call.cels


def test_a_pbx_that_does_not_tell_the_end_of_calls_loses_none() -> None:
    """Without LINKEDID_END the end of the last channel is the end; without that too, a long silence."""
    (by_channels,) = calls(heard(*without(QUEUE, "LINKEDID_END")).pop_completed(1.0 + QUIET_SECONDS))
    assert len(by_channels.cdrs) == 2
    gathering = heard(*without(QUEUE, "LINKEDID_END", "CHAN_END"))
    assert gathering.pop_completed(1.0 + CDR_HOLD_SECONDS_MAX / 2) == []
    (by_silence,) = calls(gathering.pop_completed(1.0 + CDR_HOLD_SECONDS_MAX))
    assert len(by_silence.cdrs) == 2


def test_a_cdr_may_come_long_after_its_call() -> None:
    """Asterisk can gather CDRs too; a call that has none is dropped at last, and counted."""
    gathering = heard(*(message for message in QUEUE if message.get("Event") != "Cdr"))
    assert gathering.pop_completed(1.0 + MISSING_CDR_SECONDS / 2) == []
    for message in cdrs_of(QUEUE):
        gathering.add_event(message, now=MISSING_CDR_SECONDS / 2 + 1)
    (call,) = calls(gathering.pop_completed(MISSING_CDR_SECONDS / 2 + 1 + GRACE_SECONDS))
    assert call.header.has_all_events
    gathering = heard(QUEUE[0], AmiMessage((*QUEUE[0].lines[:2], ("EventName", "LINKEDID_END"), *QUEUE[0].lines[3:])))
    gathering.pop_completed(2.0 + MISSING_CDR_SECONDS)
    assert gathering.dropped_count == 1


@given(st.integers(0, len(QUEUE)))
def test_a_connection_that_is_cut_loses_no_cdr(at: int) -> None:
    """At any moment: every CDR that was heard is handed out, and no call is called whole."""
    gathering = heard(*QUEUE[:at])
    left = gathering.flush()
    assert sum(len(call.cdrs) for call in calls(left)) == len(cdrs_of(QUEUE[:at]))
    assert not any(call.header.has_all_events for call in calls(left))
    assert gathering.flush() == []
    assert gathering.oldest_cdr_at() is None


@given(st.randoms(use_true_random=False))
def test_calls_that_go_on_at_once_do_not_mix(chance: object) -> None:
    """All scenarios interleaved give the calls that each gives alone."""
    queues = {scenario.name: events(scenario.name) for scenario in SCENARIOS}
    gathering = CallCollector(PARSE_OPTIONS)
    waiting = [name for name, messages in queues.items() for _ in messages]
    chance.shuffle(waiting)  # type: ignore[attr-defined] # a `random.Random`
    places = dict.fromkeys(queues, 0)
    for name in waiting:
        gathering.add_event(queues[name][places[name]], now=1.0)
        places[name] += 1
    together = sorted(one.body for one in gathering.pop_completed(1.0 + GRACE_SECONDS))
    alone = sorted(
        message.body for messages in queues.values() for message in heard(*messages).pop_completed(1.0 + GRACE_SECONDS)
    )
    assert together == alone


def test_a_call_with_very_many_cdrs_is_kept_in_parts() -> None:
    """None of them is lost, and none is in two parts."""
    gathering = CallCollector(PARSE_OPTIONS)
    parts = [one for n in range(CDRS_MAX * 2 + 5) for one in gathering.add_event(cdr("1777309476.0", n), now=1.0)]
    parts += gathering.pop_completed(1.0 + QUIET_SECONDS)
    assert sorted(len(call.cdrs) for call in calls(parts)) == [5, CDRS_MAX, CDRS_MAX]


def test_a_call_with_very_many_events_is_read_by_its_cdrs() -> None:
    """What is held of it is bounded."""
    start = QUEUE[0]
    gathering = heard(start, *[QUEUE[1]] * (EVENTS_MAX + 10), *QUEUE[2:])
    (call,) = calls(gathering.pop_completed(1.0 + GRACE_SECONDS))
    assert not call.header.has_all_events
    assert len(call.cdrs) == 2


def test_the_number_of_calls_is_bounded() -> None:
    """The oldest has to make room, and is handed out."""
    gathering = CallCollector(PARSE_OPTIONS)
    given_way = [one for n in range(OPEN_CALLS_MAX + 3) for one in gathering.add_event(cdr(f"1777309476.{n}"), now=1.0)]
    assert [one.linked_id for one in given_way] == [f"1777309476.{n}" for n in range(3)]


def test_only_trunks_of_the_call_are_noted() -> None:
    """So that a body stays small in a PBX with a thousand trunks."""
    (call,) = calls(heard(*events("internal_answered")).pop_completed(1.0 + GRACE_SECONDS))
    assert call.header.trunks == ()
    (call,) = calls(heard(*QUEUE).pop_completed(1.0 + GRACE_SECONDS))
    assert call.header.trunks == ("trunk-a",)


def test_an_event_without_a_call_is_passed_over() -> None:
    """Such as a greeting."""
    assert heard(AmiMessage((("Event", "FullyBooted"),))).flush() == []
