"""Stored deliveries of one destination that are to be retried, and their order.

Invariant: all deliveries that were loaded are committed before others are loaded: so none is sent twice concurrently.
"""

from collections import deque
from collections.abc import Iterable

from onhook.appdb.deliveries import Deliveries
from onhook.appdb.delivery_rows import Backlog, DeliveryUpdate, DueDelivery
from onhook.delivery.per_call_queue import PendingNotification

DUE_DELIVERIES_MAX = 64
"""Due deliveries that are loaded at once."""


class RetryQueue:
    """Deliveries to retry. Nothing is known before the first `refresh`. Raises `Unavailable`."""

    def __init__(self, deliveries: Deliveries, destination_id: int) -> None:
        self.backlog = Backlog()
        self._deliveries = deliveries
        self._destination_id = destination_id
        self._ready: deque[PendingNotification] = deque()
        self._uncommitted_ids: set[int] = set()
        self._due_at: int | None = None

    def __len__(self) -> int:
        """Return how many could be sent now."""
        return len(self._ready)

    @property
    def due_at(self) -> int | None:
        """Return when the next delivery is due; None where there is none, or where loaded ones are not committed."""
        return None if self._uncommitted_ids else self._due_at

    async def refresh(self, updates: Iterable[DeliveryUpdate] = ()) -> None:
        """Read the state of the deliveries, after these updates were committed."""
        self._uncommitted_ids -= {update.delivery_id for update in updates}
        self.backlog = await self._deliveries.backlog(self._destination_id)
        self._due_at = await self._deliveries.next_due_at(self._destination_id)

    async def load_due(self, now_us: int) -> None:
        """Load deliveries whose retry time has passed."""
        if self.due_at is None or self.due_at > now_us:
            return
        due_deliveries = await self._deliveries.list_due(self._destination_id, now_us, DUE_DELIVERIES_MAX)
        self._ready.extend(map(_pending_notification, due_deliveries))
        self._uncommitted_ids = {due_delivery.delivery_id for due_delivery in due_deliveries}
        self._due_at = None

    def pop(self) -> PendingNotification:
        """Return the next delivery, which is in progress from now on."""
        return self._ready.popleft()


def _pending_notification(due_delivery: DueDelivery) -> PendingNotification:
    return PendingNotification(
        notification_id=due_delivery.notification_id,
        seq=due_delivery.seq,
        call=due_delivery.call,
        body=due_delivery.body,
        pending_since=0,
        lag_since=due_delivery.pending_since,
        delivery_id=due_delivery.delivery_id,
        attempts=due_delivery.attempts,
        throttle_count=due_delivery.throttle_count,
    )
