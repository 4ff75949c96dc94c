"""Who waits is woken, in time and in every order of things."""

import asyncio

from onhook.store.position_notifier import PositionNotifier

SOON = 5.0


async def test_who_waits_is_woken() -> None:
    """All that wait for more than there was go on when there is more."""
    feed = PositionNotifier()
    waiting = [asyncio.create_task(feed.wait(3, SOON)) for _ in range(3)]
    await asyncio.sleep(0)
    feed.announce(3)
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    feed.announce(4)
    assert await asyncio.gather(*waiting) == [True] * 3


async def test_what_was_announced_is_not_waited_for() -> None:
    """Who comes late goes on at once, and a smaller number that comes late changes nothing."""
    feed = PositionNotifier()
    feed.announce(7)
    feed.announce(2)
    assert feed.position == 7
    assert await feed.wait(6, SOON)


async def test_waiting_ends() -> None:
    """By its time, and by closing."""
    feed = PositionNotifier()
    assert not await feed.wait(0, 0.01)
    waiting = asyncio.create_task(feed.wait(0, SOON))
    await asyncio.sleep(0)
    feed.close()
    assert not await waiting
    assert feed.is_closed
