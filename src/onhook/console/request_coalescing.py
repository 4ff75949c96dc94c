"""Coalescing of equal requests: a page with many viewers is queried once per call.

A key contains the store's position, so that a new call is never missing: it makes another key.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar, cast

ENTRIES_MAX = 16
"""Results kept; the oldest is removed. A page of calls at its longest is some megabytes."""

MAX_AGE_SECONDS = 1.0
"""Changes without a new event, such as a rejected request, are shown a second late."""

ResultT = TypeVar("ResultT")


class RequestCoalescer:
    """Recent results, and queries in progress."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, tuple[float, asyncio.Task[Any]]] = OrderedDict()

    async def get(
        self, key: Hashable, load: Callable[[], Awaitable[ResultT]], max_age_seconds: float = MAX_AGE_SECONDS
    ) -> ResultT:
        """Return the result for this key; query only where there is none of the last seconds."""
        now = asyncio.get_running_loop().time()
        started_at, task = self._entries.get(key, (0.0, None))
        if task is None or now - started_at >= max_age_seconds or _has_failed(task):
            task = asyncio.ensure_future(_run(load))
            self._entries.pop(key, None)
            self._entries[key] = now, task
            while len(self._entries) > ENTRIES_MAX:
                self._entries.popitem(last=False)
        # A cancelled request must not cancel the query for the others.
        return cast("ResultT", await asyncio.shield(task))


async def _run(load: Callable[[], Awaitable[ResultT]]) -> ResultT:
    return await load()


def _has_failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
