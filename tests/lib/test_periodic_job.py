"""Jobs that are done again and again: until cancelled, whatever fails."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from onhook.lib.errors import Unavailable
from onhook.lib.periodic_job import run_periodically
from onhook.lib.transition_log import TransitionLog
from tests.waiting import wait_until


@asynccontextmanager
async def failing_at_its_end() -> AsyncIterator[None]:
    """As a file that cannot be closed."""
    try:
        yield
    finally:
        raise Unavailable("cannot be closed", hint="try again")


def failure_log() -> TransitionLog:
    return TransitionLog(logging.getLogger("job"), begins="cannot be done", ends="can be done again")


async def test_job_that_fails_is_done_again_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "job")
    outcomes = [False, False, True, True, False]

    async def job() -> None:
        if not outcomes.pop(0):
            raise Unavailable("not now", hint="try again")

    task = asyncio.create_task(run_periodically(job, 0, failure_log()))
    await wait_until(lambda: not outcomes)
    task.cancel()
    await asyncio.wait([task])
    assert [record.message for record in caplog.records] == ["cannot be done", "can be done again", "cannot be done"]


async def test_job_whose_cancellation_ends_in_an_error_is_not_done_again() -> None:
    starts: list[bool] = []

    async def job() -> None:
        starts.append(True)
        async with failing_at_its_end():
            await asyncio.Event().wait()

    task = asyncio.create_task(run_periodically(job, 0, failure_log()))
    await wait_until(lambda: bool(starts))
    task.cancel()
    await asyncio.wait([task])
    assert (task.cancelled(), len(starts)) == (True, 1)
