"""Reader of the store, shared by all workers."""

import asyncio

import pytest

from onhook.delivery import record_reader
from onhook.delivery.record_reader import RecordReader
from tests.delivery.harness import DeliveryHarness, make_calls
from tests.factories import call, record


async def test_record_reader_workers_at_one_position_share_a_read(harness: DeliveryHarness) -> None:
    """As long as the store's position is the same."""
    await harness.put_calls(*make_calls(3))
    shared = RecordReader(harness.store, harness.position_notifier)
    batch, other = await asyncio.gather(shared.read_after(1), shared.read_after(1))
    assert batch is other
    assert ([each.seq for each in batch.records], batch.last_seq, batch.is_at_end) == ([2, 3], 3, True)
    await harness.put_calls(*make_calls(1))
    assert (await shared.read_after(1)).last_seq == 4


async def test_record_reader_cancelled_worker_does_not_cancel_the_read(harness: DeliveryHarness) -> None:
    await harness.put_calls(*make_calls(1))
    shared = RecordReader(harness.store, harness.position_notifier)
    ended, other = asyncio.create_task(shared.read_after(0)), asyncio.create_task(shared.read_after(0))
    await asyncio.sleep(0)
    ended.cancel()
    assert (await other).last_seq == 1


async def test_record_reader_batch_ends_at_its_last_record_or_at_the_end(
    harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_reader, "BATCH_RECORDS", 2)
    await harness.put_calls(*make_calls(3))
    shared = RecordReader(harness.store, harness.position_notifier)
    stretch = await shared.read_uncached(0)
    assert (len(stretch.records), stretch.last_seq, stretch.is_at_end) == (2, 2, False)
    harness.position = 9
    await harness.put_calls(call(record()))
    stretch = await shared.read_uncached(3)
    assert ([record.seq for record in stretch.records], stretch.last_seq, stretch.is_at_end) == ([10], 10, True)
