"""Streams of a destination, read ahead of the attempts."""

from datetime import timedelta
from typing import Any

import pytest

from onhook.appdb.destinations import Destination
from onhook.cdr.record_filter import RecordFilter
from onhook.delivery import destination_streams
from onhook.delivery.commit_batch import CommitBatch, CommitPlanner, StreamProgress
from onhook.delivery.delivery_rules import DeliveryRules
from onhook.delivery.destination_streams import DestinationStreams
from onhook.delivery.endpoint_health import EndpointHealth, EndpointState
from onhook.delivery.notification_queues import NotificationQueues
from onhook.delivery.per_call_queue import PendingNotification, PerCallQueue
from onhook.delivery.record_preparation import RecordPreparation
from onhook.delivery.record_reader import RecordReader
from onhook.delivery.retry_queue import RetryQueue
from onhook.lib.clock import SystemClock
from onhook.store.position_notifier import PositionNotifier
from tests.delivery.factories import new_attempt, pending_notification
from tests.delivery.harness import DeliveryHarness, make_calls
from tests.factories import STARTED_AT, call, record


async def create_streams(harness: DeliveryHarness, **spec_fields: Any) -> "StreamsHarness":
    return StreamsHarness(harness, await harness.add_destination("crm", "http://127.0.0.1:1/", **spec_fields))


class StreamsHarness:
    """The streams of the destination `crm`, with the queue that they fill."""

    def __init__(self, harness: DeliveryHarness, destination: Destination) -> None:
        self.harness = harness
        self.destination = destination
        retries = RetryQueue(harness.appdb.deliveries, self.destination.destination_id)
        self.queues = NotificationQueues(PerCallQueue(()), retries)
        self.endpoint = EndpointState(EndpointHealth())
        self.ledger_end = 0
        self.streams = self.create_streams()

    async def read_ledger_end(self) -> int:
        return self.ledger_end

    def create_streams(self) -> DestinationStreams:
        rules = DeliveryRules(
            self.destination,
            endpoint=self.endpoint,
            queues=self.queues,
            commits=CommitPlanner(self.destination, self.endpoint.health),
            clock=SystemClock(),
            jitter=lambda: 0.5,
        )
        return DestinationStreams(
            self.destination,
            preparation=RecordPreparation(self.destination, self.harness.appdb),
            appdb=self.harness.appdb,
            record_reader=RecordReader(self.harness.store, self.harness.position_notifier),
            clock=SystemClock(),
            format_payload=lambda record: record.call_id.encode(),
            rules=rules,
            read_ledger_end=self.read_ledger_end,
        )

    async def replay(self, after: int, until: int) -> None:
        await self.harness.appdb.destinations.replay("crm", RecordFilter(), after=after, until=until, now_us=1)

    def accept_all(self) -> list[int]:
        """Accept all notifications in the queue; return their numbers."""
        seqs = []
        while (notification := self.queues.calls.pop()) is not None:
            seqs.append(notification.seq)
            self._accept(notification)
        return seqs

    def _accept(self, notification: PendingNotification) -> None:
        assert notification.ack_window is not None
        notification.ack_window.end(notification.seq, notification.notification_id)
        self.queues.calls.release_next(notification)


async def test_destination_streams_read_ahead_reads_to_the_end(harness: DeliveryHarness) -> None:
    crm = await create_streams(harness)
    await harness.put_calls(*make_calls(5))
    await crm.streams.initialize()
    assert not crm.streams.is_at_end
    assert not await crm.streams.read_ahead()
    assert (crm.streams.is_at_end, crm.queues.ready_count) == (True, 5)
    assert list(crm.streams.progress.cursors.values()) == [0]
    assert crm.accept_all() == [1, 2, 3, 4, 5]
    assert list(crm.streams.progress.cursors.values()) == [5]


