"""Waiting for a condition that sets no event: files, other tasks, other processes."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable

SECONDS_MAX = 20.0
PAUSE_SECONDS = 0.01


async def wait_until(condition: Callable[[], bool] | AsyncIterable[bool], seconds: float = SECONDS_MAX) -> None:
    """Wait until the condition holds; fail when it takes too long.

    A condition that awaits is an asynchronous generator: `wait_until(await read() == 3 async for _ in polls())`.
    """
    async with asyncio.timeout(seconds):
        results = condition if isinstance(condition, AsyncIterable) else _results(condition)
        async for holds in results:
            if holds:
                return


async def polls() -> AsyncIterator[None]:
    """Yield for ever, with a pause."""
    while True:
        yield
        await asyncio.sleep(PAUSE_SECONDS)


async def _results(condition: Callable[[], bool]) -> AsyncIterator[bool]:
    async for _ in polls():
        yield condition()
