"""A whole search as one file, in pieces, the earliest first; memory does not grow with the file.

CSV and JSON lines are made stretch by stretch of time, two at once, from one unchanging view of the store, and handed
on in order. Parquet and XLSX have their table of contents at the end: DuckDB and XlsxWriter make them.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from itertools import chain, pairwise
from zoneinfo import ZoneInfo

import duckdb
import msgspec

from onhook.cdr.record_filter import Filter
from onhook.cdr.utc_offset import zone_named
from onhook.store.connections import Database
from onhook.store.contract import ExportFormat
from onhook.store.export import csv, parquet, xlsx
from onhook.store.queries.conditions import Condition, for_legs
from onhook.store.queries.zones import Offset, offsets
from onhook.store.rows import record_from
from onhook.store.schema import record_selection

PIECE_ROWS = 50_000
"""About 20 MB of CSV: large enough to make a question for each worth its price, small enough to hold several."""

VIEWS = 2
"""Pieces made at once."""

BUCKETS_MAX = 4_000
"""Stretches of time that are counted to find out which of them make a piece."""

Stretch = tuple[int, int]
"""Seconds since 1970: from the first on, before the second."""

Piece = Callable[[duckdb.DuckDBPyConnection, Condition], bytes]

ORDER = "started_at, sn, call_id, place"


async def export(database: Database, where: Filter, form: ExportFormat, zone_name: str) -> AsyncGenerator[bytes, None]:
    """See `Store.export`."""
    zone = zone_named(zone_name)
    condition = for_legs(where)
    async with _views(database, VIEWS) as views:
        if form == "parquet":
            pieces = parquet.pieces(database, views[0], condition)
        else:
            stretches = await database.in_thread(partial(_stretches, views[0], condition), views[0])
            conditions = [_within(condition, stretch) for stretch in stretches]
            if form == "xlsx":
                await database.in_thread(partial(xlsx.check, views[0], condition), views[0])
                known = await database.in_thread(partial(_offsets, views[0], condition, zone), views[0])
                pieces = xlsx.pieces(database, views[0], conditions, known)
            else:
                lines = _csv(zone) if form == "csv" else _json()
                pieces = _in_order(database, views, conditions, lines)
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece


async def _in_order(
    database: Database,
    views: Sequence[duckdb.DuckDBPyConnection],
    conditions: Sequence[Condition],
    lines: "_Lines",
) -> AsyncGenerator[bytes, None]:
    """Each stretch of time as its piece, as many at once as there are views."""
    if lines.head:
        yield lines.head
    under_way: deque[asyncio.Task[bytes]] = deque()
    try:
        for number, condition in enumerate(conditions):
            if len(under_way) == len(views):
                yield await under_way.popleft()
            view = views[number % len(views)]
            make = partial(lines.piece, view, condition)
            under_way.append(asyncio.create_task(database.in_thread(make, view)))
        while under_way:
            yield await under_way.popleft()
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


@asynccontextmanager
async def _views(database: Database, count: int) -> AsyncIterator[list[duckdb.DuckDBPyConnection]]:
    views = await database.views(count)
    try:
        yield views
    finally:
        for view in views:
            view.close()


class _Lines(msgspec.Struct, frozen=True):
    """A format that is made of lines: its first ones, and how a stretch of time becomes lines."""

    head: bytes
    piece: Piece


def _csv(zone: ZoneInfo) -> _Lines:
    def piece(view: duckdb.DuckDBPyConnection, condition: Condition) -> bytes:
        lines = csv.lines(_offsets(view, condition, zone), f"legs WHERE {condition.sql}")
        rows = view.execute(f"{lines} ORDER BY {ORDER}", condition.values).fetchall()
        return b"".join(chain.from_iterable(rows))

    return _Lines(csv.HEAD, piece)


def _json() -> _Lines:
    """Records as the API gives them, in UTC."""
    encoder = msgspec.json.Encoder()

    def piece(view: duckdb.DuckDBPyConnection, condition: Condition) -> bytes:
        rows = view.execute(
            f"SELECT {record_selection()} FROM legs WHERE {condition.sql} ORDER BY {ORDER}", condition.values
        ).fetchall()
        return encoder.encode_lines([record_from(row) for row in rows])

    return _Lines(b"", piece)


def _offsets(view: duckdb.DuckDBPyConnection, condition: Condition, zone: ZoneInfo) -> list[Offset]:
    """The zone's offsets while these calls lasted, and until the last of them was received: as a rule, one."""
    first, last = view.execute(
        "SELECT min(least(started_at, received_at // 1000000)),"
        " max(greatest(started_at + coalesce(call_duration, 0), received_at // 1000000)) FROM legs"
        f" WHERE {condition.sql}",
        condition.values,
    ).fetchall()[0]
    return offsets(zone, first or 0, last or 0)


def _stretches(view: duckdb.DuckDBPyConnection, condition: Condition) -> list[Stretch]:
    """Stretches of time with about PIECE_ROWS rows each, from the earliest to the latest."""
    first, last, rows = view.execute(
        f"SELECT min(started_at), max(started_at), count(*) FROM legs WHERE {condition.sql}", condition.values
    ).fetchall()[0]
    return [] if not rows else _cut(view, condition, first, last + 1, rows)


def _cut(view: duckdb.DuckDBPyConnection, condition: Condition, since: int, until: int, rows: int) -> list[Stretch]:
    """Cut where the rows are; again where most of them are in one short time."""
    if rows <= PIECE_ROWS or until - since == 1:
        return [(since, until)]
    width = -(-(until - since) // min(BUCKETS_MAX, 4 * rows // PIECE_ROWS))
    within = _within(condition, (since, until))
    counted = view.execute(
        f"SELECT (started_at - {since}) // {width} AS bucket, count(*) FROM legs WHERE {within.sql}"
        " GROUP BY bucket ORDER BY bucket",
        within.values,
    ).fetchall()
    edges, held, crowded = [since], 0, {}
    for bucket, count in counted:
        begin = since + bucket * width
        if held + count > PIECE_ROWS and begin > edges[-1]:
            edges.append(begin)
            held = 0
        held += count
        if count > 2 * PIECE_ROWS and width > 1:
            crowded[begin] = count
            edges.append(min(begin + width, until))
            held = 0
    if edges[-1] < until:
        edges.append(until)
    pairs = pairwise(edges)
    return [part for a, b in pairs for part in (_cut(view, condition, a, b, crowded[a]) if a in crowded else [(a, b)])]


def _within(condition: Condition, stretch: Stretch) -> Condition:
    return condition.also(f"started_at >= {stretch[0]} AND started_at < {stretch[1]}")
