"""How far a stream has been read, and up to which number every notification is done. Pure.

Invariant: `acknowledged_to` never passes a number with a notification in progress, in whichever order they end.
"""


class AckWindow:
    """Ledger numbers between the acknowledged one and the last one read."""

    def __init__(self, cursor: int) -> None:
        self.read_to = cursor
        self._in_progress: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._in_progress)

    def begin(self, seq: int) -> None:
        """Add a notification in progress. Numbers are ascending; one number may have several, where one event contains
        several records.
        """
        assert seq > self.read_to, "numbers are ascending"
        self._in_progress[seq] = self._in_progress.get(seq, 0) + 1

    def end(self, seq: int) -> None:
        """Remove one notification of this number: it is delivered, or stored as a delivery."""
        remaining = self._in_progress[seq] - 1
        if remaining:
            self._in_progress[seq] = remaining
        else:
            del self._in_progress[seq]

    @property
    def acknowledged_to(self) -> int:
        """Return the number up to which every notification has ended."""
        # Numbers were added in ascending order, so the first is the lowest.
        return next(iter(self._in_progress), self.read_to + 1) - 1
