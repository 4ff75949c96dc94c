"""Services run side by side, and are restarted after an error."""

import asyncio
import logging

import pytest

from onhook.runtime import services
from onhook.runtime.services import Service, running


async def test_running_failing_service_is_restarted_and_affects_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is logged with its traceback."""
    monkeypatch.setattr(services, "RESTART_SECONDS_FIRST", 0.01)
    starts: list[str] = []
    has_recovered = asyncio.Event()

    async def fail_twice() -> None:
        starts.append("failing")
        if starts.count("failing") < 3:
            raise ZeroDivisionError
        has_recovered.set()
        await asyncio.Event().wait()

    async def run_steadily() -> None:
        starts.append("steady")
        await asyncio.Event().wait()

    with caplog.at_level(logging.ERROR):
        async with running(Service("steady", run_steadily), Service("failing", fail_twice)):
            await asyncio.wait_for(has_recovered.wait(), 10)
    assert (starts.count("failing"), starts.count("steady")) == (3, 1)
    assert [(record.name, bool(record.exc_info)) for record in caplog.records] == [("failing", True)] * 2


async def test_running_service_that_returns_is_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "RESTART_SECONDS_FIRST", 0.01)
    starts: asyncio.Queue[int] = asyncio.Queue()

    async def end_at_once() -> None:
        starts.put_nowait(1)

    async with running(Service("short", end_at_once)):
        for _start in range(2):
            await asyncio.wait_for(starts.get(), 10)


async def test_running_awaits_the_end_of_the_service() -> None:
    """So that what it uses can be closed afterwards."""
    has_ended = False

    async def run() -> None:
        nonlocal has_ended
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            has_ended = True

    async with running(Service("service", run)):
        await asyncio.sleep(0)
    assert has_ended


async def test_running_services_are_cancelled_together() -> None:
    """Each waits at its end until the other one is stopping too."""
    stopping = [asyncio.Event(), asyncio.Event()]

    async def run(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopping[number].set()
            await stopping[1 - number].wait()

    async with asyncio.timeout(10):
        async with running(Service("first", lambda: run(0)), Service("second", lambda: run(1))):
            await asyncio.sleep(0)


async def test_running_service_cancelled_from_inside_is_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a shared task that was cancelled elsewhere."""
    monkeypatch.setattr(services, "RESTART_SECONDS_FIRST", 0.01)
    starts: asyncio.Queue[int] = asyncio.Queue()

    async def wait_for_cancelled_future() -> None:
        starts.put_nowait(1)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    async with running(Service("service", wait_for_cancelled_future)):
        for _start in range(2):
            await asyncio.wait_for(starts.get(), 10)


async def test_running_service_that_fails_at_its_end_is_not_restarted() -> None:
    """Its error replaces the cancellation, as where a locked database cannot store the last state."""
    starts = 0

    async def run() -> None:
        nonlocal starts
        starts += 1
        try:
            await asyncio.Event().wait()
        finally:
            if starts == 1:
                raise OSError("no space")

    async with asyncio.timeout(10):
        async with running(Service("service", run)):
            await asyncio.sleep(0)
    assert starts == 1
