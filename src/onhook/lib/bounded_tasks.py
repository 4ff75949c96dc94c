"""Tasks of a block that work at the same time, a bounded number of them at once."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar

ResultT = TypeVar("ResultT")


class BoundedTasks:
    """A block of tasks, of which at most `limit` work at once; others wait in the order in which they were started.

    The block ends when all have ended. When one fails the others are cancelled, and so is what the block awaits; the
    block then raises the error of the first one that failed.
    """

    def __init__(self, limit: int) -> None:
        self._semaphore = asyncio.Semaphore(limit)
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._group.__aexit__(kind, error, traceback)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    def start(self, work: Callable[[], Awaitable[ResultT]]) -> asyncio.Task[ResultT]:
        """Start a task; await it in the block, or read its `result()` after the block."""
        return self._group.create_task(self._run(work))

    async def _run(self, work: Callable[[], Awaitable[ResultT]]) -> ResultT:
        async with self._semaphore:
            return await work()
