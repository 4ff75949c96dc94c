"""Order of notifications: those of one call one after the other, those of different calls concurrently. Pure.

Invariant: of one call at most one notification is in progress, and those behind it keep their order. A notification
whose call has a retrying delivery is held back: it becomes a delivery behind that one.
"""

from collections import deque
from collections.abc import Iterable

import msgspec

from onhook.cdr.identity import CallKey
from onhook.delivery.ack_window import AckWindow


class PendingNotification(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One notification to send. `ack_window` is that of its stream, None for a stored delivery with the number
    `delivery_id`.

    `pending_since` is in microseconds since 1970; `attempts` is the number of failed attempts before, `throttle_count`
    how often in a row the endpoint requested a delay.
    """

    notification_id: str
    seq: int
    call: CallKey
    body: bytes
    pending_since: int
    ack_window: AckWindow | None = None
    delivery_id: int | None = None
    attempts: int = 0
    throttle_count: int = 0
    is_live: bool = True
    """Whether it comes from the live stream; replays have lower priority."""
    lag_since: int = 0
    """The end of its call, or when it was read where it is retried, in microseconds since 1970; 0: not measured."""


class ReadyQueue:
    """Notifications that could be sent now: first those whose attempts did not count, in the order of these attempts,
    then those that waited behind another one. They are older than most of the others, and a stream is done up to its
    oldest one.
    """

    def __init__(self) -> None:
        self.requeued: deque[PendingNotification] = deque()
        self.released: deque[PendingNotification] = deque()
        self.read: deque[PendingNotification] = deque()

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    @property
    def _parts(self) -> tuple[deque[PendingNotification], ...]:
        return self.requeued, self.released, self.read

    def pop(self) -> PendingNotification | None:
        """Return the next notification; None when there is none."""
        queue = self.requeued or self.released or self.read
        return queue.popleft() if queue else None

    @property
    def oldest_pending_since(self) -> int | None:
        """Return since when the first notification of each part waits, the earlier one; None when there is none."""
        return min((queue[0].pending_since for queue in self._parts if queue), default=None)


class PerCallQueue:
    """Notifications that are ready, and those behind one of their own call."""

    def __init__(self, blocked_calls: Iterable[CallKey]) -> None:
        self.blocked_calls = set(blocked_calls)
        self._ready_live = ReadyQueue()
        self._ready_replays = ReadyQueue()
        self._followers: dict[CallKey, deque[PendingNotification]] = {}

    @property
    def ready_count(self) -> int:
        """Return how many could be sent now."""
        return len(self._ready_live) + len(self._ready_replays)

    @property
    def oldest_pending_since(self) -> int | None:
        """Return since when the oldest of those that could be sent now waits; None when there is none."""
        times = (self._ready_live.oldest_pending_since, self._ready_replays.oldest_pending_since)
        return min((time for time in times if time is not None), default=None)

    def add(self, notification: PendingNotification) -> bool:
        """Add a notification. Return False where it must be held back as a delivery."""
        if notification.call in self.blocked_calls:
            return False
        if notification.call in self._followers:
            self._followers[notification.call].append(notification)
        else:
            self._followers[notification.call] = deque()
            self._queue_for(notification).read.append(notification)
        return True

    def pop(self) -> PendingNotification | None:
        """Return the next notification, which is in progress from now on; the live stream before replays."""
        return self._ready_live.pop() or self._ready_replays.pop()

    def requeue(self, notification: PendingNotification) -> None:
        """Requeue at the front, behind those that were requeued before: a batch keeps its order. The attempt does not
        count against this notification.
        """
        self._queue_for(notification).requeued.append(notification)

    def release_next(self, notification: PendingNotification) -> None:
        """Make the next notification of the same call ready."""
        followers = self._followers[notification.call]
        if followers:
            self._queue_for(followers[0]).released.append(followers.popleft())
        else:
            del self._followers[notification.call]

    def remove_followers(self, notification: PendingNotification) -> list[PendingNotification]:
        """Remove the notification, which becomes a delivery, and return all those behind it, in order, which become
        deliveries too.
        """
        return list(self._followers.pop(notification.call))

    def _queue_for(self, notification: PendingNotification) -> ReadyQueue:
        return self._ready_live if notification.is_live else self._ready_replays
