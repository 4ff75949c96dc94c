"""Data access by the files, while no server runs."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import msgspec

from onhook.appdb.destinations import Destination
from onhook.cdr.record_filter import RecordFilter, parse_filter
from onhook.cdr.utc_offset import get_zone
from onhook.cli.server_lookup import DataClient, FilterValues, Row, not_quarantined_error
from onhook.config import Config
from onhook.delivery.status import replay, view_destination
from onhook.ledger.contract import RawEvent
from onhook.lib.clock import SystemClock
from onhook.lib.timestamps import to_datetime
from onhook.runtime.data_files import OpenDataFiles, open_files
from onhook.store.contract import PAGE_MAX, ExportFormat


@asynccontextmanager
async def open_client(config: Config) -> AsyncIterator[DataClient]:
    """Yield the access to the files of this data directory, the store up to date with the ledger."""
    async with open_files(config) as files:
        yield FileDataClient(config, files)


class FileDataClient:
    """See `DataClient`. Rows are encoded like the API's: by msgspec, from the same values."""

    def __init__(self, config: Config, files: OpenDataFiles) -> None:
        self._zone = config.zone
        self._files = files

    async def records(self, filters: FilterValues, limit: int) -> AsyncIterator[Row]:
        cursor, remaining = None, limit
        while remaining > 0:
            page = await self._files.store.records(self._parse_filter(filters), min(remaining, PAGE_MAX), cursor)
            for record in page.data:
                yield msgspec.to_builtins(record)
            remaining -= len(page.data)
            cursor = page.next
            if cursor is None:
                return

    async def calls(self, filters: FilterValues, limit: int) -> AsyncIterator[Row]:
        cursor, remaining = None, limit
        while remaining > 0:
            page = await self._files.store.calls(self._parse_filter(filters), min(remaining, PAGE_MAX), cursor)
            for call in page.data:
                yield msgspec.to_builtins(call)
            remaining -= len(page.data)
            cursor = page.next
            if cursor is None:
                return

    def export(self, filters: FilterValues, export_format: ExportFormat) -> AsyncIterator[bytes]:
        return self._files.store.export(self._parse_filter(filters), export_format, self._zone)

    async def quarantine(self, limit: int) -> AsyncIterator[Row]:
        after, remaining = 0, limit
        while remaining > 0:
            page = await self._files.store.quarantine(min(remaining, PAGE_MAX), after)
            for entry in page:
                yield msgspec.to_builtins(entry)
            remaining -= len(page)
            if not page:
                return
            after = page[-1].seq

    async def quarantined_raw_event(self, seq: int) -> Row:
        reason = await self._read_reason(seq)
        (raw_event,) = await self._files.ledger.get([seq])
        return {"reason": reason, "raw_event": _raw_event_row(raw_event)}

    async def retry(self, seq: int) -> Row:
        await self._read_reason(seq)
        unparsed = await self._files.quarantine_retrier.retry([seq])
        return {"seq": seq, "is_parsed": not unparsed, "reason": unparsed[0].reason if unparsed else ""}

    async def rejections(self) -> list[Row]:
        names = {pbx.sn: pbx.name for pbx in self._files.appdb.pbxs()}
        return [
            {
                **msgspec.to_builtins(counter),
                "pbx": names.get(counter.sn, ""),
                "first_at": _to_datetime(counter.first_at).isoformat(),
                "last_at": _to_datetime(counter.last_at).isoformat(),
            }
            for counter in await self._files.ledger.counters()
        ]

    async def destinations(self) -> list[Row]:
        return [await self._destination_row(destination) for destination in self._files.appdb.destinations.all()]

    async def destination(self, name: str) -> Row:
        return await self._destination_row(self._files.appdb.destinations.get(name))

    async def replay(self, name: str, filters: FilterValues) -> int:
        clock = SystemClock()
        return await replay(self._files.appdb, self._files.store, name, self._parse_filter(filters), clock)

    async def _destination_row(self, destination: Destination) -> Row:
        row: Row = msgspec.to_builtins(
            await view_destination(destination, self._files.appdb, self._files.store, SystemClock().now())
        )
        return row

    async def lag(self) -> int:
        return await self._files.ledger.last_seq() - await self._files.store.position()

    def _parse_filter(self, filters: FilterValues) -> RecordFilter:
        return parse_filter(filters, get_zone(self._zone), SystemClock().now())

    async def _read_reason(self, seq: int) -> str:
        for entry in await self._files.store.quarantine(1, seq - 1):
            if entry.seq == seq:
                return entry.reason
        raise not_quarantined_error(seq)


def _raw_event_row(raw_event: RawEvent) -> Row:
    return {
        "seq": raw_event.seq,
        "sn": raw_event.sn,
        "dialect": raw_event.dialect,
        "via": raw_event.via,
        "received_at": _to_datetime(raw_event.received_at).isoformat(),
        "peer": raw_event.peer,
        "is_signed": bool(raw_event.signature),
        "body_base64": base64.b64encode(raw_event.body).decode(),
    }


def _to_datetime(microseconds: int) -> datetime:
    return to_datetime(microseconds)
