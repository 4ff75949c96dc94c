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
    """One event that is to be sent. `window` is that of its stream, None for a row, whose number is `delivery_id`.

    `owed_at` is since when, in microseconds since 1970; `attempts` is how many failed before, `busy` how often in a row
    the application has asked for time.
    """

    event_id: str
    seq: int
    call: CallKey
    body: bytes
    owed_at: int
    window: AckWindow | None = None
    delivery_id: int | None = None
    attempts: int = 0
    busy: int = 0
    is_live: bool = True
    """Whether it is news; a replay has time."""


class PerCallQueue:
    """Events that are ready, and those behind one of their own call."""

    def __init__(self, troubled: Iterable[CallKey]) -> None:
        self.troubled = set(troubled)
        self._ready: deque[PendingNotification] = deque()
        self._later: deque[PendingNotification] = deque()
        self._behind: dict[CallKey, deque[PendingNotification]] = {}

    @property
    def ready(self) -> int:
        """How many could be sent now."""
        return len(self._ready) + len(self._later)

    def offer(self, owed: PendingNotification) -> bool:
        """Take an event in; False where it must be held back in a row."""
        if owed.call in self.troubled:
            return False
        if owed.call in self._behind:
            self._behind[owed.call].append(owed)
        else:
            self._behind[owed.call] = deque()
            self._queue_of(owed).append(owed)
        return True

    def take(self) -> PendingNotification | None:
        """The next one, news before replays, which is under way from now on."""
        queue = self._ready or self._later
        return queue.popleft() if queue else None

    def put_back(self, owed: PendingNotification) -> None:
        """It was not its fault: it is the next one again."""
        self._queue_of(owed).appendleft(owed)

    def went_through(self, owed: PendingNotification) -> None:
        """The next one of its call has its turn."""
        followers = self._behind[owed.call]
        if followers:
            self._queue_of(followers[0]).append(followers.popleft())
        else:
            del self._behind[owed.call]

    def failed(self, owed: PendingNotification) -> list[PendingNotification]:
        """It will be a row, and so will all those behind it, which are given back in order."""
        return list(self._behind.pop(owed.call))

    def _queue_of(self, owed: PendingNotification) -> deque[PendingNotification]:
        return self._ready if owed.is_live else self._later
