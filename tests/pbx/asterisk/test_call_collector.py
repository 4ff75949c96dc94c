"""Events are collected into complete calls; every received CDR is returned exactly once."""

import functools

from hypothesis import given, settings
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
from tests.counts import examples
from tests.pbx.asterisk.ami_streams import PARSE_OPTIONS, events
from tests.pbx.asterisk.scenarios import SCENARIOS

QUEUE = events("inbound_ivr_queue_two_agents")


def collect(*messages: AmiMessage) -> CallCollector:
    collector = CallCollector(PARSE_OPTIONS)
    for message in messages:
        collector.add_event(message, now=1.0)
    return collector


def parse_calls(collected_calls: list[CollectedCall]) -> list[AsteriskCall]:
    return [parse_call(collected_call.body) for collected_call in collected_calls]


def select_cdrs(messages: list[AmiMessage]) -> list[AmiMessage]:
    return [message for message in messages if message.get("Event") == "Cdr"]


def remove_headers(messages: list[AmiMessage], *names: str) -> list[AmiMessage]:
    return [message for message in messages if message.get("EventName") not in names]


def cdr(linked_id: str, number: int = 0) -> AmiMessage:
    lines = {"Event": "Cdr", "LinkedID": linked_id, "UniqueID": f"1777309476.{number}"}
    return AmiMessage(tuple((lines | {"StartTime": "2026-04-27 19:04:36"}).items()))


def test_collector_call_with_all_cdrs_is_returned_once_after_grace_time() -> None:
    collector = collect(*QUEUE)
    assert collector.pop_completed(1.0 + GRACE_SECONDS / 2) == []
    (call,) = parse_calls(collector.pop_completed(1.0 + GRACE_SECONDS))
    assert call.header.has_all_events
    assert len(call.cdrs) == 2
    assert collector.pop_completed(1000.0) == []


def test_collector_call_waits_for_cdr_of_every_called_channel() -> None:
    """A slow database delays CDRs one by one; a CDR that never arrives delays its call for a limited time."""
    first, last = select_cdrs(QUEUE)
    messages_without_last = [message for message in QUEUE if message is not last]
    collector = collect(*messages_without_last)
    assert collector.pop_completed(1.0 + GRACE_SECONDS * 2) == []
    collector.add_event(last, now=10.0)
    (call,) = parse_calls(collector.pop_completed(10.0 + GRACE_SECONDS))
    assert (call.header.has_all_events, len(call.cdrs)) == (True, 2)
    (call,) = parse_calls(collect(*messages_without_last).pop_completed(1.0 + LATE_CDR_SECONDS))
    assert [cdr.dst_channel.name for cdr in call.cdrs] == [first.get("DestinationChannel")]


def test_collector_call_without_channel_events_ends_after_silence() -> None:
    collector = collect(*select_cdrs(QUEUE))
    assert collector.pop_completed(1.0 + QUIET_SECONDS / 2) == []
    (call,) = parse_calls(collector.pop_completed(1.0 + QUIET_SECONDS))
    assert not call.header.has_all_events
    assert len(call.cdrs) == 2


def test_collector_call_without_its_begin_is_not_complete() -> None:
    """The missed events might contradict the others: only the CDRs are used."""
    (call,) = parse_calls(collect(*QUEUE[3:]).pop_completed(1.0 + GRACE_SECONDS))
    assert not call.header.has_all_events
    assert not call.cels


def test_collector_call_without_linkedid_end_is_returned() -> None:
    """The end of the last channel counts as the end, or else a long silence."""
    (by_channels,) = parse_calls(collect(*remove_headers(QUEUE, "LINKEDID_END")).pop_completed(1.0 + QUIET_SECONDS))
    assert len(by_channels.cdrs) == 2
    collector = collect(*remove_headers(QUEUE, "LINKEDID_END", "CHAN_END"))
    assert collector.pop_completed(1.0 + CDR_HOLD_SECONDS_MAX / 2) == []
    (by_silence,) = parse_calls(collector.pop_completed(1.0 + CDR_HOLD_SECONDS_MAX))
    assert len(by_silence.cdrs) == 2


def test_collector_late_cdr_completes_call() -> None:
    """Asterisk can send CDRs in batches. A call without a CDR is dropped after the time limit and counted."""
    collector = collect(*(message for message in QUEUE if message.get("Event") != "Cdr"))
    assert collector.pop_completed(1.0 + MISSING_CDR_SECONDS / 2) == []
    for message in select_cdrs(QUEUE):
        collector.add_event(message, now=MISSING_CDR_SECONDS / 2 + 1)
    (call,) = parse_calls(collector.pop_completed(MISSING_CDR_SECONDS / 2 + 1 + GRACE_SECONDS))
    assert call.header.has_all_events
    collector = collect(QUEUE[0], AmiMessage((*QUEUE[0].lines[:2], ("EventName", "LINKEDID_END"), *QUEUE[0].lines[3:])))
    collector.pop_completed(2.0 + MISSING_CDR_SECONDS)
    assert collector.dropped_count == 1


