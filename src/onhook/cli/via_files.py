"""The calls from the files themselves, while no server has them."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import msgspec

from onhook.appdb.destinations import Destination
from onhook.cdr.record_filter import RecordFilter, parse_filter
from onhook.cdr.utc_offset import get_zone
from onhook.cli.server_lookup import DataClient, FilterValues, Row, not_quarantined_error
from onhook.config import Config
from onhook.delivery.status import replay, view_destination
from onhook.ledger.contract import RawEvent
from onhook.lib.clock import SystemClock
from onhook.runtime.data_files import OpenDataFiles, open_files
from onhook.store.contract import PAGE_MAX, ExportFormat

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@asynccontextmanager
async def open_client(config: Config) -> AsyncIterator[DataClient]:
    """The files of this data directory, the store caught up with the ledger."""
    async with open_files(config) as files:
        yield FileDataClient(config, files)


class FileDataClient:
    """See `Reach`. Rows are made as the API makes them: by msgspec, from the same values."""

    def __init__(self, config: Config, files: OpenDataFiles) -> None:
        self._zone = config.zone
        self._files = files

    async def records(self, where: FilterValues, limit: int) -> AsyncIterator[Row]:
        cursor, remaining = None, limit
        while remaining > 0:
            page = await self._files.store.records(self._filter(where), min(remaining, PAGE_MAX), cursor)
            for record in page.data:
                yield msgspec.to_builtins(record)
            remaining -= len(page.data)
            cursor = page.next
            if cursor is None:
                return

    async def calls(self, where: FilterValues, limit: int) -> AsyncIterator[Row]:
        cursor, remaining = None, limit
        while remaining > 0:
            page = await self._files.store.calls(self._filter(where), min(remaining, PAGE_MAX), cursor)
            for call in page.data:
                yield msgspec.to_builtins(call)
            remaining -= len(page.data)
            cursor = page.next
            if cursor is None:
                return

    def export(self, where: FilterValues, form: ExportFormat) -> AsyncIterator[bytes]:
        return self._files.store.export(self._filter(where), form, self._zone)

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

    async def quarantined(self, seq: int) -> Row:
        reason = await self._reason(seq)
        (raw_event,) = await self._files.ledger.get([seq])
        return {"reason": reason, "report": _raw_event_row(raw_event)}

    async def retry(self, seq: int) -> Row:
        await self._reason(seq)
        unparsed = await self._files.rereading.read_again([seq])
        return {"seq": seq, "is_read": not unparsed, "reason": unparsed[0].reason if unparsed else ""}

    async def tallies(self) -> list[Row]:
        names = {pbx.sn: pbx.name for pbx in self._files.settings.pbxs()}
        return [
            {
                **msgspec.to_builtins(counter),
                "pbx": names.get(counter.sn, ""),
                "first_at": _to_datetime(counter.first_at).isoformat(),
                "last_at": _to_datetime(counter.last_at).isoformat(),
            }
            for counter in await self._files.ledger.tallies()
        ]

    async def subscriptions(self) -> list[Row]:
        return [await self._subscription(destination) for destination in self._files.settings.subscriptions.all()]

    async def subscription(self, name: str) -> Row:
        return await self._subscription(self._files.settings.subscriptions.get(name))

    async def replay(self, name: str, where: FilterValues) -> int:
        clock = SystemClock()
        return await replay(self._files.settings, self._files.store, name, self._filter(where), clock)

    async def _subscription(self, one: Destination) -> Row:
        row: Row = msgspec.to_builtins(
            await view_destination(one, self._files.settings, self._files.store, SystemClock().now())
        )
        return row

    async def behind(self) -> int:
        return await self._files.ledger.last() - await self._files.store.position()

    def _filter(self, where: FilterValues) -> RecordFilter:
        return parse_filter(where, get_zone(self._zone), SystemClock().now())

    async def _reason(self, seq: int) -> str:
        for entry in await self._files.store.quarantine(1, seq - 1):
            if entry.seq == seq:
                return entry.reason
        raise not_quarantined_error(seq)


def _raw_event_row(report: RawEvent) -> Row:
    return {
        "seq": report.seq,
        "sn": report.sn,
        "dialect": report.dialect,
        "via": report.via,
        "received_at": _to_datetime(report.received_at).isoformat(),
        "peer": report.peer,
        "is_signed": bool(report.signature),
        "body_base64": base64.b64encode(report.body).decode(),
    }


def _to_datetime(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
