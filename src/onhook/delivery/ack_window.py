"""How far a stream has been read, and up to which number every notification is done. Pure.

Invariant: `acknowledged_to` never passes a number with a notification in progress, in whichever order they end.
"""

from collections.abc import Mapping
from types import MappingProxyType


class AckWindow:
    """Ledger numbers between the acknowledged one and the last one read.

    `done` has the ids and numbers of notifications after the cursor that were done before the start: they stay so until
    the acknowledged number passes them, also where nothing was read yet.
    """

    def __init__(self, cursor: int, done: Mapping[str, int] = MappingProxyType({})) -> None:
        self.read_to = cursor
        self._in_progress: dict[int, int] = {}
        self._done = dict(done)

    def __len__(self) -> int:
        return len(self._in_progress)

    def begin(self, seq: int) -> None:
        """Add a notification in progress. Numbers are ascending; one number may have several, where one event contains
        several records.
        """
        assert seq > self.read_to, "numbers are ascending"
        self._in_progress[seq] = self._in_progress.get(seq, 0) + 1

    def end(self, seq: int, notification_id: str) -> None:
        """Remove one notification of this number: it is delivered, or stored as a delivery."""
        self.pass_over(seq, notification_id)
        remaining = self._in_progress[seq] - 1
        if remaining:
            self._in_progress[seq] = remaining
        else:
            del self._in_progress[seq]

    def pass_over(self, seq: int, notification_id: str) -> None:
        """Note that a notification is done, also one that was so before the start."""
        self._done[notification_id] = seq

    def done_ahead(self) -> tuple[str, ...]:
        """Return the notifications that are done after the acknowledged number."""
        acknowledged_to = self.acknowledged_to
        self._done = {key: seq for key, seq in self._done.items() if seq > acknowledged_to}
        return tuple(self._done)

    @property
    def acknowledged_to(self) -> int:
        """Return the number up to which every notification has ended."""
        # Numbers were added in ascending order, so the first is the lowest.
        return next(iter(self._in_progress), self.read_to + 1) - 1
