"""Tasks of a block: bounded, in order, and ended together."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from onhook.lib.bounded_tasks import BoundedTasks
from onhook.lib.errors import UsageError
from tests.waiting import wait_until


class Works:
    """Works that end when a test lets them; `running` and `most` are how many ran at once."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.running = self.most = self.cancelled_count = 0
        self.is_open = asyncio.Event()

    def create(self, number: int) -> Callable[[], Awaitable[int]]:
        return partial(self._work, number)

    async def _work(self, number: int) -> int:
        self.begun.append(number)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.is_open.wait()
        except asyncio.CancelledError:
            self.cancelled_count += 1
            raise
        finally:
            self.running -= 1
        return number


async def fail(text: str) -> int:
    raise UsageError(text)


async def test_bounded_tasks_run_at_once_up_to_the_limit_and_in_order() -> None:
    works = Works()
    async with BoundedTasks(3) as tasks:
        started = [tasks.start(works.create(number)) for number in range(7)]
        await asyncio.sleep(0)
        assert works.begun == [0, 1, 2]
        works.is_open.set()
        assert await started[0] == 0
    assert [task.result() for task in started] == works.begun == list(range(7))
    assert works.most == 3


async def test_bounded_tasks_error_ends_the_others_and_is_raised_as_it_is() -> None:
    works = Works()

    async def run_block() -> None:
        async with BoundedTasks(3) as tasks:
            never = tasks.start(works.create(1))
            _failing = tasks.start(lambda: fail("first"))
            await never

    with pytest.raises(UsageError, match="first"):
        await run_block()
    assert (works.running, works.cancelled_count) == (0, 1)


async def test_bounded_tasks_error_of_the_block_ends_its_tasks() -> None:
    works = Works()

    async def run_block() -> None:
        async with BoundedTasks(3) as tasks:
            _waiting = tasks.start(works.create(1))
            await asyncio.sleep(0)
            raise UsageError("block")

    with pytest.raises(UsageError, match="block"):
        await run_block()
    assert works.cancelled_count == 1


async def test_bounded_tasks_cancelled_block_cancels_its_tasks() -> None:
    works = Works()

    async def run_block() -> None:
        async with BoundedTasks(3) as tasks:
            _waiting = tasks.start(works.create(1))

    block = asyncio.create_task(run_block())
    await wait_until(lambda: works.begun == [1])
    block.cancel()
    with pytest.raises(asyncio.CancelledError):
        await block
    assert works.cancelled_count == 1
