"""The store on DuckDB: one file, many readers, one writer, all in this process."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Any

from onhook.cdr.directory import NameDirectory
from onhook.cdr.identity import CallKey
from onhook.cdr.queue_figures import AgentFigures, QueueCount
from onhook.cdr.record import Call, Record
from onhook.cdr.record_filter import RecordFilter
from onhook.cdr.record_masking import Masking
from onhook.store import rollups, writer
from onhook.store.connections import DuckDbDatabase, read_quarantined_seqs
from onhook.store.contract import (
    CallListing,
    CallListResult,
    CallPage,
    ExportFormat,
    GroupSide,
    MissedCalls,
    OrderedCallPage,
    QuarantineEntry,
    RecordExtent,
    RecordListing,
    RecordListResult,
    RecordPage,
    StoreBatch,
)
from onhook.store.export import export as exports
from onhook.store.figures import ConcurrencyPeak, DurationHistogram
from onhook.store.queries import calls as pages
from onhook.store.queries import (
    concurrency,
    group_summaries,
    histograms,
    listings,
    missed_calls,
    ordered_calls,
    parties,
    queue_visits,
    summaries,
)
from onhook.store.rows import quarantine_entry_from_row
from onhook.store.seen_parties import SeenNumber, SeenParty, SeenTrunk


async def open_store(path: Path) -> "DuckDbStore":
    """Open the store; create a missing one.

    Raises `Unavailable` if another process has it open, and `StoreUnusable` for a file that is damaged or of another
    version.
    """
    return DuckDbStore(await asyncio.to_thread(DuckDbDatabase, path))


async def list_quarantined_seqs(path: Path, *, without_records: bool = False) -> list[int]:
    """Return the quarantined numbers of a closed store, in order; also of one that another version wrote. With
    `without_records` those alone of which no part was readable.

    Raises `Unavailable` if a process has it open, and `OnhookError` if it cannot be read.
    """
    if not await asyncio.to_thread(path.exists):
        return []
    return await asyncio.to_thread(read_quarantined_seqs, path, without_records=without_records)


class DuckDbStore:
    """The store in a DuckDB file; see `store.contract.Store`."""

    def __init__(self, database: DuckDbDatabase) -> None:
        self._database = database

    async def wait_for_damage(self) -> None:
        await self._database.wait_for_damage()

    async def position(self) -> int:
        rows = await self._database.read(
            lambda connection: connection.execute("SELECT position FROM metadata").fetchall()
        )
        return int(rows[0][0])

    async def position_key(self) -> bytes:
        rows = await self._database.read(
            lambda connection: connection.execute("SELECT position_key FROM metadata").fetchall()
        )
        return bytes(rows[0][0])

    async def re_read_seq(self) -> int:
        rows = await self._database.read(
            lambda connection: connection.execute("SELECT re_read_seq FROM metadata").fetchall()
        )
        return int(rows[0][0])

    async def put(self, batch: StoreBatch) -> None:
        await self._database.write(lambda connection: writer.put(connection, batch))

    async def roll_up(self) -> bool:
        return await self._database.write(rollups.roll_up_week)

    async def delete(self, keys: Sequence[CallKey], quarantined_seqs: Sequence[int]) -> None:
        await self._database.write(lambda connection: writer.delete(connection, keys, quarantined_seqs))

    async def rename_pbx(self, sn: str, name: str) -> bool:
        return await self._database.write(lambda connection: writer.rename_pbx(connection, sn, name))

    async def call_keys(self, sn: str, limit: int) -> list[CallKey]:
        return await self._database.read(lambda connection: pages.call_keys(connection, sn, limit))

    async def legs(self, keys: Sequence[CallKey]) -> list[Record]:
        return await self._database.read(lambda connection: pages.legs(connection, keys))

    async def records(self, record_filter: RecordFilter, limit: int, cursor: str | None = None) -> RecordPage:
        return await self._database.read(lambda connection: pages.records(connection, record_filter, limit, cursor))

    async def calls(self, record_filter: RecordFilter, limit: int, cursor: str | None = None) -> CallPage:
        return await self._database.read(lambda connection: pages.calls(connection, record_filter, limit, cursor))

    async def ordered_calls(
        self, record_filter: RecordFilter, order: str, limit: int, cursor: str | None = None
    ) -> OrderedCallPage:
        return await self._database.read(
            lambda connection: ordered_calls.ordered_calls(connection, record_filter, order, limit, cursor)
        )

    async def call(self, sn: str, call_id: str) -> Call | None:
        return await self._database.read(lambda connection: pages.call(connection, sn, call_id))

    async def list_records(self, listing: RecordListing) -> RecordListResult:
        return await self._database.read(lambda connection: listings.list_records(connection, listing))

    async def list_calls(self, listing: CallListing) -> CallListResult:
        return await self._database.read(lambda connection: listings.list_calls(connection, listing))

    async def list_parties(self, sns: Sequence[str], *, is_external: bool) -> list[SeenParty]:
        return await self._database.read(
            lambda connection: parties.list_parties(connection, sns, is_external=is_external)
        )

    async def list_numbers(self, record_filter: RecordFilter, number: str | None = None) -> list[SeenNumber]:
        return await self._database.read(lambda connection: parties.list_numbers(connection, record_filter, number))

    async def list_trunks(self, sns: Sequence[str]) -> list[SeenTrunk]:
        return await self._database.read(lambda connection: parties.list_trunks(connection, sns))

    async def find_call_by_uid(self, uid: str, sns: Sequence[str] = ()) -> Call | None:
        return await self._database.read(lambda connection: listings.find_call_by_uid(connection, uid, sns))

    async def calls_by_keys(self, keys: Sequence[CallKey]) -> list[Call]:
        return await self._database.read(lambda connection: pages.calls_by_keys(connection, keys))

    async def last_received_at(self, excluded_channels: Sequence[str]) -> Mapping[str, datetime]:
        return await self._database.read(lambda connection: pages.last_received_at(connection, excluded_channels))

    async def latest_records(self, limit: int) -> Mapping[str, Sequence[Record]]:
        return await self._database.read(lambda connection: pages.latest_records(connection, limit))

    async def extent(
        self,
        record_filter: RecordFilter,
        after_seq: int = 0,
        until_seq: int | None = None,
        *,
        second_filter: RecordFilter = RecordFilter(),  # noqa: B008 - frozen
    ) -> RecordExtent:
        return await self._database.read(
            lambda connection: pages.extent(connection, (record_filter, second_filter), after_seq, until_seq)
        )

    async def records_after(self, after_seq: int, limit: int) -> list[Record]:
        return await self._database.read(lambda connection: pages.records_after(connection, after_seq, limit))

    async def records_by_channel(
        self, channels: Sequence[str], before: datetime, after_seq: int, limit: int
    ) -> list[Record]:
        return await self._database.read(
            lambda connection: pages.records_by_channel(connection, channels, before, after_seq, limit)
        )

    async def summary(
        self,
        record_filter: RecordFilter,
        by: str,
        zone: str,
        top: int | None = None,
        *,
        marks_outside: bool = False,
    ) -> list[dict[str, Any]]:
        return await self._database.read(
            lambda connection: summaries.summary(connection, record_filter, by, zone, top, marks_outside=marks_outside)
        )

    async def list_callers(self, record_filter: RecordFilter, zone: str) -> list[dict[str, Any]]:
        return await self.summary(record_filter, "call_from", zone)

    async def summary_by_group(
        self, record_filter: RecordFilter, side: GroupSide, groups: Mapping[tuple[str, str], str]
    ) -> list[dict[str, Any]]:
        return await self._database.read(
            lambda connection: group_summaries.summary_by_group(connection, record_filter, side, groups)
        )

    async def histogram(
        self, record_filter: RecordFilter, duration_name: str, edges: Sequence[int]
    ) -> DurationHistogram:
        return await self._database.read(
            lambda connection: histograms.histogram(connection, record_filter, duration_name, edges)
        )

    async def peaks(
        self, record_filter: RecordFilter, by: str, zone: str, *, by_trunk: bool = False
    ) -> list[ConcurrencyPeak]:
        return await self._database.read(
            lambda connection: concurrency.peaks(connection, record_filter, by, zone, by_trunk=by_trunk)
        )

    async def missed_calls(self, record_filter: RecordFilter, limit: int, *, is_returned: bool = False) -> MissedCalls:
        return await self._database.read(
            lambda connection: missed_calls.missed_calls(connection, record_filter, limit, is_returned=is_returned)
        )

    async def count_visits(self, record_filter: RecordFilter, by: str, zone: str) -> list[QueueCount]:
        return await self._database.read(
            lambda connection: queue_visits.count_visits(connection, record_filter, by, zone)
        )

    async def agent_figures(self, record_filter: RecordFilter, zone: str) -> list[AgentFigures]:
        return await self._database.read(lambda connection: queue_visits.agent_figures(connection, record_filter, zone))

    async def export(
        self,
        record_filter: RecordFilter,
        export_format: ExportFormat,
        zone: str,
        masking: Masking | None = None,
        names: NameDirectory | None = None,
    ) -> AsyncIterator[bytes]:
        export = exports.export(self._database, record_filter, export_format, zone, masking, names)
        async with aclosing(export) as chunks:
            async for chunk in chunks:
                yield chunk

    async def quarantine(self, limit: int, after_seq: int = 0, *, newest_first: bool = False) -> list[QuarantineEntry]:
        rows = await self._database.read(
            lambda connection: connection.execute(
                "SELECT seq, sn, via, received_at, reason FROM quarantine WHERE seq > $1"
                f" ORDER BY seq {'DESC' if newest_first else 'ASC'} LIMIT $2",
                [after_seq, limit],
            ).fetchall()
        )
        return [quarantine_entry_from_row(row) for row in rows]

    async def counts(self) -> dict[str, int]:
        rows = await self._database.read(
            lambda connection: connection.execute(
                "SELECT (SELECT count(*) FROM legs) AS records, (SELECT count(*) FROM calls) AS calls,"
                " (SELECT count(*) FROM quarantine) AS quarantined, position FROM metadata"
            ).fetchall()
        )
        return dict(zip(("records", "calls", "quarantined", "position"), rows[0], strict=True))

    async def close(self) -> None:
        await self._database.close()
