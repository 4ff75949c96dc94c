"""Data access by the files, while no server runs."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import msgspec

from onhook.appdb.destination_spec import PayloadFormat
from onhook.appdb.destinations import Destination
from onhook.appdb.masking import load_masking
from onhook.cdr.call_filter import SEARCH_NAMES
from onhook.cdr.number_masking import parse_mask
from onhook.cdr.record_filter import RecordFilter, parse_filter
from onhook.cdr.utc_offset import get_zone
from onhook.cli.server_lookup import DataClient, FilterValues, Row, not_quarantined_error
from onhook.config import Config
from onhook.console.queries.export_action import describe_export
from onhook.console.queries.quarantine import find_quarantined, list_counters
from onhook.console.queries.raw_events import find_raw_event
from onhook.console.search import apply_search
from onhook.delivery.destinations.opening import destination_opener
from onhook.delivery.preview import preview_notification
from onhook.delivery.status import replay, view_destination
from onhook.lib.clock import SystemClock
from onhook.lib.errors import NotFound, Unavailable
from onhook.lib.messages import _
from onhook.projector.ledger_check import check_ledger
from onhook.runtime.data_files import OpenDataFiles, open_files
from onhook.store.contract import PAGE_MAX, CallPage, ExportFormat, QuarantineEntry, RecordPage
from onhook.store.export.excel_csv import convert_for_excel, parse_excel_option, parse_names_option


@asynccontextmanager
async def open_client(config: Config) -> AsyncIterator[DataClient]:
    """Yield the access to the files of this data directory, the store up to date with the ledger."""
    async with open_files(config) as files:
        yield FileDataClient(config, files)


class FileDataClient:
    """See `DataClient`. Rows are encoded like the API's: by msgspec, from the same values."""

    def __init__(self, config: Config, files: OpenDataFiles) -> None:
        self._config = config
        self._zone = config.zone
        self._files = files

    async def records(self, filters: FilterValues, limit: int) -> AsyncIterator[Row]:
        record_filter = self._parse_filter(filters)
        async for row in _iter_pages(partial(self._files.store.records, record_filter), limit):
            yield row

    async def calls(self, filters: FilterValues, limit: int) -> AsyncIterator[Row]:
        search_filter = await self._parse_search(filters)
        async for row in _iter_pages(partial(self._files.store.calls, search_filter), limit):
            yield row

    def follow(self, filters: FilterValues) -> AsyncIterator[Row]:
        raise Unavailable(
            _("no server is running, so no new calls are stored"), hint=_("start `onhook serve`, or leave --follow out")
        )

    async def export(
        self, filters: FilterValues, export_format: ExportFormat, form: FilterValues
    ) -> AsyncIterator[bytes]:
        separator = parse_excel_option(form.get("excel", ""))
        masking = await load_masking(self._files.appdb, parse_mask(form.get("mask", "none")))
        search_filter = await self._parse_search(filters)
        action = describe_export(export_format, search_filter, masking)
        await self._files.appdb.audit.add_read(action, now_us=SystemClock().microseconds())
        has_names = parse_names_option(form.get("names", ""))
        names = (await self._files.appdb.names.get(masking)).directory if has_names else None
        chunks = self._files.store.export(search_filter, export_format, self._zone, masking, names)
        async for chunk in chunks if separator is None else convert_for_excel(chunks, separator):
            yield chunk

    async def sql(self, query: str) -> Row:
        result = await self._files.sql_runner.run(query)
        age_seconds = round((SystemClock().now() - result.data_at).total_seconds())
        values = {"columns": result.columns, "data": result.rows, "is_truncated": result.is_truncated}
        row: Row = msgspec.to_builtins({**values, "data_at": result.data_at, "age_seconds": age_seconds})
        return row

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
        quarantined = await self._find_quarantined(seq)
        raw_event = await find_raw_event(self._files.ledger, seq)
        return {"reason": quarantined.reason, "raw_event": msgspec.to_builtins(raw_event)}

    async def retry(self, seq: int) -> Row:
        await self._find_quarantined(seq)
        unparsed = await self._files.quarantine_retrier.retry([seq])
        return {"seq": seq, "is_parsed": not unparsed, "reason": unparsed[0].reason if unparsed else ""}

    async def preview_erasure(self, number: str) -> Row:
        row: Row = msgspec.to_builtins(await self._files.eraser.preview(number))
        return row

    async def erase(self, number: str, calls: int | None) -> Row:
        row: Row = msgspec.to_builtins(await self._files.eraser.erase(number, calls=calls))
        await self._files.eraser.finish()
        return row

    async def catch_up(self) -> None:
        await self._files.catch_up()

    async def rejections(self) -> list[Row]:
        return [msgspec.to_builtins(counter) for counter in await list_counters(self._files.ledger, self._files.appdb)]

    async def destinations(self) -> list[Row]:
        return [await self._destination_row(destination) for destination in await self._files.appdb.destinations.all()]

    async def destination(self, name: str) -> Row:
        return await self._destination_row(await self._files.appdb.destinations.get(name))

    async def preview(self, name: str, call_id: str, payload_format: PayloadFormat | None) -> Row:
        files = self._files
        opener = destination_opener(self._config)
        row: Row = msgspec.to_builtins(
            await preview_notification(files.appdb, files.store, opener, name, call_id, payload_format)
        )
        return row

    async def replay(self, name: str, filters: FilterValues) -> int:
        clock = SystemClock()
        return await replay(self._files.appdb, self._files.store, name, self._parse_filter(filters), clock)

    async def _destination_row(self, destination: Destination) -> Row:
        appdb, store, zone = self._files.appdb, self._files.store, get_zone(self._zone)
        row: Row = msgspec.to_builtins(await view_destination(destination, appdb, store, SystemClock().now(), zone))
        return row

    async def lag(self) -> int:
        lag = await self._files.ledger.last_seq() - await self._files.store.position()
        if lag >= 0:
            await check_ledger(self._files.ledger, self._files.store)
        return lag

    def _parse_filter(self, filters: FilterValues) -> RecordFilter:
        return parse_filter(filters, get_zone(self._zone), SystemClock().now())

    async def _parse_search(self, filters: FilterValues) -> RecordFilter:
        record_filter = self._parse_filter({name: text for name, text in filters.items() if name not in SEARCH_NAMES})
        return await apply_search(self._files.appdb, record_filter, filters, get_zone(self._zone))

    async def _find_quarantined(self, seq: int) -> QuarantineEntry:
        try:
            return await find_quarantined(self._files.store, seq)
        except NotFound:
            # The hint of the query is for readers of the page; here a command helps.
            raise not_quarantined_error(seq) from None


async def _iter_pages(
    load_page: Callable[[int, str | None], Awaitable[RecordPage | CallPage]], limit: int
) -> AsyncIterator[Row]:
    """Yield the rows of one page after the other. `load_page` receives the number of rows and a cursor."""
    cursor, remaining = None, limit
    while remaining > 0:
        page = await load_page(min(remaining, PAGE_MAX), cursor)
        for row in page.data:
            yield msgspec.to_builtins(row)
        remaining -= len(page.data)
        cursor = page.next
        if cursor is None:
            return
