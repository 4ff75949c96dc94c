"""The store, read once for all lanes that are at the same place: most are, at its end.

Laws: a stretch is never cut within one report; `last_seq` is how far it goes, also where nothing came of the last
numbers.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

import msgspec

from onhook.cdr.record import Record
from onhook.store.contract import Store

BATCH_RECORDS = 512
"""Read at once: some milliseconds of work, half a megabyte."""

CACHED_BATCHES_MAX = 4
"""Lanes at different places push each other's out; then each reads for itself."""


class PositionSource(Protocol):
    """How far the store has come, and a way to wait until it has come further."""

    @property
    def position(self) -> int:
        """The last position that was announced; 0 before the first."""
        ...

    @property
    def is_closed(self) -> bool:
        """Whether nothing is announced any more; waiting then ends at once."""
        ...

    async def wait(self, after: int, timeout_seconds: float) -> bool:
        """Wait until the store is past a number; False when it did not get there in time."""
        ...


class RecordBatch(msgspec.Struct, frozen=True):
    """Records behind one number up to `last_seq`, in order of number; `is_at_end` where there are no more for now."""

    records: Sequence[Record]
    last_seq: int
    is_at_end: bool


class RecordReader:
    """What was read a moment ago, and what is being read."""

    def __init__(self, store: Store, position_source: PositionSource) -> None:
        self.store = store
        self.position_source = position_source
        self._read_tasks: OrderedDict[tuple[int, int], asyncio.Task[RecordBatch]] = OrderedDict()

    async def read_after(self, seq: int) -> RecordBatch:
        """The next stretch behind a number. Raises `Unavailable`."""
        cache_key = (seq, self.position_source.position)
        read_task = self._read_tasks.get(cache_key)
        if read_task is None or (read_task.done() and (read_task.cancelled() or read_task.exception() is not None)):
            read_task = asyncio.create_task(self.read_uncached(seq))
            self._read_tasks[cache_key] = read_task
            while len(self._read_tasks) > CACHED_BATCHES_MAX:
                self._read_tasks.popitem(last=False)
        # A lane that ends must not take the reading from the others.
        return await asyncio.shield(read_task)

    async def read_uncached(self, seq: int) -> RecordBatch:
        """The same, read now: what is read late comes under a number that others have passed."""
        # Known before: what comes in between is read the next time. Nobody announces a position before it is there.
        position = self.position_source.position if self.position_source.position > seq else await self.store.position()
        records = await self.store.records_after(seq, BATCH_RECORDS)
        is_at_end = len(records) < BATCH_RECORDS
        last_seq = records[-1].seq if records else seq
        return RecordBatch(records, max(last_seq, position) if is_at_end else last_seq, is_at_end)
