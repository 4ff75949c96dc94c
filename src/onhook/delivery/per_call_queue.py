"""Whose turn it is: events of one call one after the other, those of different calls side by side. Pure.

Law: of one call at most one event is under way, and those behind it keep their order. An event whose call has something
in the rows that wait is held back: it belongs into a row behind it.
"""

from collections import deque
from collections.abc import Iterable

import msgspec

from onhook.appdb.deliveries import CallKey
from onhook.delivery.ack_window import AckWindow


class PendingNotification(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One event that is to be sent. `ack_window` is that of its stream, None for a row, whose number is `delivery_id`.

    `pending_since` is since when, in microseconds since 1970; `attempts` is how many failed before, `busy_count` how
    often in a row the application has asked for time.
    """

    notification_id: str
    seq: int
    call: CallKey
    body: bytes
    pending_since: int
    ack_window: AckWindow | None = None
    delivery_id: int | None = None
    attempts: int = 0
    busy_count: int = 0
    is_live: bool = True
    """Whether it is news; a replay has time."""


class PerCallQueue:
    """Events that are ready, and those behind one of their own call."""

    def __init__(self, blocked_calls: Iterable[CallKey]) -> None:
        self.blocked_calls = set(blocked_calls)
        self._ready_live: deque[PendingNotification] = deque()
        self._ready_replays: deque[PendingNotification] = deque()
        self._followers: dict[CallKey, deque[PendingNotification]] = {}

    @property
    def ready_count(self) -> int:
        """How many could be sent now."""
        return len(self._ready_live) + len(self._ready_replays)

    def add(self, notification: PendingNotification) -> bool:
        """Take an event in; False where it must be held back in a row."""
        if notification.call in self.blocked_calls:
            return False
        if notification.call in self._followers:
            self._followers[notification.call].append(notification)
        else:
            self._followers[notification.call] = deque()
            self._queue_for(notification).append(notification)
        return True

    def pop(self) -> PendingNotification | None:
        """The next one, news before replays, which is under way from now on."""
        queue = self._ready_live or self._ready_replays
        return queue.popleft() if queue else None

    def requeue(self, notification: PendingNotification) -> None:
        """It was not its fault: it is the next one again."""
        self._queue_for(notification).appendleft(notification)

    def release_next(self, notification: PendingNotification) -> None:
        """The next one of its call has its turn."""
        followers = self._followers[notification.call]
        if followers:
            self._queue_for(followers[0]).append(followers.popleft())
        else:
            del self._followers[notification.call]

    def remove_followers(self, notification: PendingNotification) -> list[PendingNotification]:
        """It will be a row, and so will all those behind it, which are given back in order."""
        return list(self._followers.pop(notification.call))

    def _queue_for(self, notification: PendingNotification) -> deque[PendingNotification]:
        return self._ready_live if notification.is_live else self._ready_replays
