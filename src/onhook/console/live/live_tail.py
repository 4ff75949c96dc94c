"""The newest records as events, read once for all listeners that are at the same place."""

import asyncio
from collections.abc import Sequence

import msgspec

from onhook.cdr.record import Record
from onhook.store.contract import Store
from onhook.store.position_notifier import PositionNotifier

BATCH_RECORDS_MAX = 200
"""Read at once for a listener that is behind: some 160 kB, the piece that is written at once."""


class LiveTail:
    """The newest records, read once for all listeners that are at the same place."""

    def __init__(self, store: Store, feed: PositionNotifier) -> None:
        self._store = store
        self._feed = feed
        self._place = (-1, -1)
        self._reading: asyncio.Task[Sequence[tuple[Record, bytes]]] | None = None

    async def after(self, seq: int) -> Sequence[tuple[Record, bytes]]:
        """Records after a number, each with its event; whole reports only."""
        read_key = (seq, self._feed.position)
        if self._reading is None or self._place != read_key or (self._reading.done() and self._reading.exception()):
            self._place, self._reading = read_key, asyncio.create_task(self._read(seq))
        # A listener that leaves must not take the reading from the others.
        return await asyncio.shield(self._reading)

    async def _read(self, seq: int) -> Sequence[tuple[Record, bytes]]:
        records = await self._store.records_after(seq, BATCH_RECORDS_MAX)
        if len(records) == BATCH_RECORDS_MAX and records[0].seq != records[-1].seq:
            # One report may say several records; a number that is cut in two would lose its second half.
            records = [record for record in records if record.seq != records[-1].seq]
        return [(record, encode_event(record)) for record in records]


def encode_event(record: Record) -> bytes:
    """A record as a server-sent event."""
    return b"id: %d\nevent: record\ndata: %s\n\n" % (record.seq, msgspec.json.encode(record))
