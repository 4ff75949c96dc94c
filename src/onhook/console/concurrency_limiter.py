"""Limit of concurrent long work: listening, exporting."""

from collections.abc import Iterator
from contextlib import contextmanager


class ConcurrencyLimiter:
    """Limits concurrency. Checking for a free place and acquiring it are two steps: check before the response begins,
    acquire it in the response; a few concurrent requests may exceed the limit.
    """

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self._in_use = 0

    @property
    def in_use(self) -> int:
        """Return how many places are in use."""
        return self._in_use

    @property
    def is_full(self) -> bool:
        """Return whether further requests should be rejected."""
        return self._in_use >= self.maximum

    @contextmanager
    def acquire(self) -> Iterator[None]:
        """Hold a place while the block runs."""
        self._in_use += 1
        try:
            yield
        finally:
            self._in_use -= 1
