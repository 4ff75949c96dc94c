"""Results of attempts, until they are committed."""

from math import inf

import pytest

from onhook.appdb.deliveries import DUE_AFTER_PREDECESSOR
from onhook.delivery.commit_batch import (
    COMMIT_RESULTS,
    COMMIT_SECONDS,
    IDLE_COMMIT_SECONDS,
    CommitBatch,
    CommitPlanner,
    StreamProgress,
)
from onhook.delivery.endpoint_health import EndpointHealth
from tests.delivery.factories import ALICE_CALL, BOB_CALL, NOW, destination, new_attempt, pending_notification


def test_commit_batch_without_results_moves_cursors_only() -> None:
    outcomes = CommitBatch(destination())
    assert len(outcomes) == 0
    commit = outcomes.build_commit(
        StreamProgress({7: 42}, [8]), EndpointHealth(failing_since=5, throttled_until=9), NOW
    )
    assert (commit.destination_id, commit.revision, commit.cursors, commit.finished_replays) == (1, 3, {7: 42}, [8])
    assert (commit.failing_since, commit.retry_after, commit.attempts_succeeded, commit.attempts_failed) == (5, 9, 0, 0)


def test_commit_batch_accepted_event_is_counted() -> None:
    """It becomes no row; a row that was delivered is updated."""
    outcomes = CommitBatch(destination())
    outcomes.add_accepted(pending_notification(1), new_attempt())
    outcomes.add_accepted(pending_notification(2, delivery_id=17, attempts=3), new_attempt())
    commit = outcomes.build_commit(StreamProgress({}, ()), EndpointHealth(), NOW)
    assert (commit.attempts_succeeded, commit.attempts_failed, list(commit.new_deliveries)) == (2, 0, [])
    assert [(row.delivery_id, row.state, row.attempts) for row in commit.updates] == [(17, "delivered", 4)]


def test_commit_batch_failed_event_becomes_a_row_and_so_do_those_behind_it() -> None:
    """Its first failure inserts the row, later ones update it."""
    outcomes = CommitBatch(destination())
    outcomes.add_failed(pending_notification(1), "retrying", NOW + 5, new_attempt())
    outcomes.add_held_back(pending_notification(2))
    outcomes.add_failed(pending_notification(3, BOB_CALL, delivery_id=17, attempts=9), "failed", NOW, new_attempt())
    assert (outcomes.has_retrying(ALICE_CALL), outcomes.has_retrying(BOB_CALL)) == (True, False)
    commit = outcomes.build_commit(StreamProgress({}, ()), EndpointHealth(), NOW)
    assert [(row.seq, row.due_at, row.attempt is None) for row in commit.new_deliveries] == [
        (1, NOW + 5, False),
        (2, DUE_AFTER_PREDECESSOR, True),
    ]
    assert [(row.delivery_id, row.state, row.attempts) for row in commit.updates] == [(17, "failed", 10)]
    assert commit.attempts_failed == 2


def test_commit_batch_throttled_row_keeps_its_attempts() -> None:
    """It counts how often it was throttled."""
    outcomes = CommitBatch(destination())
    outcomes.add_postponed(
        pending_notification(1, delivery_id=17, attempts=3, throttle_count=2), NOW + 30, new_attempt()
    )
    outcomes.count_failed_attempt()
    commit = outcomes.build_commit(StreamProgress({}, ()), EndpointHealth(), NOW)
    assert [(row.state, row.attempts, row.throttle_count, row.due_at) for row in commit.updates] == [
        ("retrying", 3, 2, NOW + 30)
    ]
    assert commit.attempts_failed == 2


HEALTH = EndpointHealth()


def committed_planner(progress: StreamProgress) -> CommitPlanner:
    """Return a planner that committed this progress at time 100."""
    planner = CommitPlanner(destination(), HEALTH)
    planner.confirm(planner.start_commit(progress, HEALTH, NOW), 100.0)
    return planner


def test_commit_planner_without_changes_has_nothing_to_commit() -> None:
    progress = StreamProgress({7: 42}, ())
    planner = committed_planner(progress)
    assert not planner.has_changes(progress, HEALTH)
    assert planner.seconds_until_due(progress, HEALTH, 1_000.0) == inf


def test_commit_planner_moved_cursor_may_wait() -> None:
    planner, progress = committed_planner(StreamProgress({7: 42}, ())), StreamProgress({7: 43}, ())
    assert planner.has_changes(progress, HEALTH)
    assert planner.seconds_until_due(progress, HEALTH, 100.0) == IDLE_COMMIT_SECONDS


def test_commit_planner_finished_replay_is_committed() -> None:
    planner, progress = committed_planner(StreamProgress({7: 42}, ())), StreamProgress({7: 42}, [7])
    assert planner.seconds_until_due(progress, HEALTH, 100.0 + IDLE_COMMIT_SECONDS) == 0


def test_commit_planner_first_result_is_committed_soon() -> None:
    progress = StreamProgress({7: 42}, ())
    planner = committed_planner(progress)
    planner.batch.count_failed_attempt()
    assert planner.seconds_until_due(progress, HEALTH, 100.0) == pytest.approx(COMMIT_SECONDS)
    assert planner.seconds_until_due(progress, HEALTH, 101.0) < 0


def test_commit_planner_many_results_are_due_at_once() -> None:
    progress = StreamProgress({7: 42}, ())
    planner = committed_planner(progress)
    for _ in range(COMMIT_RESULTS):
        planner.batch.count_failed_attempt()
    assert planner.seconds_until_due(progress, HEALTH, 100.0) == 0


def test_commit_planner_failing_endpoint_is_committed_once() -> None:
    progress, failing = StreamProgress({7: 42}, ()), EndpointHealth(failing_since=NOW)
    planner = committed_planner(progress)
    assert planner.seconds_until_due(progress, failing, 100.0) == pytest.approx(COMMIT_SECONDS)
    planner.confirm(planner.start_commit(progress, failing, NOW), 101.0)
    assert not planner.has_changes(progress, failing)
    assert planner.has_changes(progress, HEALTH)


def test_commit_planner_failed_commit_is_repeated_unchanged() -> None:
    """Results that came meanwhile are in the one after it."""
    planner = CommitPlanner(destination(), HEALTH)
    planner.batch.count_failed_attempt()
    failed_commit = planner.start_commit(StreamProgress({7: 42}, ()), HEALTH, NOW)
    planner.batch.count_failed_attempt()
    planner.batch.count_failed_attempt()
    assert planner.has_unconfirmed
    assert planner.start_commit(StreamProgress({7: 43}, ()), HEALTH, NOW + 1) is failed_commit
    planner.confirm(failed_commit, 100.0)
    next_commit = planner.start_commit(StreamProgress({7: 43}, ()), HEALTH, NOW + 1)
    assert (failed_commit.attempts_failed, next_commit.attempts_failed) == (1, 2)
    assert (failed_commit.cursors, next_commit.cursors) == ({7: 42}, {7: 43})
