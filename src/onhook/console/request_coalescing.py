"""Coalescing of equal requests: a page with many viewers is queried once per call.

A key contains the store's position, so that a new call is never missing: it makes another key.
"""

from collections.abc import Awaitable, Callable, Hashable
from typing import TypeVar

from onhook.lib.shared_read import SharedReads

ENTRIES_MAX = 16
"""Results kept; the oldest is removed. A page of calls at its longest is some megabytes."""

MAX_AGE_SECONDS = 1.0
"""Changes without a new event, such as a rejected request, are shown a second late."""

ResultT = TypeVar("ResultT")


class RequestCoalescer:
    """Recent results, and queries in progress."""

    def __init__(self) -> None:
        self._reads = SharedReads(entries_max=ENTRIES_MAX)

    async def get(
        self, key: Hashable, load: Callable[[], Awaitable[ResultT]], max_age_seconds: float = MAX_AGE_SECONDS
    ) -> ResultT:
        """Return the result for this key; query only where there is none of the last seconds."""
        return await self._reads.get(key, load, max_age_seconds=max_age_seconds)
