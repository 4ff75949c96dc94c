"""The newest records as events, read once for all listeners at the same position."""

from collections.abc import Sequence
from functools import partial

import msgspec

from onhook.cdr.record import Record
from onhook.lib.shared_read import SharedReads
from onhook.store.contract import Store
from onhook.store.position_notifier import PositionNotifier

BATCH_RECORDS_MAX = 200
"""Read at once for a listener that is behind: some 160 kB, the size of one write."""


class LiveTail:
    """The newest records, read once for all listeners at the same position."""

    def __init__(self, store: Store, position_notifier: PositionNotifier) -> None:
        self._store = store
        self._position_notifier = position_notifier
        self._reads = SharedReads(entries_max=1)

    async def records_after(self, seq: int) -> Sequence[tuple[Record, bytes]]:
        """Return records after a number, each with its event; never a part of one number."""
        return await self._reads.get((seq, self._position_notifier.position), partial(self._read, seq))

    async def _read(self, seq: int) -> Sequence[tuple[Record, bytes]]:
        records = await self._store.records_after(seq, BATCH_RECORDS_MAX)
        if len(records) == BATCH_RECORDS_MAX and records[0].seq != records[-1].seq:
            # One event may contain several records; a cut number would lose its second half.
            records = [record for record in records if record.seq != records[-1].seq]
        return [(record, encode_event(record)) for record in records]


def encode_event(record: Record) -> bytes:
    """Return a record as a server-sent event."""
    return b"id: %d\nevent: record\ndata: %s\n\n" % (record.seq, msgspec.json.encode(record))
