"""Reads that several readers share: equal reads at the same time, or shortly after each other, are one."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar, cast

Result = TypeVar("Result")


class SharedReads:
    """Reads in progress and recent results, by key, for the tasks of one event loop.

    The oldest of more than `entries_max` is removed. A read that failed or was cancelled is not reused.
    """

    def __init__(self, *, entries_max: int) -> None:
        self._entries_max = entries_max
        self._entries: OrderedDict[Hashable, tuple[float, asyncio.Task[Any]]] = OrderedDict()

    async def get(
        self, key: Hashable, read: Callable[[], Awaitable[Result]], *, max_age_seconds: float = math.inf
    ) -> Result:
        """Return the result for this key; read where there is none that began less than `max_age_seconds` ago.

        Raises what reading raises.
        """
        now = asyncio.get_running_loop().time()
        started_at, task = self._entries.get(key, (0.0, None))
        if task is None or now - started_at >= max_age_seconds or _has_failed(task):
            task = asyncio.create_task(_run(read))
            self._entries.pop(key, None)
            self._entries[key] = now, task
            while len(self._entries) > self._entries_max:
                self._entries.popitem(last=False)
        # A reader that is cancelled must not cancel the read for the others.
        return cast("Result", await asyncio.shield(task))

    def __len__(self) -> int:
        return len(self._entries)


async def _run(read: Callable[[], Awaitable[Result]]) -> Result:
    return await read()


def _has_failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
