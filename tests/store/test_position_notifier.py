"""Notification of readers that wait for a position."""

import asyncio

from onhook.store.position_notifier import PositionNotifier

SOON = 5.0


async def test_wait_wakes_all_waiters_on_higher_position() -> None:
    notifier = PositionNotifier()
    tasks = [asyncio.create_task(notifier.wait(3, SOON)) for _ in range(3)]
    await asyncio.sleep(0)
    notifier.announce(3)
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    notifier.announce(4)
    assert await asyncio.gather(*tasks) == [True] * 3


async def test_wait_reached_position_returns_at_once() -> None:
    """A lower position that is announced later changes nothing."""
    notifier = PositionNotifier()
    notifier.announce(7)
    notifier.announce(2)
    assert notifier.position == 7
    assert await notifier.wait(6, SOON)


async def test_wait_ends_on_timeout_and_on_close() -> None:
    notifier = PositionNotifier()
    assert not await notifier.wait(0, 0.01)
    tasks = asyncio.create_task(notifier.wait(0, SOON))
    await asyncio.sleep(0)
    notifier.close()
    assert not await tasks
    assert notifier.is_closed
