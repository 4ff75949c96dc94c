"""The calls from the files themselves, while no server has them."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import msgspec

from onhook.appdb.destinations import Destination
from onhook.cdr.record_filter import Filter, parse_filter
from onhook.cdr.utc_offset import zone_named
from onhook.cli.server_lookup import Reach, Row, Where, not_quarantined
from onhook.config import Config
from onhook.delivery.status import replay, view_destination
from onhook.ledger.contract import Report
from onhook.lib.clock import SystemClock
from onhook.runtime.data_files import Files, open_files
from onhook.store.contract import PAGE_MAX, ExportFormat

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@asynccontextmanager
async def open_reach(config: Config) -> AsyncIterator[Reach]:
    """The files of this data directory, the store caught up with the ledger."""
    async with open_files(config) as files:
        yield FileReach(config, files)


class FileReach:
    """See `Reach`. Rows are made as the API makes them: by msgspec, from the same values."""

    def __init__(self, config: Config, files: Files) -> None:
        self._zone = config.zone
        self._files = files

    async def records(self, where: Where, limit: int) -> AsyncIterator[Row]:
        cursor, left = None, limit
        while left > 0:
            page = await self._files.store.records(self._filter(where), min(left, PAGE_MAX), cursor)
            for record in page.data:
                yield msgspec.to_builtins(record)
            left -= len(page.data)
            cursor = page.next
            if cursor is None:
                return

    async def calls(self, where: Where, limit: int) -> AsyncIterator[Row]:
        cursor, left = None, limit
        while left > 0:
            page = await self._files.store.calls(self._filter(where), min(left, PAGE_MAX), cursor)
            for call in page.data:
                yield msgspec.to_builtins(call)
            left -= len(page.data)
            cursor = page.next
            if cursor is None:
                return

    def export(self, where: Where, form: ExportFormat) -> AsyncIterator[bytes]:
        return self._files.store.export(self._filter(where), form, self._zone)

    async def quarantine(self, limit: int) -> AsyncIterator[Row]:
        after, left = 0, limit
        while left > 0:
            page = await self._files.store.quarantine(min(left, PAGE_MAX), after)
            for one in page:
                yield msgspec.to_builtins(one)
            left -= len(page)
            if not page:
                return
            after = page[-1].seq

    async def quarantined(self, seq: int) -> Row:
        reason = await self._reason(seq)
        (report,) = await self._files.ledger.get([seq])
        return {"reason": reason, "report": _shown(report)}

    async def retry(self, seq: int) -> Row:
        await self._reason(seq)
        still = await self._files.rereading.read_again([seq])
        return {"seq": seq, "is_read": not still, "reason": still[0].reason if still else ""}

    async def tallies(self) -> list[Row]:
        names = {pbx.sn: pbx.name for pbx in self._files.settings.pbxs()}
        return [
            {
                **msgspec.to_builtins(tally),
                "pbx": names.get(tally.sn, ""),
                "first_at": _moment(tally.first_at).isoformat(),
                "last_at": _moment(tally.last_at).isoformat(),
            }
            for tally in await self._files.ledger.tallies()
        ]

    async def subscriptions(self) -> list[Row]:
        return [await self._subscription(one) for one in self._files.settings.subscriptions.all()]

    async def subscription(self, name: str) -> Row:
        return await self._subscription(self._files.settings.subscriptions.get(name))

    async def replay(self, name: str, where: Where) -> int:
        clock = SystemClock()
        return await replay(self._files.settings, self._files.store, name, self._filter(where), clock)

    async def _subscription(self, one: Destination) -> Row:
        row: Row = msgspec.to_builtins(
            await view_destination(one, self._files.settings, self._files.store, SystemClock().now())
        )
        return row

    async def behind(self) -> int:
        return await self._files.ledger.last() - await self._files.store.position()

    def _filter(self, where: Where) -> Filter:
        return parse_filter(where, zone_named(self._zone), SystemClock().now())

    async def _reason(self, seq: int) -> str:
        for one in await self._files.store.quarantine(1, seq - 1):
            if one.seq == seq:
                return one.reason
        raise not_quarantined(seq)


def _shown(report: Report) -> Row:
    return {
        "seq": report.seq,
        "sn": report.sn,
        "dialect": report.dialect,
        "via": report.via,
        "received_at": _moment(report.received_at).isoformat(),
        "peer": report.peer,
        "is_signed": bool(report.signature),
        "body_base64": base64.b64encode(report.body).decode(),
    }


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
