"""Watchdog: reports to the service manager that the server works, while all processes of the server answer.

Invariant: a process that is being started or restarted does not withhold the report, which would end the others too;
its start has a limit of its own.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from onhook.lib.service_manager import ServiceManager, ServiceNotifier
from onhook.lib.transition_log import TransitionLog

REPORTS_PER_LIMIT = 4
"""Reports in the time after which the manager kills the server: neither one that is late nor a process that answers
late is a reason.
"""


class PingableProcess(Protocol):
    """A process that answers."""

    @property
    def name(self) -> str: ...

    async def is_responsive(self, timeout_seconds: float) -> bool:
        """Return whether the process answers in this time, or is being started."""
        ...


@asynccontextmanager
async def watchdog(
    manager: ServiceManager, notifier: ServiceNotifier, processes: Sequence[PingableProcess]
) -> AsyncIterator[None]:
    """Report while the context is open, where the manager wants it."""
    if not manager.watchdog_seconds:
        yield
        return
    task = asyncio.create_task(_report(notifier, processes, manager.watchdog_seconds / REPORTS_PER_LIMIT))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _report(notifier: ServiceNotifier, processes: Sequence[PingableProcess], interval_seconds: float) -> None:
    loop_time = asyncio.get_running_loop().time
    silence = TransitionLog(
        logging.getLogger("serve"),
        begins="a process does not answer: the service manager restarts the server if that goes on",
        ends="all processes answer again",
    )
    while True:
        next_at = loop_time() + interval_seconds
        answers = await asyncio.gather(*(process.is_responsive(interval_seconds) for process in processes))
        silent_names = [
            process.name for process, has_answered in zip(processes, answers, strict=True) if not has_answered
        ]
        if silent_names:
            silence.begin(processes=", ".join(silent_names))
        else:
            silence.end()
            notifier.notify("WATCHDOG=1")
        await asyncio.sleep(next_at - loop_time())
