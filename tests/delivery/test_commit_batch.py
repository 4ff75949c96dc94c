"""What came of attempts, until it is settled."""

from onhook.appdb.deliveries import DUE_AFTER_PREDECESSOR
from onhook.delivery.commit_batch import CommitBatch
from onhook.delivery.endpoint_health import EndpointHealth
from tests.delivery.factories import ALICE_CALL, BOB_CALL, NOW, attempt, owed, subscription


def test_nothing_came_of_nothing() -> None:
    """What is settled then moves cursors alone."""
    outcomes = CommitBatch(subscription())
    assert len(outcomes) == 0
    one = outcomes.settlement({7: 42}, [8], EndpointHealth(failing_since=5, asked_until=9), NOW)
    assert (one.subscription_id, one.revision, one.cursors, one.ended) == (1, 3, {7: 42}, [8])
    assert (one.failing_since, one.not_before, one.delivered, one.failed) == (5, 9, 0, 0)


def test_an_event_is_no_row_as_long_as_it_goes_well() -> None:
    """It is counted; a row that went through is noted as well."""
    outcomes = CommitBatch(subscription())
    outcomes.taken(owed(1), attempt())
    outcomes.taken(owed(2, delivery_id=17, attempts=3), attempt())
    one = outcomes.settlement({}, (), EndpointHealth(), NOW)
    assert (one.delivered, one.failed, list(one.troubles)) == (2, 0, [])
    assert [(row.delivery_id, row.state, row.attempts) for row in one.retried] == [(17, "delivered", 4)]


def test_one_that_failed_is_a_row_and_so_are_those_behind_it() -> None:
    """Its first failure makes it one, the next ones change it."""
    outcomes = CommitBatch(subscription())
    outcomes.failed(owed(1), "waiting", NOW + 5, attempt())
    outcomes.held(owed(2))
    outcomes.failed(owed(3, BOB_CALL, delivery_id=17, attempts=9), "parked", NOW, attempt())
    assert (outcomes.still_hold(ALICE_CALL), outcomes.still_hold(BOB_CALL)) == (True, False)
    one = outcomes.settlement({}, (), EndpointHealth(), NOW)
    assert [(row.seq, row.due_at, row.attempt is None) for row in one.troubles] == [
        (1, NOW + 5, False),
        (2, DUE_AFTER_PREDECESSOR, True),
    ]
    assert [(row.delivery_id, row.state, row.attempts) for row in one.retried] == [(17, "parked", 10)]
    assert one.failed == 2


def test_who_asked_for_time_has_failed_no_event() -> None:
    """The row has as many attempts as before, and remembers how often it was so."""
    outcomes = CommitBatch(subscription())
    outcomes.postponed(owed(1, delivery_id=17, attempts=3, busy=2), NOW + 30, attempt())
    outcomes.missed()
    one = outcomes.settlement({}, (), EndpointHealth(), NOW)
    assert [(row.state, row.attempts, row.busy, row.due_at) for row in one.retried] == [("waiting", 3, 2, NOW + 30)]
    assert one.failed == 2
