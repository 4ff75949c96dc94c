"""Services of a process: each runs in a task of its own, and is restarted with backoff when it fails.

Invariants: an error in one service stops no other service. At a stop all are cancelled before the first one is awaited,
so that the stop takes as long as the slowest one.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec

from onhook.lib.backoff import Backoff
from onhook.lib.task_reconciler import is_cancelled, raise_if_cancelled

RESTART_SECONDS_FIRST = 1.0
RESTART_SECONDS_MAX = 60.0
"""A service that fails again and again logs one traceback a minute."""

STEADY_SECONDS = 60.0
"""After a run of this length the next wait is the first again."""


class Service(msgspec.Struct, frozen=True):
    """A named service. `run` is called again after it has ended or failed; it ends for good when it is cancelled."""

    name: str
    run: Callable[[], Awaitable[None]]


@asynccontextmanager
async def running(*services: Service) -> AsyncIterator[None]:
    """Run services while the context is open: started in order, cancelled in reverse, awaited together."""
    tasks = [asyncio.create_task(_run_with_restart(service), name=service.name) for service in services]
    try:
        yield
    finally:
        for task in reversed(tasks):
            task.cancel()
        await asyncio.wait(tasks)


async def _run_with_restart(service: Service) -> None:
    backoff = Backoff(first=RESTART_SECONDS_FIRST, maximum=RESTART_SECONDS_MAX, steady_seconds=STEADY_SECONDS)
    log = logging.getLogger(service.name)
    while True:
        started_at = time.monotonic()
        try:
            await service.run()
            log.error("service ended unexpectedly, restarting")
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            log.exception("service was cancelled from inside, restarting")
        except Exception:
            log.exception("service failed, restarting")
        raise_if_cancelled()
        await asyncio.sleep(backoff.after_run(time.monotonic() - started_at))
