"""Calls of an Asterisk without channel events (CEL): stored once, when the call has ended.

The streams are recorded ones, with CEL; Asterisk sends `Newchannel` and `Hangup` at the same moments as `CHAN_START`
and `CHAN_END`.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import pytest

from onhook.pbx.asterisk.call_collector import (
    CDR_HOLD_SECONDS_MAX,
    MISSING_CDR_SECONDS,
    QUIET_SECONDS,
    AsteriskParserConfig,
    CallCollector,
    CollectedCall,
)
from onhook.pbx.asterisk.messages import AmiMessage
from tests.pbx.asterisk.ami_streams import build_event, events
from tests.pbx.asterisk.test_reported_calls import CONFIG, assemble_calls, read_stream, summary

CHANNEL_EVENTS = {"CHAN_START": "Newchannel", "CHAN_END": "Hangup"}
OF_LOCAL_CHANNELS = ("queue_of_local_channels", "ring_group_of_local_channels")

TimedEvent = tuple[float, AmiMessage]


def timed_events(name: str) -> Iterator[TimedEvent]:
    """Yield the events of a stream, CEL as the events of channels, with the seconds since the first. Only CEL have a
    time: another event has that of the next one.
    """
    messages = events(name)
    times = [datetime.fromisoformat(text) for event in messages if (text := event.get("EventTime"))]
    first_at, timed_count = times[0], 0
    for event in messages:
        seconds = (times[min(timed_count, len(times) - 1)] - first_at).total_seconds()
        timed_count += bool(event.get("EventTime"))
        if event.get("Event") != "CEL":
            yield seconds, event
        elif event.get("EventName") in CHANNEL_EVENTS:
            lines = {"Uniqueid": event.get("UniqueID"), "Linkedid": event.get("LinkedID")}
            yield seconds, build_event(CHANNEL_EVENTS[event.get("EventName")], **lines)


def without(timed: Iterable[TimedEvent], *prefixes: str) -> list[TimedEvent]:
    """Return the events but those whose names begin like this."""
    return [(seconds, event) for seconds, event in timed if not event.get("Event").startswith(prefixes)]


def receive(timed: Sequence[TimedEvent]) -> list[tuple[float, CollectedCall]]:
    """Return the calls that are stored, with the time: ten times a second, until a minute after the last event."""
    collector, collected_calls, pending = CallCollector(CONFIG), [], list(timed)
    for tick in range(round((timed[-1][0] + 60) * 10)):
        now = tick / 10
        while pending and pending[0][0] <= now:
            collected_calls += [(now, call) for call in collector.add_event(pending.pop(0)[1], now)]
        collected_calls += [(now, call) for call in collector.pop_completed(now)]
    assert not collector.flush()
    return collected_calls


@pytest.mark.parametrize("name", OF_LOCAL_CHANNELS)
def test_call_without_cel_is_stored_once_when_it_has_ended(name: str) -> None:
    """As one call with its direction, answered by the same person as with CEL."""
    timed = list(timed_events(name))
    ((stored_at, call),) = receive(timed)
    assert timed[-1][0] + QUIET_SECONDS <= stored_at <= timed[-1][0] + QUIET_SECONDS + 0.2
    (assembled,), (expected,) = assemble_calls([call.body]), read_stream(name)
    assert summary(assembled)[:2] == summary(expected)[:2] == ("Inbound", "ANSWERED")
    assert assembled.answered_by == expected.answered_by


def test_queue_without_cel_and_channels_is_stored_once_by_its_queue_events() -> None:
    """As where the manager user's own filter lets no events of channels through."""
    timed = without(timed_events("queue_of_local_channels"), "Newchannel", "Hangup")
    assert len(receive(timed)) == 1


def test_queue_without_any_event_is_stored_in_parts() -> None:
    """Nothing shows that the call goes on."""
    timed = without(timed_events("queue_of_local_channels"), "Newchannel", "Hangup", "Queue", "Agent")
    assert len(receive(timed)) > 1


@pytest.mark.parametrize(
    "name", ["inbound_direct", "internal_answered", "queue_abandoned", "transfer_attended", "parked"]
)
def test_call_without_cel_of_other_kinds_is_stored_once(name: str) -> None:
    assert len(receive(list(timed_events(name)))) == 1


def channel_event(name: str, channel: int, linked_id: str = "1777309476.0") -> AmiMessage:
    return build_event(name, Uniqueid=f"1777309476.{channel}", Linkedid=linked_id)


def cdr(channel: int = 0) -> AmiMessage:
    return build_event(
        "Cdr", UniqueID=f"1777309476.{channel}", LinkedID="1777309476.0", StartTime="2026-04-27 19:04:36"
    )


def test_call_without_cel_channel_that_joined_another_call_ends_with_its_hangup() -> None:
    collector = CallCollector(AsteriskParserConfig())
    for event in (channel_event("Newchannel", 0), channel_event("Newchannel", 1), channel_event("Hangup", 0), cdr()):
        collector.add_event(event, now=1.0)
    assert collector.pop_completed(60.0) == []
    collector.add_event(channel_event("Hangup", 1, linked_id="1777309400.7"), now=60.0)
    assert len(collector.pop_completed(60.0 + QUIET_SECONDS)) == 1


def test_call_without_cel_that_never_ends_is_held_for_a_limited_time() -> None:
    collector = CallCollector(AsteriskParserConfig())
    collector.add_event(channel_event("Newchannel", 0), now=1.0)
    collector.add_event(cdr(), now=1.0)
    assert collector.pop_completed(CDR_HOLD_SECONDS_MAX) == []
    assert len(collector.pop_completed(1.0 + CDR_HOLD_SECONDS_MAX)) == 1


def test_call_without_cel_and_without_cdr_is_dropped_and_counted() -> None:
    """Its memory is free again; a later hangup begins no call."""
    collector = CallCollector(AsteriskParserConfig())
    collector.add_event(channel_event("Newchannel", 0), now=1.0)
    collector.add_event(channel_event("Hangup", 0), now=2.0)
    collector.add_event(channel_event("Hangup", 9), now=2.0)
    assert collector.pop_completed(3.0 + MISSING_CDR_SECONDS) == []
    assert (collector.dropped_count, collector._open_calls, collector._call_of_channel) == (1, {}, {})


def test_call_with_cdr_in_a_batch_is_stored_when_it_arrives() -> None:
    collector = CallCollector(AsteriskParserConfig())
    collector.add_event(channel_event("Newchannel", 0), now=1.0)
    collector.add_event(channel_event("Hangup", 0), now=2.0)
    assert collector.pop_completed(299.0) == []
    collector.add_event(cdr(), now=300.0)
    assert len(collector.pop_completed(300.0 + QUIET_SECONDS)) == 1
    assert collector.dropped_count == 0


def test_queue_call_without_cel_ends_with_the_hangup_of_its_caller() -> None:
    """`AgentComplete` may be missing."""
    collector = CallCollector(AsteriskParserConfig())
    for name in ("Newchannel", "QueueCallerJoin", "QueueCallerLeave", "AgentConnect"):
        collector.add_event(channel_event(name, 0), now=1.0)
    collector.add_event(cdr(), now=2.0)
    assert collector.pop_completed(60.0) == []
    collector.add_event(channel_event("Hangup", 0), now=60.0)
    assert len(collector.pop_completed(60.0 + QUIET_SECONDS)) == 1
