"""Services of a process: each runs in a task of its own, and is restarted with backoff when it fails.

Invariant: an error in one service ends no other one.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec

from onhook.lib.backoff import Backoff

RESTART_SECONDS_FIRST = 1.0
RESTART_SECONDS_MAX = 60.0
"""A service that fails again and again logs one traceback a minute."""

STEADY_SECONDS = 60.0
"""After a run of this length the next wait is the first again."""


class Service(msgspec.Struct, frozen=True):
    """A named service. `run` returns when it is cancelled only, and can be called again after an error."""

    name: str
    run: Callable[[], Awaitable[None]]


@asynccontextmanager
async def running(service: Service) -> AsyncIterator[None]:
    """Run a service while the context is open; its end is awaited."""
    task = asyncio.create_task(_run_with_restart(service), name=service.name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _run_with_restart(service: Service) -> None:
    backoff = Backoff(first=RESTART_SECONDS_FIRST, maximum=RESTART_SECONDS_MAX, steady_seconds=STEADY_SECONDS)
    log = logging.getLogger(service.name)
    while True:
        started_at = time.monotonic()
        try:
            await service.run()
            log.error("service ended unexpectedly, restarting")
        except Exception:
            log.exception("service failed, restarting")
        await asyncio.sleep(backoff.after_run(time.monotonic() - started_at))
