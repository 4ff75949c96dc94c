"""A job that is done again and again."""

import asyncio
from collections.abc import Awaitable, Callable

from onhook.lib.errors import OnhookError
from onhook.lib.task_reconciler import raise_if_cancelled
from onhook.lib.transition_log import TransitionLog


async def run_periodically(job: Callable[[], Awaitable[object]], seconds: float, failure_log: TransitionLog) -> None:
    """Do a job, and again so many seconds after its end, until cancelled. That it fails with an `OnhookError` is logged
    once, and once that it succeeds again.
    """
    while True:
        try:
            await job()
            failure_log.end()
        except OnhookError as error:
            failure_log.begin(error=str(error))
        raise_if_cancelled()
        await asyncio.sleep(seconds)
