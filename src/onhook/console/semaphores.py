"""A bounded number of places, for work that takes long: listening, exporting."""

from collections.abc import Iterator
from contextlib import contextmanager


class ConcurrencyLimiter:
    """So many at once, no more. Asking whether one is free and taking it are two steps: ask before the answer begins,
    take it in the answer; a few that asked at the same moment may all be let in."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self._in_use = 0

    @property
    def in_use(self) -> int:
        """How many are taken now."""
        return self._in_use

    @property
    def is_full(self) -> bool:
        """Whether nobody else should be let in."""
        return self._in_use >= self.maximum

    @contextmanager
    def acquire(self) -> Iterator[None]:
        """Hold a place as long as the block lasts."""
        self._in_use += 1
        try:
            yield
        finally:
            self._in_use -= 1
