"""Both queues of a destination."""

import pytest

from onhook.delivery.commit_batch import CommitBatch, StreamProgress
from onhook.delivery.endpoint_health import EndpointHealth
from onhook.delivery.notification_queues import NotificationQueues
from onhook.delivery.per_call_queue import PerCallQueue
from onhook.delivery.retry_queue import RetryQueue
from tests.delivery.factories import BOB_CALL, NOW, new_attempt, pending_notification
from tests.delivery.harness import DeliveryHarness


@pytest.mark.parametrize(("is_down", "ids"), [(False, ["e1", "e2"]), (True, ["e2", "e1"])])
async def test_notification_queues_pop_prefers_retries_unless_the_endpoint_is_down(
    harness: DeliveryHarness, is_down: bool, ids: list[str]
) -> None:
    destination = await harness.add_destination("crm", "http://127.0.0.1:1/")
    batch = CommitBatch(destination)
    batch.add_failed(pending_notification(1), "retrying", NOW, new_attempt())
    await harness.appdb.deliveries.commit(batch.build_commit(StreamProgress({}, ()), EndpointHealth(), NOW))
    queues = NotificationQueues(PerCallQueue(()), RetryQueue(harness.appdb.deliveries, destination.destination_id))
    assert (queues.ready_count, queues.pop(is_down=is_down)) == (0, None)
    await queues.retries.refresh()
    await queues.retries.load_due(NOW)
    queues.calls.add(pending_notification(2, BOB_CALL))
    assert (queues.ready_count, queues.undelivered_count) == (2, 1)
    notifications = [queues.pop(is_down=is_down) for _ in range(2)]
    assert [notification.notification_id for notification in notifications if notification is not None] == ids
