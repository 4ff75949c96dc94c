"""A whole search as one file, in chunks, the earliest first; memory does not grow with the file.

CSV and JSON lines are built per time range, two at once, from one consistent snapshot of the store, and sent in order.
Parquet and XLSX have their table of contents at the end: DuckDB and XlsxWriter build them.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from itertools import pairwise
from typing import TypeVar
from zoneinfo import ZoneInfo

import duckdb
import msgspec

from onhook.cdr.csv_injection import escape_json_controls
from onhook.cdr.directory import NameDirectory
from onhook.cdr.party_names import name_record
from onhook.cdr.record import Record
from onhook.cdr.record_filter import RecordFilter
from onhook.cdr.record_masking import Masking
from onhook.cdr.utc_offset import get_zone
from onhook.store.connections import DuckDbDatabase
from onhook.store.contract import ExportFormat
from onhook.store.export import csv, parquet, xlsx
from onhook.store.export.leg_source import ROW_ORDER, LegSource
from onhook.store.export.masked_legs import fill_masked_legs
from onhook.store.export.named_legs import fill_names, with_names
from onhook.store.export.pipes import read_lines
from onhook.store.queries.conditions import SqlCondition, leg_condition
from onhook.store.queries.zones import ZoneOffset, list_offsets
from onhook.store.rows import record_from_row
from onhook.store.schema import record_selection

CHUNK_ROWS = 40_000
"""About 15 MB of CSV: large enough to amortise a query each, small enough to keep several in memory."""

CONCURRENT_CHUNKS = 2
"""Chunks built at the same time."""

BUCKETS_MAX = 4_000
"""Time buckets that are counted to find the ranges of chunks."""

TimeRange = tuple[int, int]
"""Seconds since 1970: from the first on, before the second."""

ChunkBuilder = Callable[[duckdb.DuckDBPyConnection, SqlCondition], bytes]

ResultT = TypeVar("ResultT")


async def export(  # noqa: PLR0917 - the parts of a file
    database: DuckDbDatabase,
    record_filter: RecordFilter,
    export_format: ExportFormat,
    zone_name: str,
    masking: Masking | None = None,
    names: NameDirectory | None = None,
) -> AsyncGenerator[bytes, None]:
    """See `Store.export`."""
    zone = get_zone(zone_name)
    condition = leg_condition(record_filter)
    async with _open_snapshots(database, CONCURRENT_CHUNKS) as snapshots:
        snapshot = snapshots[0]

        async def run(work: Callable[[], ResultT]) -> ResultT:
            return await database.run_in_thread(work, snapshot)

        needs_ranges = export_format != "parquet" or masking is not None or names is not None
        time_ranges = await run(partial(_time_ranges, snapshot, condition)) if needs_ranges else []
        conditions = [_in_range(condition, time_range) for time_range in time_ranges]
        if export_format in ("parquet", "xlsx"):
            sources = [LegSource(range_condition) for range_condition in conditions or [condition]]
            if export_format == "xlsx":
                await run(partial(xlsx.check_size, snapshot, condition))
            if masking is not None:
                sources = [await run(partial(fill_masked_legs, snapshot, conditions, masking))]
            if names is not None:
                await run(partial(fill_names, snapshot, sources, names))
                sources = [*map(with_names, sources)]
            if export_format == "xlsx":
                zone_offsets = await run(partial(_load_zone_offsets, snapshot, condition, zone))
                chunks = xlsx.workbook_chunks(database, snapshot, sources, zone_offsets)
            else:
                whole = msgspec.structs.replace(sources[0], condition=condition)
                chunks = parquet.parquet_chunks(database, snapshot, whole)
        else:
            line_format = _csv_format(zone, masking, names) if export_format == "csv" else _json_format(masking, names)
            chunks = _build_in_order(database, snapshots, conditions, line_format)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk


async def _build_in_order(
    database: DuckDbDatabase,
    snapshots: Sequence[duckdb.DuckDBPyConnection],
    conditions: Sequence[SqlCondition],
    line_format: "_LineFormat",
) -> AsyncGenerator[bytes, None]:
    """Yield the chunk of each time range in order, building as many at once as there are snapshots."""
    if line_format.header:
        yield line_format.header
    tasks: deque[asyncio.Task[bytes]] = deque()
    try:
        for index, condition in enumerate(conditions):
            if len(tasks) == len(snapshots):
                yield await tasks.popleft()
            snapshot = snapshots[index % len(snapshots)]
            build = partial(line_format.build_chunk, snapshot, condition)
            tasks.append(asyncio.create_task(database.run_in_thread(build, snapshot)))
        while tasks:
            yield await tasks.popleft()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _open_snapshots(database: DuckDbDatabase, count: int) -> AsyncIterator[list[duckdb.DuckDBPyConnection]]:
    snapshots = await database.open_snapshots(count)
    try:
        yield snapshots
    finally:
        for snapshot in snapshots:
            snapshot.close()


class _LineFormat(msgspec.Struct, frozen=True):
    """A line-based format: its first lines, and the conversion of a time range to lines."""

    header: bytes
    build_chunk: ChunkBuilder


def _csv_format(zone: ZoneInfo, masking: Masking | None, names: NameDirectory | None) -> _LineFormat:
    def build_chunk(snapshot: duckdb.DuckDBPyConnection, condition: SqlCondition) -> bytes:
        source = LegSource(condition) if masking is None else fill_masked_legs(snapshot, [condition], masking)
        if names is not None:
            fill_names(snapshot, [source], names)
            source = with_names(source)
        query = csv.csv_line_query(
            _load_zone_offsets(snapshot, condition, zone),
            source.rows_sql,
            needs_escaping=_needs_escaping(snapshot, source),
            has_names=source.has_names,
        )
        lines = read_lines(snapshot, f"{source.adapt(query)} ORDER BY {ROW_ORDER}", source.values)
        return csv.escape_controls(lines)

    return _LineFormat(csv.HEADER_LINE if names is None else csv.NAMED_HEADER_LINE, build_chunk)


def _json_format(masking: Masking | None, names: NameDirectory | None) -> _LineFormat:
    """Return the format of records as in the API, in UTC; with names these are the last members."""
    encoder = msgspec.json.Encoder()

    def build_chunk(snapshot: duckdb.DuckDBPyConnection, condition: SqlCondition) -> bytes:
        rows = snapshot.execute(
            f"SELECT {record_selection()} FROM legs WHERE {condition.sql} ORDER BY {ROW_ORDER}", condition.values
        ).fetchall()
        records: Iterator[Record] = map(record_from_row, rows)
        masked_records = records if masking is None else map(masking.mask_record, records)
        if names is not None:
            masked_records = (name_record(record, names) for record in masked_records)
        return escape_json_controls(encoder.encode_lines([*masked_records]))

    return _LineFormat(b"", build_chunk)


def _load_zone_offsets(
    snapshot: duckdb.DuckDBPyConnection, condition: SqlCondition, zone: ZoneInfo
) -> list[ZoneOffset]:
    """Return the zone's offsets while these calls lasted, and until the last of them was received: usually one."""
    first_second, last_second = snapshot.execute(
        "SELECT min(least(started_at, received_at // 1000000)),"
        " max(greatest(started_at + coalesce(call_duration, 0), received_at // 1000000)) FROM legs"
        f" WHERE {condition.sql}",
        condition.values,
    ).fetchall()[0]
    return list_offsets(zone, first_second or 0, last_second or 0)


