"""Stored deliveries of one destination."""

from onhook.delivery.commit_batch import CommitBatch, StreamProgress
from onhook.delivery.endpoint_health import EndpointHealth
from onhook.delivery.retry_queue import RetryQueue
from tests.delivery.factories import BOB_CALL, NOW, new_attempt, pending_notification
from tests.delivery.harness import DeliveryHarness


async def test_retry_queue_loaded_rows_are_committed_before_others_are_loaded(harness: DeliveryHarness) -> None:
    """So that none is sent twice concurrently; each has its number of attempts."""
    destination = await harness.add_destination("crm", "http://127.0.0.1:1/")
    rows, outcomes = RetryQueue(harness.appdb.deliveries, destination.destination_id), CommitBatch(destination)
    outcomes.add_failed(pending_notification(1), "retrying", NOW + 5, new_attempt())
    outcomes.add_failed(pending_notification(2, BOB_CALL), "retrying", NOW + 9, new_attempt())
    await harness.appdb.deliveries.commit(outcomes.build_commit(StreamProgress({}, ()), EndpointHealth(), NOW))
    await rows.refresh()
    assert (len(rows), rows.due_at, rows.backlog.retrying) == (0, NOW + 5, 2)
    await rows.load_due(NOW + 4)
    assert len(rows) == 0
    await rows.load_due(NOW + 5)
    assert (len(rows), rows.due_at) == (1, None)
    await rows.load_due(NOW + 9)
    assert len(rows) == 1
    loaded, next_batch = rows.pop(), CommitBatch(destination)
    assert (loaded.notification_id, loaded.attempts, loaded.ack_window) == ("e1", 1, None)
    next_batch.add_accepted(loaded, new_attempt())
    settlement = next_batch.build_commit(StreamProgress({}, ()), EndpointHealth(), NOW)
    await harness.appdb.deliveries.commit(settlement)
    await rows.refresh(settlement.updates)
    assert (rows.due_at, rows.backlog.retrying) == (NOW + 9, 1)
