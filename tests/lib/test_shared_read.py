"""Shared reads: one read for all readers of a key, and no failed one."""

import asyncio

import pytest

from onhook.lib.shared_read import SharedReads


class CountedRead:
    """Counts its calls; fails with `error` while that is set."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.count = 0
        self.error = error

    async def run(self) -> int:
        self.count += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return self.count


async def test_shared_reads_equal_keys_share_one_read() -> None:
    """They may come at the same time or later; another key has its own read."""
    reads, read = SharedReads(entries_max=4), CountedRead()
    assert await asyncio.gather(*(reads.get((7, "calls"), read.run) for _ in range(20))) == [1] * 20
    assert await reads.get((7, "calls"), read.run) == 1
    assert await reads.get((8, "calls"), read.run) == 2


async def test_shared_reads_result_expires() -> None:
    reads, read = SharedReads(entries_max=4), CountedRead()
    assert [await reads.get("counters", read.run, max_age_seconds=0.0) for _ in range(2)] == [1, 2]


@pytest.mark.parametrize("error", [ValueError("not now"), asyncio.CancelledError()])
async def test_shared_reads_failed_or_cancelled_read_is_repeated(error: BaseException) -> None:
    reads, read = SharedReads(entries_max=4), CountedRead(error)
    with pytest.raises(type(error)):
        await reads.get("calls", read.run)
    read.error = None
    assert await reads.get("calls", read.run) == 2


async def test_shared_reads_cancelled_reader_does_not_cancel_the_read() -> None:
    reads, read = SharedReads(entries_max=4), CountedRead()
    leaving = asyncio.create_task(reads.get("calls", read.run))
    staying = asyncio.create_task(reads.get("calls", read.run))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == 1


async def test_shared_reads_results_are_bounded() -> None:
    reads, read = SharedReads(entries_max=4), CountedRead()
    for key in range(12):
        await reads.get(key, read.run)
    assert len(reads) == 4
    assert await reads.get(11, read.run) == 12
