"""The store, read once for all lanes."""

import asyncio

import pytest

from onhook.delivery import record_reader
from onhook.delivery.record_reader import RecordReader
from tests.delivery.harness import DeliveryHarness, make_calls
from tests.factories import call, record


async def test_lanes_at_one_place_share_what_is_read(harness: DeliveryHarness) -> None:
    """As long as the store has come no further."""
    await harness.put_calls(*make_calls(3))
    shared = RecordReader(harness.store, harness.position_notifier)
    one, other = await asyncio.gather(shared.read_after(1), shared.read_after(1))
    assert one is other
    assert ([each.seq for each in one.records], one.last_seq, one.is_at_end) == ([2, 3], 3, True)
    await harness.put_calls(*make_calls(1))
    assert (await shared.read_after(1)).last_seq == 4


async def test_a_lane_that_ends_takes_the_reading_from_nobody(harness: DeliveryHarness) -> None:
    """What it began to read is read for the others."""
    await harness.put_calls(*make_calls(1))
    shared = RecordReader(harness.store, harness.position_notifier)
    ended, other = asyncio.create_task(shared.read_after(0)), asyncio.create_task(shared.read_after(0))
    await asyncio.sleep(0)
    ended.cancel()
    assert (await other).last_seq == 1


async def test_a_stretch_goes_as_far_as_it_was_read(harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """To its last record where there are more, to the end of the store where there are none."""
    monkeypatch.setattr(record_reader, "BATCH_RECORDS", 2)
    await harness.put_calls(*make_calls(3))
    shared = RecordReader(harness.store, harness.position_notifier)
    stretch = await shared.read_uncached(0)
    assert (len(stretch.records), stretch.last_seq, stretch.is_at_end) == (2, 2, False)
    harness.position = 9
    await harness.put_calls(call(record()))
    stretch = await shared.read_uncached(3)
    assert ([one.seq for one in stretch.records], stretch.last_seq, stretch.is_at_end) == ([10], 10, True)