@given(st.integers(0, len(QUEUE)))
def test_collector_flush_after_cut_connection_returns_all_cdrs(count: int) -> None:
    """No call counts as complete."""
    collector = collect(*QUEUE[:count])
    collected_calls = collector.flush()
    assert sum(len(call.cdrs) for call in parse_calls(collected_calls)) == len(select_cdrs(QUEUE[:count]))
    assert not any(call.header.has_all_events for call in parse_calls(collected_calls))
    assert collector.flush() == []
    assert collector.oldest_cdr_at() is None


@functools.cache
def _scenario_events() -> dict[str, list[AmiMessage]]:
    return {scenario.name: events(scenario.name) for scenario in SCENARIOS}


@functools.cache
def _separate_bodies() -> list[bytes]:
    """Return the calls of all scenarios, each collected alone."""
    return sorted(
        collected_call.body
        for messages in _scenario_events().values()
        for collected_call in collect(*messages).pop_completed(1.0 + GRACE_SECONDS)
    )


@settings(max_examples=examples(20))
@given(st.randoms(use_true_random=False))
def test_collector_concurrent_calls_do_not_mix(random_source: object) -> None:
    """All scenarios interleaved give the same calls as each one alone."""
    queues = _scenario_events()
    collector = CallCollector(PARSE_OPTIONS)
    schedule = [name for name, messages in queues.items() for _ in messages]
    random_source.shuffle(schedule)  # type: ignore[attr-defined] # a `random.Random`
    positions = dict.fromkeys(queues, 0)
    for name in schedule:
        collector.add_event(queues[name][positions[name]], now=1.0)
        positions[name] += 1
    interleaved_bodies = sorted(collected_call.body for collected_call in collector.pop_completed(1.0 + GRACE_SECONDS))
    assert interleaved_bodies == _separate_bodies()


def test_collector_call_with_many_cdrs_is_returned_in_parts() -> None:
    """Each CDR is in exactly one part."""
    collector = CallCollector(PARSE_OPTIONS)
    parts = [
        collected_call
        for n in range(CDRS_MAX * 2 + 5)
        for collected_call in collector.add_event(cdr("1777309476.0", n), now=1.0)
    ]
    parts += collector.pop_completed(1.0 + QUIET_SECONDS)
    assert sorted(len(call.cdrs) for call in parse_calls(parts)) == [5, CDRS_MAX, CDRS_MAX]


def test_collector_call_with_many_events_keeps_only_cdrs() -> None:
    start = QUEUE[0]
    collector = collect(start, *[QUEUE[1]] * (EVENTS_MAX + 10), *QUEUE[2:])
    (call,) = parse_calls(collector.pop_completed(1.0 + GRACE_SECONDS))
    assert not call.header.has_all_events
    assert len(call.cdrs) == 2


def test_collector_open_calls_over_limit_return_oldest() -> None:
    collector = CallCollector(PARSE_OPTIONS)
    returned_calls = [
        collected_call
        for n in range(OPEN_CALLS_MAX + 3)
        for collected_call in collector.add_event(cdr(f"1777309476.{n}"), now=1.0)
    ]
    assert [collected_call.linked_id for collected_call in returned_calls] == [f"1777309476.{n}" for n in range(3)]


def test_collector_body_contains_only_trunks_of_call() -> None:
    """A body stays small on a PBX with a thousand trunks."""
    (call,) = parse_calls(collect(*events("internal_answered")).pop_completed(1.0 + GRACE_SECONDS))
    assert call.header.trunks == ()
    (call,) = parse_calls(collect(*QUEUE).pop_completed(1.0 + GRACE_SECONDS))
    assert call.header.trunks == ("trunk-a",)


def test_collector_event_without_call_is_ignored() -> None:
    assert collect(AmiMessage((("Event", "FullyBooted"),))).flush() == []


def test_collector_open_calls_over_limit_drop_oldest_without_cdr() -> None:
    """The call is counted; a CDR that arrives later is returned all the same."""
    starts = [
        AmiMessage((("Event", "CEL"), ("EventName", "CHAN_START"), ("UniqueID", name), ("LinkedID", name)))
        for name in (f"1777309476.{n}" for n in range(OPEN_CALLS_MAX + 1))
    ]
    collector = CallCollector(PARSE_OPTIONS)
    assert [collected_call for start in starts for collected_call in collector.add_event(start, now=1.0)] == []
    assert collector.dropped_count == 1
    collector.add_event(cdr("1777309476.0"), now=2.0)
    (call,) = parse_calls(collector.pop_completed(2.0 + QUIET_SECONDS))
    assert not call.header.has_all_events


def test_collector_cdr_without_offset_keeps_offset_of_earlier_cdr() -> None:
    collector = CallCollector(PARSE_OPTIONS)
    for number, offset_seconds in enumerate((None, 3600, None)):
        collector.add_event(cdr("1777309476.0", number), now=1.0, offset_seconds=offset_seconds)
    (call,) = parse_calls(collector.pop_completed(1.0 + QUIET_SECONDS))
    assert call.header.offset_seconds == 3600


def test_collector_cdr_of_leg_is_returned_after_limit_while_call_continues() -> None:
    """So that a crash during a long call loses little."""
    start = QUEUE[0]
    collector = collect(start, cdr(start.get("LinkedID")))
    assert collector.pop_completed(CDR_HOLD_SECONDS_MAX) == []
    assert len(collector.pop_completed(1.0 + CDR_HOLD_SECONDS_MAX)) == 1
    assert collector.oldest_cdr_at() is None