async def test_destination_streams_read_ahead_stops_at_the_limit(
    harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stream has its own; what was accepted makes space."""
    monkeypatch.setattr("onhook.delivery.record_reader.BATCH_RECORDS", 2)
    monkeypatch.setattr(destination_streams, "READ_AHEAD_MAX", 3)
    crm = await create_streams(harness, after=10)
    await harness.put_calls(*make_calls(20))
    await crm.replay(after=0, until=10)
    await crm.streams.initialize()
    assert not await crm.streams.read_ahead()
    assert crm.queues.ready_count == 8
    assert crm.accept_all() == [11, 12, 13, 14, 1, 2, 3, 4]


async def test_destination_streams_many_records_are_read_in_turns(
    harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that results are committed meanwhile."""
    monkeypatch.setattr("onhook.delivery.record_reader.BATCH_RECORDS", 2)
    monkeypatch.setattr(destination_streams, "BATCHES_PER_CYCLE", 3)
    crm = await create_streams(harness)
    await harness.put_calls(*make_calls(9))
    await crm.streams.initialize()
    assert await crm.streams.read_ahead()
    assert crm.queues.ready_count == 6
    assert not await crm.streams.read_ahead()
    assert crm.queues.ready_count == 9


async def test_destination_streams_endpoint_that_is_down_is_not_read_ahead(harness: DeliveryHarness) -> None:
    crm = await create_streams(harness)
    crm.endpoint.health = EndpointHealth(failures=99)
    await harness.put_calls(*make_calls(2))
    await crm.streams.initialize()
    await crm.streams.read_ahead()
    await harness.put_calls(*make_calls(2))
    await crm.streams.read_ahead()
    assert crm.queues.ready_count == 2


async def test_destination_streams_stored_delivery_is_not_read_again(harness: DeliveryHarness) -> None:
    """It failed before the last start, ahead of one that was in progress then."""
    crm = await create_streams(harness)
    stored = record()
    await harness.put_calls(*make_calls(1), call(stored))
    batch = CommitBatch(crm.destination)
    batch.add_failed(pending_notification(2, notification_id=f"{stored.record_id}-2"), "failed", 1, new_attempt())
    await harness.appdb.deliveries.commit(batch.build_commit(StreamProgress({}, ()), EndpointHealth(), 1))
    await crm.streams.initialize()
    await crm.streams.read_ahead()
    assert crm.accept_all() == [1]


async def test_destination_streams_what_was_done_ahead_is_so_before_it_is_read_again(harness: DeliveryHarness) -> None:
    """The first commit of a worker, before it reads anything, does not forget it."""
    crm = await create_streams(harness)
    done = record()
    await harness.put_calls(*make_calls(1), call(done))
    (stream,) = await harness.appdb.destinations.streams(crm.destination.destination_id)
    ids = {stream.stream_id: (f"{done.record_id}-2",)}
    progress = StreamProgress({stream.stream_id: 0}, (), ids)
    commit = CommitBatch(crm.destination).build_commit(progress, EndpointHealth(), 1)
    await harness.appdb.deliveries.commit(commit)
    await crm.streams.initialize()
    assert crm.streams.progress.done_ahead == ids
    await crm.streams.read_ahead()
    assert crm.accept_all() == [1]
    assert (crm.streams.progress.cursors, crm.streams.progress.done_ahead) == (
        {stream.stream_id: 2},
        {stream.stream_id: ()},
    )


async def test_destination_streams_replays_are_read_one_after_the_other(harness: DeliveryHarness) -> None:
    """A finished one is removed once that is committed."""
    crm = await create_streams(harness, after=4)
    await harness.put_calls(*make_calls(4))
    for until in (2, 4):
        await crm.replay(after=until - 2, until=until)
    await crm.streams.initialize()
    await crm.streams.read_ahead()
    assert crm.accept_all() == [1, 2]
    finished_replays = crm.streams.progress.finished_replays
    assert len(finished_replays) == 1
    crm.streams.remove(finished_replays)
    assert (crm.streams.needs_reload, len(crm.streams.progress.cursors)) == (True, 2)
    await crm.streams.read_ahead()
    assert crm.accept_all() == [3, 4]


async def test_destination_streams_replay_waits_for_a_store_that_is_behind(harness: DeliveryHarness) -> None:
    """Its events may have been read late by another hub, whose store has their calls already."""
    crm = await create_streams(harness, after=2)
    await harness.put_calls(*make_calls(2))
    await crm.streams.initialize()
    await crm.streams.read_ahead()
    await crm.replay(0, 2)
    crm.ledger_end = 3
    await crm.streams.load()
    await crm.streams.read_ahead()
    assert (crm.accept_all(), crm.streams.progress.finished_replays) == ([], [])
    await harness.put_calls(*make_calls(1))
    await crm.streams.read_ahead()
    assert sorted(crm.accept_all()) == [1, 2, 3]


async def test_destination_streams_load_adds_new_replays_only(harness: DeliveryHarness) -> None:
    crm = await create_streams(harness)
    await harness.put_calls(*make_calls(2))
    await crm.streams.initialize()
    await crm.streams.read_ahead()
    await crm.replay(after=0, until=2)
    await crm.streams.load()
    assert (crm.streams.needs_reload, len(crm.streams.progress.cursors)) == (False, 2)
    await crm.streams.read_ahead()
    assert crm.accept_all() == [1, 2, 1, 2]


async def test_destination_streams_start_time_begins_before_its_first_record(harness: DeliveryHarness) -> None:
    """Without such a record it begins at the end."""
    since = RecordFilter(since=STARTED_AT.replace(year=2027))
    await harness.put_calls(*make_calls(3))
    crm = await create_streams(harness, after=None, filter=since)
    await crm.streams.initialize()
    assert list(crm.streams.progress.cursors.values()) == [3]
    await harness.put_calls(*make_calls(1), call(record(STARTED_AT.replace(year=2027))))
    later_streams = crm.create_streams()
    await later_streams.initialize()
    assert list(later_streams.progress.cursors.values()) == [4]


async def test_destination_streams_call_that_may_continue_is_read_after_a_restart(
    harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the next event arrives no position of the store is announced."""
    await harness.put_calls(call(record(received_at=SystemClock().now())))
    harness.position_notifier = PositionNotifier()
    crm = await create_streams(harness, notifies_of="calls")
    await crm.streams.initialize()
    await crm.streams.read_ahead()
    assert crm.queues.ready_count == 0
    monkeypatch.setattr("onhook.delivery.stream_reader.CALL_IDLE_TIME", timedelta(0))
    await crm.streams.read_ahead()
    assert crm.accept_all() == [1]
