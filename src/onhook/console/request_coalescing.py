"""What several ask at the same moment is looked up once: a page that many watch is asked for by all at each call.

A question names the store's position, so that what is new is never missing from an answer: it makes another question.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar, cast

ENTRIES_MAX = 16
"""Remembered at once; the one that was asked for first goes. A page of calls at its longest is some megabytes."""

MAX_AGE_SECONDS = 1.0
"""What changes without a new report, such as a knock at the door, is seen a second late."""

ResultT = TypeVar("ResultT")


class RequestCoalescer:
    """Answers of a moment ago, and those that are being looked up now."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, tuple[float, asyncio.Task[Any]]] = OrderedDict()

    async def get(
        self, key: Hashable, load: Callable[[], Awaitable[ResultT]], max_age_seconds: float = MAX_AGE_SECONDS
    ) -> ResultT:
        """The answer to this question; looked up where nobody asked the same within so many seconds."""
        now = asyncio.get_running_loop().time()
        started_at, task = self._entries.get(key, (0.0, None))
        if task is None or now - started_at >= max_age_seconds or _has_failed(task):
            task = asyncio.ensure_future(_run(load))
            self._entries.pop(key, None)
            self._entries[key] = now, task
            while len(self._entries) > ENTRIES_MAX:
                self._entries.popitem(last=False)
        # Who goes away must not take the answer from the others.
        return cast("ResultT", await asyncio.shield(task))


async def _run(load: Callable[[], Awaitable[ResultT]]) -> ResultT:
    return await load()


def _has_failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
