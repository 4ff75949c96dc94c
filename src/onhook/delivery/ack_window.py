"""How far a stream has been read, and how far it is settled. Pure.

Law: `acknowledged_to` never passes a number of which anything is under way, however the ends come.
"""


class AckWindow:
    """Numbers of the ledger between what is settled and what is read."""

    def __init__(self, cursor: int) -> None:
        self.read_to = cursor
        self._in_progress: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._in_progress)

    def begin(self, seq: int) -> None:
        """Something of this number is under way; numbers come in ascending order, several times where one report
        says several records."""
        assert seq > self.read_to, "numbers are ascending"
        self._in_progress[seq] = self._in_progress.get(seq, 0) + 1

    def end(self, seq: int) -> None:
        """One thing of this number has ended: it was taken, or it is a row of its own."""
        remaining = self._in_progress[seq] - 1
        if remaining:
            self._in_progress[seq] = remaining
        else:
            del self._in_progress[seq]

    @property
    def acknowledged_to(self) -> int:
        """Everything up to this number has ended."""
        # Numbers were put in in ascending order, so the first is the lowest.
        return next(iter(self._in_progress), self.read_to + 1) - 1
