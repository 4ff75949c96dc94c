"""Rules of a notification: it is queued, delivered, queued again, or stored as a delivery. Pure.

Invariants: a notification has ended when the endpoint accepted it or when it is a stored delivery. Behind a stored
delivery, later notifications of its call are stored too. An attempt that fails for another reason than the
notification (the endpoint is down, or requests a delay) does not count against it.
"""

from collections.abc import Callable

import msgspec

from onhook.appdb.delivery_rows import UNDELIVERED_MAX, DeliveryState, NewAttempt
from onhook.appdb.destinations import Destination
from onhook.delivery.commit_batch import CommitPlanner
from onhook.delivery.destinations.contract import DeliveryResult
from onhook.delivery.endpoint_health import EndpointState
from onhook.delivery.notification_queues import NotificationQueues
from onhook.delivery.per_call_queue import PendingNotification
from onhook.delivery.retry_policy import THROTTLES_MAX, clamp_retry_after, retry_delay_seconds
from onhook.lib.clock import Clock

_SECOND = 1_000_000


class DeliveryRules:
    """Applies the rules of one destination to its queues, its commits and the state of its endpoint.

    `jitter` returns numbers from 0 to 1.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        endpoint: EndpointState,
        queues: NotificationQueues,
        commits: CommitPlanner,
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        self._destination = destination
        self._endpoint = endpoint
        self._queues = queues
        self._commits = commits
        self._clock = clock
        self._jitter = jitter

    @property
    def has_capacity(self) -> bool:
        """Return whether more notifications may be read: not while those of an endpoint that is down wait."""
        if self._endpoint.health.is_down and self._queues.calls.ready_count:
            return False
        return self._queues.undelivered_count + len(self._commits.batch) < UNDELIVERED_MAX

    def enqueue(self, notification: PendingNotification) -> None:
        """Queue a notification, or hold it back behind a stored delivery of its call."""
        if not self._queues.calls.add(notification):
            self._hold_back(notification)

    def handle_result(self, notification: PendingNotification, result: DeliveryResult, attempt: NewAttempt) -> None:
        """Decide what the result of an attempt means for the notification and the endpoint."""
        now_us = self._clock.microseconds()
        if result.is_left_out:
            self._requeue(notification, None, now_us)
            return
        self._commits.batch.log_attempt(notification, result, attempt)
        if self._endpoint.record_result(result, now_us):
            self._commits.batch.retry_all_now()
        if result.external_id:
            self._commits.batch.add_external_id(notification.call, result.external_id)
        if result.outcome == "accepted":
            self._handle_accepted(notification, attempt)
        elif not self._is_attempt_counted(notification, result):
            self._postpone(notification, result, attempt, now_us)
        else:
            self._handle_failed(notification, attempt, now_us)

    def _handle_accepted(self, notification: PendingNotification, attempt: NewAttempt) -> None:
        self._commits.batch.add_accepted(notification, attempt)
        if notification.ack_window is not None:
            notification.ack_window.end(notification.seq, notification.notification_id)
            self._queues.calls.release_next(notification)

    def _is_attempt_counted(self, notification: PendingNotification, result: DeliveryResult) -> bool:
        """Return whether the attempt counts against this notification."""
        if result.is_shared:
            return False
        if result.outcome == "throttled":
            return notification.throttle_count + 1 >= THROTTLES_MAX
        is_down = self._endpoint.health.is_down and notification.delivery_id is None
        return result.outcome != "gone" and not is_down

    def _postpone(
        self, notification: PendingNotification, result: DeliveryResult, attempt: NewAttempt, now_us: int
    ) -> None:
        """Requeue a notification whose attempt does not count against it."""
        throttle_count = notification.throttle_count + (result.outcome == "throttled")
        if notification.delivery_id is None:
            self._commits.batch.count_failed_attempt()
        throttled = msgspec.structs.replace(notification, throttle_count=throttle_count)
        self._requeue(throttled, attempt, now_us, result.retry_after_seconds or 0)

    def _requeue(
        self,
        notification: PendingNotification,
        attempt: NewAttempt | None,
        now_us: int,
        retry_after_seconds: float = 0,
    ) -> None:
        """Requeue the notification at the front; a stored delivery is retried when the endpoint asked for it. There is
        no attempt where the batch left it out.
        """
        if notification.delivery_id is None:
            self._queues.calls.requeue(notification)
        else:
            due_at = now_us + round(clamp_retry_after(retry_after_seconds) * _SECOND)
            self._commits.batch.add_postponed(notification, due_at, attempt)

    def _handle_failed(self, notification: PendingNotification, attempt: NewAttempt, now_us: int) -> None:
        """Store a failed notification as a delivery, and those behind it too."""
        delay_seconds = self._retry_delay_seconds(notification)
        due_at = now_us if delay_seconds is None else now_us + round(delay_seconds * _SECOND)
        state: DeliveryState = "failed" if delay_seconds is None else "retrying"
        self._commits.batch.add_failed(notification, state, due_at, attempt)
        if notification.ack_window is not None:
            notification.ack_window.end(notification.seq, notification.notification_id)
            self._hold_back_followers(notification, is_retried=delay_seconds is not None)

    def _retry_delay_seconds(self, notification: PendingNotification) -> float | None:
        destination = self._destination
        attempts = notification.attempts + 1
        return retry_delay_seconds(destination.retry_policy, destination.max_attempts, attempts, self._jitter())

    def _hold_back_followers(self, notification: PendingNotification, *, is_retried: bool) -> None:
        followers = self._queues.calls.remove_followers(notification)
        if is_retried or followers:
            self._queues.calls.blocked_calls.add(notification.call)
        for follower in followers:
            self._hold_back(follower)

    def _hold_back(self, notification: PendingNotification) -> None:
        assert notification.ack_window is not None, "a stored delivery is never held back"
        self._commits.batch.add_held_back(notification)
        notification.ack_window.end(notification.seq, notification.notification_id)