def _needs_escaping(snapshot: duckdb.DuckDBPyConnection, source: LegSource) -> bool:
    """Return whether a text of these records needs escaping in CSV."""
    query = f"SELECT 1 FROM {source.rows_sql} AND needs_escaping LIMIT 1"
    return bool(snapshot.execute(query, source.values).fetchall())


def _time_ranges(snapshot: duckdb.DuckDBPyConnection, condition: SqlCondition) -> list[TimeRange]:
    """Return time ranges with about CHUNK_ROWS rows each, from the earliest to the latest."""
    first_second, last_second, rows = snapshot.execute(
        f"SELECT min(started_at), max(started_at), count(*) FROM legs WHERE {condition.sql}", condition.values
    ).fetchall()[0]
    return [] if not rows else _split_range(snapshot, condition, first_second, last_second + 1, rows)


def _split_range(
    snapshot: duckdb.DuckDBPyConnection, condition: SqlCondition, since: int, until: int, rows: int
) -> list[TimeRange]:
    """Split a range by row counts; recursively where most rows are in one short time."""
    if rows <= CHUNK_ROWS or until - since == 1:
        return [(since, until)]
    width = -(-(until - since) // min(BUCKETS_MAX, 4 * rows // CHUNK_ROWS))
    range_condition = _in_range(condition, (since, until))
    bucket_counts = snapshot.execute(
        f"SELECT (started_at - {since}) // {width} AS bucket, count(*) FROM legs WHERE {range_condition.sql}"
        " GROUP BY bucket ORDER BY bucket",
        range_condition.values,
    ).fetchall()
    edges, chunk_rows, crowded_ranges = [since], 0, {}
    for bucket, count in bucket_counts:
        begin = since + bucket * width
        if chunk_rows + count > CHUNK_ROWS and begin > edges[-1]:
            edges.append(begin)
            chunk_rows = 0
        chunk_rows += count
        if count > 2 * CHUNK_ROWS and width > 1:
            crowded_ranges[begin] = count
            edges.append(min(begin + width, until))
            chunk_rows = 0
    if edges[-1] < until:
        edges.append(until)
    pairs = pairwise(edges)
    return [
        time_range
        for start, end in pairs
        for time_range in (
            _split_range(snapshot, condition, start, end, crowded_ranges[start])
            if start in crowded_ranges
            else [(start, end)]
        )
    ]


def _in_range(condition: SqlCondition, time_range: TimeRange) -> SqlCondition:
    return condition.and_where(f"started_at >= {time_range[0]} AND started_at < {time_range[1]}")
