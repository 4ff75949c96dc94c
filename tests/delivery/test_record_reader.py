"""The store, read once for all lanes."""

import asyncio

import pytest

from onhook.delivery import record_reader
from onhook.delivery.record_reader import RecordReader
from tests.delivery.harness import House, some_calls
from tests.factories import call, record


async def test_lanes_at_one_place_share_what_is_read(house: House) -> None:
    """As long as the store has come no further."""
    await house.say(*some_calls(3))
    shared = RecordReader(house.store, house.feed)
    one, other = await asyncio.gather(shared.after(1), shared.after(1))
    assert one is other
    assert ([each.seq for each in one.records], one.last, one.is_all) == ([2, 3], 3, True)
    await house.say(*some_calls(1))
    assert (await shared.after(1)).last == 4


async def test_a_lane_that_ends_takes_the_reading_from_nobody(house: House) -> None:
    """What it began to read is read for the others."""
    await house.say(*some_calls(1))
    shared = RecordReader(house.store, house.feed)
    ended, other = asyncio.create_task(shared.after(0)), asyncio.create_task(shared.after(0))
    await asyncio.sleep(0)
    ended.cancel()
    assert (await other).last == 1


async def test_a_stretch_goes_as_far_as_it_was_read(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """To its last record where there are more, to the end of the store where there are none."""
    monkeypatch.setattr(record_reader, "BATCH_RECORDS", 2)
    await house.say(*some_calls(3))
    shared = RecordReader(house.store, house.feed)
    stretch = await shared.look_up(0)
    assert (len(stretch.records), stretch.last, stretch.is_all) == (2, 2, False)
    house.position = 9
    await house.say(call(record()))
    stretch = await shared.look_up(3)
    assert ([one.seq for one in stretch.records], stretch.last, stretch.is_all) == ([10], 10, True)
