"""What came of attempts, until it is settled."""

from onhook.appdb.deliveries import DUE_AFTER_PREDECESSOR
from onhook.delivery.commit_batch import CommitBatch
from onhook.delivery.endpoint_health import EndpointHealth
from tests.delivery.factories import ALICE_CALL, BOB_CALL, NOW, destination, new_attempt, pending_notification


def test_nothing_came_of_nothing() -> None:
    """What is settled then moves cursors alone."""
    outcomes = CommitBatch(destination())
    assert len(outcomes) == 0
    one = outcomes.build_commit({7: 42}, [8], EndpointHealth(failing_since=5, throttled_until=9), NOW)
    assert (one.destination_id, one.revision, one.cursors, one.finished_replays) == (1, 3, {7: 42}, [8])
    assert (one.failing_since, one.retry_after, one.attempts_succeeded, one.attempts_failed) == (5, 9, 0, 0)


def test_an_event_is_no_row_as_long_as_it_goes_well() -> None:
    """It is counted; a row that went through is noted as well."""
    outcomes = CommitBatch(destination())
    outcomes.add_accepted(pending_notification(1), new_attempt())
    outcomes.add_accepted(pending_notification(2, delivery_id=17, attempts=3), new_attempt())
    one = outcomes.build_commit({}, (), EndpointHealth(), NOW)
    assert (one.attempts_succeeded, one.attempts_failed, list(one.new_deliveries)) == (2, 0, [])
    assert [(row.delivery_id, row.state, row.attempts) for row in one.updates] == [(17, "delivered", 4)]


def test_one_that_failed_is_a_row_and_so_are_those_behind_it() -> None:
    """Its first failure makes it one, the next ones change it."""
    outcomes = CommitBatch(destination())
    outcomes.add_failed(pending_notification(1), "retrying", NOW + 5, new_attempt())
    outcomes.add_held_back(pending_notification(2))
    outcomes.add_failed(pending_notification(3, BOB_CALL, delivery_id=17, attempts=9), "failed", NOW, new_attempt())
    assert (outcomes.has_retrying(ALICE_CALL), outcomes.has_retrying(BOB_CALL)) == (True, False)
    one = outcomes.build_commit({}, (), EndpointHealth(), NOW)
    assert [(row.seq, row.due_at, row.attempt is None) for row in one.new_deliveries] == [
        (1, NOW + 5, False),
        (2, DUE_AFTER_PREDECESSOR, True),
    ]
    assert [(row.delivery_id, row.state, row.attempts) for row in one.updates] == [(17, "failed", 10)]
    assert one.attempts_failed == 2


def test_who_asked_for_time_has_failed_no_event() -> None:
    """The row has as many attempts as before, and remembers how often it was so."""
    outcomes = CommitBatch(destination())
    outcomes.add_postponed(pending_notification(1, delivery_id=17, attempts=3, busy_count=2), NOW + 30, new_attempt())
    outcomes.count_failed_attempt()
    one = outcomes.build_commit({}, (), EndpointHealth(), NOW)
    assert [(row.state, row.attempts, row.busy_count, row.due_at) for row in one.updates] == [
        ("retrying", 3, 2, NOW + 30)
    ]
    assert one.attempts_failed == 2
