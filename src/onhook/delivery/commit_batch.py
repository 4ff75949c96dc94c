"""What came of attempts since the last settling, put together for the next. Pure."""

from collections.abc import Mapping, Sequence

from onhook.appdb.deliveries import AT_ITS_TURN, CallKey, DeliveryState, Retried, Settlement, Trouble, Try
from onhook.appdb.destinations import Subscription
from onhook.delivery.endpoint_health import Health
from onhook.delivery.per_call_queue import Owed


class Outcomes:
    """Collected until the next settling; then another one is begun."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._troubles: list[Trouble] = []
        self._retried: list[Retried] = []
        self._delivered = 0
        self._failed = 0
        self._hastens = False

    def __len__(self) -> int:
        return len(self._troubles) + len(self._retried) + self._delivered + self._failed + self._hastens

    def taken(self, owed: Owed, attempt: Try) -> None:
        """The application has it."""
        self._delivered += 1
        if owed.delivery_id is not None:
            self._again(owed.delivery_id, owed, "delivered", attempt.at, attempt)

    def missed(self) -> None:
        """An attempt that did not count as one of its event."""
        self._failed += 1

    def failed(self, owed: Owed, state: DeliveryState, due_at: int, attempt: Try) -> None:
        """The application has it not; it waits until `due_at`, or is parked."""
        self._failed += 1
        if owed.delivery_id is None:
            self._troubles.append(_trouble(owed, state, due_at, attempt))
        else:
            self._again(owed.delivery_id, owed, state, due_at, attempt)

    def postponed(self, owed: Owed, due_at: int, attempt: Try) -> None:
        """A row that the application asked to come later with."""
        self._failed += 1
        assert owed.delivery_id is not None, "what is no row is put back in its turn"
        self._again(owed.delivery_id, owed, "waiting", due_at, attempt, counts=False)

    def held(self, owed: Owed) -> None:
        """It waits behind another one of its call."""
        self._troubles.append(_trouble(owed, "waiting", AT_ITS_TURN, None))

    def hasten(self) -> None:
        """All that wait are due now."""
        self._hastens = True

    def still_hold(self, call: CallKey) -> bool:
        """Whether something of this call is about to wait in a row."""
        return any(one.call == call and one.state == "waiting" for one in self._troubles)

    def settlement(self, cursors: Mapping[int, int], ended: Sequence[int], health: Health, at: int) -> Settlement:
        """All of it, together with the cursors that it stands for, and how the application fares."""
        return Settlement(
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
        self, delivery_id: int, owed: Owed, state: DeliveryState, due_at: int, attempt: Try, *, counts: bool = True
    ) -> None:
        self._retried.append(
            Retried(
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


def _trouble(owed: Owed, state: DeliveryState, due_at: int, attempt: Try | None) -> Trouble:
    return Trouble(
        event_id=owed.event_id,
        seq=owed.seq,
        call=owed.call,
        body=owed.body,
        due_at=due_at,
        owed_at=owed.owed_at,
        state=state,
        attempt=attempt,
    )
