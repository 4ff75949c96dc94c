"""Stopping workers."""

import asyncio

from onhook.delivery.dispatcher import wait_or_cancel


async def test_wait_or_cancel_stops_tasks_concurrently() -> None:
    """One that does not end by itself is cancelled, and does not delay the others."""
    stop_requested = asyncio.Event()
    ends, hangs = asyncio.create_task(_wait(stop_requested)), asyncio.create_task(_wait(asyncio.Event()))
    stop_requested.set()
    await wait_or_cancel([hangs, ends], 0.01)
    assert (ends.cancelled(), hangs.cancelled()) == (False, True)
    await wait_or_cancel([], 0.01)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
