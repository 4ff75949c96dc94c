"""The newest records as events, read once for all listeners at the same position."""

import asyncio
from collections.abc import Sequence

import msgspec

from onhook.cdr.record import Record
from onhook.store.contract import Store
from onhook.store.position_notifier import PositionNotifier

BATCH_RECORDS_MAX = 200
"""Read at once for a listener that is behind: some 160 kB, the size of one write."""


class LiveTail:
    """The newest records, read once for all listeners at the same position."""

    def __init__(self, store: Store, position_notifier: PositionNotifier) -> None:
        self._store = store
        self._position_notifier = position_notifier
        self._read_key = (-1, -1)
        self._read_task: asyncio.Task[Sequence[tuple[Record, bytes]]] | None = None

    async def records_after(self, seq: int) -> Sequence[tuple[Record, bytes]]:
        """Return records after a number, each with its event; never a part of one number."""
        read_key = (seq, self._position_notifier.position)
        if (
            self._read_task is None
            or self._read_key != read_key
            or (self._read_task.done() and self._read_task.exception())
        ):
            self._read_key, self._read_task = read_key, asyncio.create_task(self._read(seq))
        # A listener that disconnects must not cancel the read for the others.
        return await asyncio.shield(self._read_task)

    async def _read(self, seq: int) -> Sequence[tuple[Record, bytes]]:
        records = await self._store.records_after(seq, BATCH_RECORDS_MAX)
        if len(records) == BATCH_RECORDS_MAX and records[0].seq != records[-1].seq:
            # One event may contain several records; a cut number would lose its second half.
            records = [record for record in records if record.seq != records[-1].seq]
        return [(record, encode_event(record)) for record in records]


def encode_event(record: Record) -> bytes:
    """Return a record as a server-sent event."""
    return b"id: %d\nevent: record\ndata: %s\n\n" % (record.seq, msgspec.json.encode(record))
