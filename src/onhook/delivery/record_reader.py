"""Reader of the store, shared by all workers at the same position: most are, at the end.

Invariants: a batch never ends within one event; `last_seq` is its last number, also where the last numbers have no
records.
"""

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import msgspec

from onhook.cdr.record import Record
from onhook.lib.shared_read import SharedReads
from onhook.store.contract import Store

BATCH_RECORDS = 512
"""Events per read: some milliseconds of work, half a megabyte."""

CACHED_BATCHES_MAX = 4
"""Batches kept: workers at more different positions read for themselves."""


class PositionSource(Protocol):
    """Position of the store, with a way to wait for a later one."""

    @property
    def position(self) -> int:
        """Return the last announced position; 0 before the first."""
        ...

    @property
    def is_closed(self) -> bool:
        """Return whether no further position is announced; waiting then ends at once."""
        ...

    async def wait(self, after: int, timeout_seconds: float) -> bool:
        """Wait until the store is past a number. Return False when the time-out passed before."""
        ...


class RecordBatch(msgspec.Struct, frozen=True):
    """Records after one number up to `last_seq`, in order of number; `is_at_end` at the end for now."""

    records: Sequence[Record]
    last_seq: int
    is_at_end: bool


class RecordReader:
    """Recent batches, and reads in progress."""

    def __init__(self, store: Store, position_source: PositionSource) -> None:
        self.store = store
        self.position_source = position_source
        self._reads = SharedReads(entries_max=CACHED_BATCHES_MAX)

    async def read_after(self, seq: int) -> RecordBatch:
        """Return the next batch after a number. Raises `Unavailable`."""
        return await self._reads.get((seq, self.position_source.position), partial(self.read_uncached, seq))

    async def read_uncached(self, seq: int) -> RecordBatch:
        """Return the next batch, read now: an event parsed late has a number that others have passed."""
        # Read before the query: records added in between are read the next time. A position is announced after its
        # records are stored.
        position = self.position_source.position if self.position_source.position > seq else await self.store.position()
        records = await self.store.records_after(seq, BATCH_RECORDS)
        is_at_end = len(records) < BATCH_RECORDS
        last_seq = records[-1].seq if records else seq
        return RecordBatch(records, max(last_seq, position) if is_at_end else last_seq, is_at_end)
