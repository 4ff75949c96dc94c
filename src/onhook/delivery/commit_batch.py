"""Results of attempts since the last commit, collected for the next one. Pure."""

from collections.abc import Mapping, Sequence

from onhook.appdb.deliveries import DUE_AFTER_PREDECESSOR
from onhook.appdb.delivery_rows import CallKey, DeliveryCommit, DeliveryState, DeliveryUpdate, NewAttempt, NewDelivery
from onhook.appdb.destinations import Destination
from onhook.delivery.endpoint_health import EndpointHealth
from onhook.delivery.per_call_queue import PendingNotification


class CommitBatch:
    """Results collected until the next commit; then a new batch begins."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._new_deliveries: list[NewDelivery] = []
        self._updates: list[DeliveryUpdate] = []
        self._attempts_succeeded = 0
        self._attempts_failed = 0
        self._retry_all_now = False

    def __len__(self) -> int:
        return (
            len(self._new_deliveries)
            + len(self._updates)
            + self._attempts_succeeded
            + self._attempts_failed
            + self._retry_all_now
        )

    def add_accepted(self, notification: PendingNotification, attempt: NewAttempt) -> None:
        """Add a notification that the application accepted."""
        self._attempts_succeeded += 1
        if notification.delivery_id is not None:
            self._add_update(notification.delivery_id, notification, "delivered", attempt.attempted_at, attempt)

    def count_failed_attempt(self) -> None:
        """Count an attempt that does not count against its event."""
        self._attempts_failed += 1

    def add_failed(
        self, notification: PendingNotification, state: DeliveryState, due_at: int, attempt: NewAttempt
    ) -> None:
        """Add a notification that failed: it is retried at `due_at`, or has failed for good."""
        self._attempts_failed += 1
        if notification.delivery_id is None:
            self._new_deliveries.append(_new_delivery(notification, state, due_at, attempt))
        else:
            self._add_update(notification.delivery_id, notification, state, due_at, attempt)

    def add_postponed(self, notification: PendingNotification, due_at: int, attempt: NewAttempt) -> None:
        """Add a stored delivery that the application asked to send later."""
        self._attempts_failed += 1
        assert notification.delivery_id is not None, "only a stored delivery is postponed"
        self._add_update(notification.delivery_id, notification, "retrying", due_at, attempt, is_counted=False)

    def add_held_back(self, notification: PendingNotification) -> None:
        """Add a notification that waits behind another one of its call."""
        self._new_deliveries.append(_new_delivery(notification, "retrying", DUE_AFTER_PREDECESSOR, None))

    def retry_all_now(self) -> None:
        """Make all pending deliveries due now."""
        self._retry_all_now = True

    def has_retrying(self, call: CallKey) -> bool:
        """Return whether an event of this call is about to be stored as pending."""
        return any(
            new_delivery.call == call and new_delivery.state == "retrying" for new_delivery in self._new_deliveries
        )

    def build_commit(
        self, cursors: Mapping[int, int], finished_replays: Sequence[int], health: EndpointHealth, now_us: int
    ) -> DeliveryCommit:
        """Return all results with the cursors that they allow, and the health of the endpoint."""
        return DeliveryCommit(
            destination_id=self._destination.destination_id,
            revision=self._destination.revision,
            cursors=cursors,
            finished_replays=finished_replays,
            new_deliveries=self._new_deliveries,
            updates=self._updates,
            attempts_succeeded=self._attempts_succeeded,
            attempts_failed=self._attempts_failed,
            failing_since=health.failing_since,
            retry_after=health.throttled_until,
            retry_all_now=self._retry_all_now,
            now_us=now_us,
        )

    def _add_update(
        self,
        delivery_id: int,
        notification: PendingNotification,
        state: DeliveryState,
        due_at: int,
        attempt: NewAttempt,
        *,
        is_counted: bool = True,
    ) -> None:
        self._updates.append(
            DeliveryUpdate(
                delivery_id=delivery_id,
                call=notification.call,
                state=state,
                due_at=due_at,
                attempts=notification.attempts + is_counted,
                attempts_before=notification.attempts,
                attempt=attempt,
                busy_count=0 if is_counted else notification.busy_count,
            )
        )


def _new_delivery(
    notification: PendingNotification, state: DeliveryState, due_at: int, attempt: NewAttempt | None
) -> NewDelivery:
    return NewDelivery(
        notification_id=notification.notification_id,
        seq=notification.seq,
        call=notification.call,
        body=notification.body,
        due_at=due_at,
        pending_since=notification.pending_since,
        state=state,
        attempt=attempt,
    )
