"""Rules that decide what becomes of a notification."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.deliveries import DUE_AFTER_PREDECESSOR
from onhook.appdb.delivery_rows import UNDELIVERED_MAX, Backlog, DeliveryCommit
from onhook.delivery.ack_window import AckWindow
from onhook.delivery.commit_batch import CommitPlanner, StreamProgress
from onhook.delivery.delivery_rules import DeliveryRules
from onhook.delivery.destinations.contract import Outcome, not_attempted
from onhook.delivery.endpoint_health import DOWN_AFTER_FAILURES, EndpointHealth, EndpointState
from onhook.delivery.notification_queues import NotificationQueues
from onhook.delivery.per_call_queue import PendingNotification, PerCallQueue
from onhook.delivery.retry_policy import DAYS_DELAYS_SECONDS, THROTTLE_SECONDS_MIN, THROTTLES_MAX
from onhook.delivery.retry_queue import RetryQueue
from tests.delivery.factories import (
    ALICE_CALL,
    BOB_CALL,
    NOW,
    SECOND,
    delivery_result,
    destination,
    new_attempt,
    pending_notification,
)

DOWN = EndpointHealth(failures=DOWN_AFTER_FAILURES)


class FixedClock:
    """A clock that stands still."""

    def microseconds(self) -> int:
        return NOW

    def now(self) -> datetime:
        return datetime.fromtimestamp(NOW / SECOND, UTC)


class RulesHarness:
    """The rules of one destination, with its queues and the window of its live stream."""

    def __init__(self, retries: RetryQueue) -> None:
        self.endpoint = EndpointState(EndpointHealth())
        self.queues = NotificationQueues(PerCallQueue(()), retries)
        self.window = AckWindow(0)
        self.commits = CommitPlanner(destination(), self.endpoint.health, is_logged=True)
        self.rules = DeliveryRules(
            destination(),
            endpoint=self.endpoint,
            queues=self.queues,
            commits=self.commits,
            clock=FixedClock(),
            jitter=lambda: 0.5,
        )

    def enqueue(self, seq: int, call: tuple[str, str] = ALICE_CALL) -> PendingNotification:
        """Read a notification from the live stream."""
        notification = pending_notification(seq, call, ack_window=self.window)
        self.window.begin(seq)
        self.rules.enqueue(notification)
        return notification

    def end(self, outcome: Outcome, retry_after_seconds: float | None = None) -> None:
        """Make an attempt with the next notification."""
        notification = self.queues.calls.pop()
        assert notification is not None
        self.rules.handle_result(notification, delivery_result(outcome, retry_after_seconds), new_attempt())

    def build_commit(self) -> DeliveryCommit:
        return self.commits.start_commit(StreamProgress({}, ()), self.endpoint.health, NOW)


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[RulesHarness]:
    appdb = AppDb(tmp_path / "onhook.db")
    yield RulesHarness(RetryQueue(appdb.deliveries, 1))
    await appdb.close()


def test_delivery_rules_accepted_notification_releases_the_next_of_its_call(harness: RulesHarness) -> None:
    harness.enqueue(1)
    follower = harness.enqueue(2)
    harness.window.read_to = 2
    harness.end("accepted")
    assert (harness.window.acknowledged_to, harness.queues.calls.pop()) == (1, follower)
    assert harness.build_commit().attempts_succeeded == 1


def test_delivery_rules_failed_notification_is_stored_with_its_followers(harness: RulesHarness) -> None:
    """Later ones of the call are stored too, and the cursor may pass all of them."""
    for seq in (1, 2):
        harness.enqueue(seq)
    harness.end("rejected")
    harness.enqueue(3)
    harness.window.read_to = 3
    assert (harness.window.acknowledged_to, harness.queues.ready_count) == (3, 0)
    assert [(row.seq, row.due_at) for row in harness.build_commit().new_deliveries] == [
        (1, NOW + DAYS_DELAYS_SECONDS[0] * SECOND),
        (2, DUE_AFTER_PREDECESSOR),
        (3, DUE_AFTER_PREDECESSOR),
    ]


def test_delivery_rules_last_attempt_failed_blocks_no_call(harness: RulesHarness) -> None:
    delivery = pending_notification(1, delivery_id=17, attempts=len(DAYS_DELAYS_SECONDS))
    harness.rules.handle_result(delivery, delivery_result("rejected"), new_attempt())
    (update,) = harness.build_commit().updates
    assert (update.state, update.attempts) == ("failed", len(DAYS_DELAYS_SECONDS) + 1)
    assert harness.queues.calls.blocked_calls == set()


@pytest.mark.parametrize(
    ("outcome", "health"), [("throttled", EndpointHealth()), ("gone", EndpointHealth()), ("unreachable", DOWN)]
)
def test_delivery_rules_attempt_that_does_not_count_requeues_at_the_front(
    harness: RulesHarness, outcome: Outcome, health: EndpointHealth
) -> None:
    harness.endpoint.health = health
    first = harness.enqueue(1)
    harness.enqueue(2, BOB_CALL)
    harness.end(outcome)
    requeued = harness.queues.calls.pop()
    assert requeued is not None
    assert (requeued.seq, requeued.attempts, requeued.throttle_count) == (first.seq, 0, outcome == "throttled")
    commit = harness.build_commit()
    assert (commit.attempts_failed, list(commit.new_deliveries), harness.window.acknowledged_to) == (1, [], 0)


def test_delivery_rules_notification_throttled_too_often_is_stored(harness: RulesHarness) -> None:
    harness.enqueue(1)
    for _ in range(THROTTLES_MAX):
        assert harness.queues.ready_count == 1
        harness.end("throttled", 1)
    assert [row.seq for row in harness.build_commit().new_deliveries] == [1]


def test_delivery_rules_notification_that_a_batch_left_out_counts_against_nothing(harness: RulesHarness) -> None:
    """However many there are, and however often: the endpoint has answered, and other notifications do not wait."""
    harness.enqueue(1)
    for _ in range(2 * max(THROTTLES_MAX, DOWN_AFTER_FAILURES)):
        notification = harness.queues.calls.pop()
        assert notification is not None
        assert notification.throttle_count == 0
        harness.rules.handle_result(notification, not_attempted("the others follow"), new_attempt())
    assert harness.endpoint.health == EndpointHealth()
    commit = harness.build_commit()
    assert (commit.new_deliveries, commit.attempts_failed, commit.logged_attempts) == ([], 0, [])


def test_delivery_rules_delivery_that_a_batch_left_out_is_postponed_without_an_attempt(harness: RulesHarness) -> None:
    delivery = pending_notification(1, delivery_id=17, attempts=3)
    harness.rules.handle_result(delivery, not_attempted("the others follow"), new_attempt())
    commit = harness.build_commit()
    (update,) = commit.updates
    assert (update.state, update.attempts, update.throttle_count, update.attempt) == ("retrying", 3, 0, None)
    assert update.due_at == NOW + round(THROTTLE_SECONDS_MIN * SECOND)
    assert (commit.attempts_failed, commit.logged_attempts) == (0, [])


def test_delivery_rules_throttled_delivery_is_retried_when_the_application_asked(harness: RulesHarness) -> None:
    delivery = pending_notification(1, delivery_id=17, attempts=3)
    harness.rules.handle_result(delivery, delivery_result("throttled", 30), new_attempt())
    (update,) = harness.build_commit().updates
    assert (update.state, update.attempts, update.throttle_count) == ("retrying", 3, 1)
    assert update.due_at == NOW + 30 * SECOND


def test_delivery_rules_unreachable_endpoint_counts_against_a_stored_delivery(harness: RulesHarness) -> None:
    """Also while the endpoint is down: otherwise the delivery would be retried forever."""
    harness.endpoint.health = DOWN
    harness.rules.handle_result(pending_notification(1, delivery_id=17), delivery_result("unreachable"), new_attempt())
    (update,) = harness.build_commit().updates
    assert (update.state, update.attempts) == ("retrying", 1)


def test_delivery_rules_first_response_makes_all_deliveries_due(harness: RulesHarness) -> None:
    harness.endpoint.health = DOWN
    harness.enqueue(1)
    harness.end("accepted")
    assert harness.build_commit().retry_all_now


def test_delivery_rules_failed_batch_counts_against_no_notification(harness: RulesHarness) -> None:
    """It is the endpoint's failure, or that of another notification: all are sent again, first one by one."""
    for seq in range(1, DOWN_AFTER_FAILURES + 1):
        harness.enqueue(seq, ("SN", f"1.{seq}"))
    result = msgspec.structs.replace(delivery_result("unreachable"), is_shared=True)
    batch = [harness.queues.calls.pop() for _ in range(DOWN_AFTER_FAILURES)]
    for notification in batch:
        assert notification is not None
        harness.rules.handle_result(notification, result, new_attempt())
    assert harness.queues.calls.ready_count == DOWN_AFTER_FAILURES
    assert harness.endpoint.health.is_down
    commit = harness.build_commit()
    assert (commit.attempts_failed, list(commit.new_deliveries)) == (DOWN_AFTER_FAILURES, [])


def test_delivery_rules_has_capacity_while_the_endpoint_is_down_reads_the_first_only(harness: RulesHarness) -> None:
    harness.endpoint.health = DOWN
    assert harness.rules.has_capacity
    harness.enqueue(1)
    assert not harness.rules.has_capacity


def test_delivery_rules_has_capacity_ends_at_the_limit(harness: RulesHarness) -> None:
    """Results that are not committed count too."""
    harness.queues.retries.backlog = Backlog(retrying=UNDELIVERED_MAX - 2, failed=1)
    assert harness.rules.has_capacity
    harness.commits.batch.add_failed(pending_notification(1), "failed", NOW, new_attempt())
    assert not harness.rules.has_capacity
