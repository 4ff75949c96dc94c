"""The rows of one subscription."""

from onhook.delivery.commit_batch import CommitBatch
from onhook.delivery.endpoint_health import EndpointHealth
from onhook.delivery.retry_queue import RetryQueue
from tests.delivery.factories import BOB_CALL, NOW, attempt, owed
from tests.delivery.harness import House


async def test_rows_taken_up_are_settled_before_others_are(house: House) -> None:
    """So that none is sent twice at once; each knows how often it was tried."""
    one = house.subscribe("crm", "http://127.0.0.1:1/")
    rows, outcomes = RetryQueue(house.settings.deliveries, one.subscription_id), CommitBatch(one)
    outcomes.failed(owed(1), "waiting", NOW + 5, attempt())
    outcomes.failed(owed(2, BOB_CALL), "waiting", NOW + 9, attempt())
    house.settings.deliveries.settle(outcomes.settlement({}, (), EndpointHealth(), NOW))
    await rows.look()
    assert (len(rows), rows.due_at, rows.backlog.waiting) == (0, NOW + 5, 2)
    await rows.take_up(NOW + 4)
    assert len(rows) == 0
    await rows.take_up(NOW + 5)
    assert (len(rows), rows.due_at) == (1, None)
    await rows.take_up(NOW + 9)
    assert len(rows) == 1
    taken, again = rows.take(), CommitBatch(one)
    assert (taken.event_id, taken.attempts, taken.window) == ("e1", 1, None)
    again.taken(taken, attempt())
    settlement = again.settlement({}, (), EndpointHealth(), NOW)
    house.settings.deliveries.settle(settlement)
    await rows.look(settlement.retried)
    assert (rows.due_at, rows.backlog.waiting) == (NOW + 9, 1)
