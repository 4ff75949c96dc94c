"""What came of attempts since the last settling, put together for the next. Pure."""

from collections.abc import Mapping, Sequence

from onhook.appdb.deliveries import (
    DUE_AFTER_PREDECESSOR,
    CallKey,
    DeliveryCommit,
    DeliveryState,
    DeliveryUpdate,
    NewAttempt,
    NewDelivery,
)
from onhook.appdb.destinations import Destination
from onhook.delivery.endpoint_health import EndpointHealth
from onhook.delivery.per_call_queue import PendingNotification


class CommitBatch:
    """Collected until the next settling; then another one is begun."""

    def __init__(self, subscription: Destination) -> None:
        self._subscription = subscription
        self._troubles: list[NewDelivery] = []
        self._retried: list[DeliveryUpdate] = []
        self._delivered = 0
        self._failed = 0
        self._hastens = False

    def __len__(self) -> int:
        return len(self._troubles) + len(self._retried) + self._delivered + self._failed + self._hastens

    def taken(self, owed: PendingNotification, attempt: NewAttempt) -> None:
        """The application has it."""
        self._delivered += 1
        if owed.delivery_id is not None:
            self._again(owed.delivery_id, owed, "delivered", attempt.at, attempt)

    def missed(self) -> None:
        """An attempt that did not count as one of its event."""
        self._failed += 1

    def failed(self, owed: PendingNotification, state: DeliveryState, due_at: int, attempt: NewAttempt) -> None:
        """The application has it not; it waits until `due_at`, or is parked."""
        self._failed += 1
        if owed.delivery_id is None:
            self._troubles.append(_new_delivery(owed, state, due_at, attempt))
        else:
            self._again(owed.delivery_id, owed, state, due_at, attempt)

    def postponed(self, owed: PendingNotification, due_at: int, attempt: NewAttempt) -> None:
        """A row that the application asked to come later with."""
        self._failed += 1
        assert owed.delivery_id is not None, "what is no row is put back in its turn"
        self._again(owed.delivery_id, owed, "waiting", due_at, attempt, counts=False)

    def held(self, owed: PendingNotification) -> None:
        """It waits behind another one of its call."""
        self._troubles.append(_new_delivery(owed, "waiting", DUE_AFTER_PREDECESSOR, None))

    def hasten(self) -> None:
        """All that wait are due now."""
        self._hastens = True

    def still_hold(self, call: CallKey) -> bool:
        """Whether something of this call is about to wait in a row."""
        return any(new_delivery.call == call and new_delivery.state == "waiting" for new_delivery in self._troubles)

    def settlement(
        self, cursors: Mapping[int, int], ended: Sequence[int], health: EndpointHealth, at: int
    ) -> DeliveryCommit:
        """All of it, together with the cursors that it stands for, and how the application fares."""
        return DeliveryCommit(
            subscription_id=self._subscription.subscription_id,
            revision=self._subscription.revision,
            cursors=cursors,
            ended=ended,
            troubles=self._troubles,
            retried=self._retried,
            delivered=self._delivered,
            failed=self._failed,
            failing_since=health.failing_since,
            not_before=health.asked_until,
            hastens=self._hastens,
            at=at,
        )

    def _again(
        self,
        delivery_id: int,
        owed: PendingNotification,
        state: DeliveryState,
        due_at: int,
        attempt: NewAttempt,
        *,
        counts: bool = True,
    ) -> None:
        self._retried.append(
            DeliveryUpdate(
                delivery_id=delivery_id,
                call=owed.call,
                state=state,
                due_at=due_at,
                attempts=owed.attempts + counts,
                attempts_before=owed.attempts,
                attempt=attempt,
                busy=0 if counts else owed.busy,
            )
        )


def _new_delivery(
    owed: PendingNotification, state: DeliveryState, due_at: int, attempt: NewAttempt | None
) -> NewDelivery:
    return NewDelivery(
        event_id=owed.event_id,
        seq=owed.seq,
        call=owed.call,
        body=owed.body,
        due_at=due_at,
        owed_at=owed.owed_at,
        state=state,
        attempt=attempt,
    )
