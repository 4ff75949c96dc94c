"""Events that are set at most once in a time."""

import asyncio

import pytest

from onhook.lib.paced_event import PacedEvent, wait_for_event

LONG_SECONDS = 3_600.0


async def test_paced_event_is_set_each_time_without_an_interval() -> None:
    paced = PacedEvent()
    for _time in range(2):
        event = paced.current()
        paced.set()
        assert event.is_set()
        assert not paced.current().is_set()


async def test_paced_event_second_time_waits_for_the_interval() -> None:
    paced = PacedEvent(interval_seconds=0.02)
    paced.set()
    event = paced.current()
    paced.set()
    paced.set()
    assert not event.is_set()
    await wait_for_event(event, 10)
    assert event.is_set()
    assert not paced.current().is_set()


async def test_paced_event_close_wakes_at_once_and_for_the_last_time() -> None:
    paced = PacedEvent(interval_seconds=LONG_SECONDS)
    paced.set()
    event = paced.current()
    paced.set()
    paced.close()
    assert event.is_set()
    assert not paced.current().is_set()


@pytest.mark.parametrize("is_set", [True, False])
async def test_wait_for_event_ends_with_the_event_or_its_time(*, is_set: bool) -> None:
    event = asyncio.Event()
    if is_set:
        event.set()
    async with asyncio.timeout(10):
        await wait_for_event(event, LONG_SECONDS if is_set else 0.001)
    assert event.is_set() == is_set
