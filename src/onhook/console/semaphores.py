"""A bounded number of places, for work that takes long: listening, exporting."""

from collections.abc import Iterator
from contextlib import contextmanager


class ConcurrencyLimiter:
    """So many at once, no more. Asking whether one is free and taking it are two steps: ask before the answer begins,
    take it in the answer; a few that asked at the same moment may all be let in."""

    def __init__(self, places_max: int) -> None:
        self.places_max = places_max
        self._taken = 0

    @property
    def taken(self) -> int:
        """How many are taken now."""
        return self._taken

    @property
    def is_full(self) -> bool:
        """Whether nobody else should be let in."""
        return self._taken >= self.places_max

    @contextmanager
    def taking_one(self) -> Iterator[None]:
        """Hold a place as long as the block lasts."""
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
