"""Pages of records and of calls, the latest first.

Most pages are full of recent rows, so ever longer stretches of time are looked at, from the end backwards, until there
are enough. First only the numbers of the rows are asked for; then the few that make the page are read whole.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import duckdb

from onhook.cdr.record import Call, Record
from onhook.cdr.record_filter import Filter
from onhook.lib.errors import UsageError
from onhook.store.contract import PAGE_MAX, CallKey, CallPage, Extent, RecordPage
from onhook.store.queries.conditions import Condition, for_calls, for_legs
from onhook.store.queries.cursors import Cursor, read, written
from onhook.store.queries.locality import OF_KEYS, corners, stored
from onhook.store.rows import Row, call_from, moment, record_from, seconds
from onhook.store.schema import CALLS, DERIVED, call_key, record_selection

STRETCH_ROWS = 50_000
"""About how many rows the first stretch of time holds: looked through in milliseconds."""

STRETCH_GROWTH = 16
"""And each following one holds so many times more."""

NUMBERS_PER_RECORD = 4
"""How many numbers of the ledger are looked through at first for each record that is wanted."""

_CALL_NAME = "md5(concat_ws(chr(31), sn, call_id))"

Table = Literal["legs", "calls"]
Stretch = tuple[int, int]
"""Seconds since 1970: from the first on, before the second."""


def records(connection: duckdb.DuckDBPyConnection, where: Filter, limit: int, cursor_text: str | None) -> RecordPage:
    """See `Store.records`."""
    cursor = _cursor(limit, cursor_text, "records")
    condition = _after(for_legs(where), cursor, DERIVED["record_id"])
    stretches = _stretches(connection, "legs", where, cursor)
    found = _found(connection, "legs", lambda since, until: _within(condition, since, until), limit, stretches)
    rows = _read(connection, f"SELECT {record_selection()} FROM legs", "record_id_", found, limit)
    page = [record_from(row) for row in rows[:limit]]
    is_last = len(rows) <= limit
    return RecordPage(
        page, None if is_last else written(Cursor("records", seconds(page[-1].started_at), page[-1].record_id))
    )


def calls(connection: duckdb.DuckDBPyConnection, where: Filter, limit: int, cursor_text: str | None) -> CallPage:
    """See `Store.calls`."""
    cursor = _cursor(limit, cursor_text, "calls")

    def within(since: int, until: int) -> Condition:
        return _after(for_calls(where, since, until), cursor, _CALL_NAME)

    found = _found(connection, "calls", within, limit, _stretches(connection, "calls", where, cursor))
    selection = f"SELECT {', '.join(CALLS)}, {_CALL_NAME} AS name FROM calls"
    rows = _read(connection, selection, "name", found, limit)
    page = whole(connection, [dict(zip(CALLS, row[:-1], strict=True)) for row in rows[:limit]])
    is_last = len(rows) <= limit
    return CallPage(
        page, None if is_last else written(Cursor("calls", seconds(page[-1].started_at), rows[limit - 1][-1]))
    )


def call(connection: duckdb.DuckDBPyConnection, sn: str, call_id: str) -> Call | None:
    """See `Store.call`."""
    rows = connection.execute(
        f"SELECT {', '.join(CALLS)} FROM calls WHERE call_key = {call_key(call_id)} AND call_id = ? AND sn = ?",
        [call_id, sn],
    ).fetchall()
    return whole(connection, [dict(zip(CALLS, rows[0], strict=True))])[0] if rows else None


def legs(connection: duckdb.DuckDBPyConnection, keys: Sequence[CallKey]) -> list[Record]:
    """All legs of these calls, those of one call in their order."""
    return _legs(connection, [key for corner in corners(keys) for key in stored(connection, corner)])


def whole(connection: duckdb.DuckDBPyConnection, rows: Sequence[dict[str, object]]) -> list[Call]:
    """Calls from their rows of `calls`, by name, each with its legs."""
    by_call: dict[CallKey, list[Record]] = {}
    for leg in _legs(connection, [(str(row["sn"]), str(row["call_id"])) for row in rows]):
        by_call.setdefault((leg.sn, leg.call_id), []).append(leg)
    return [call_from(row, by_call[str(row["sn"]), str(row["call_id"])]) for row in rows]


def _legs(connection: duckdb.DuckDBPyConnection, keys: Sequence[CallKey]) -> list[Record]:
    """Of calls that are there."""
    rows = [
        row
        for corner in corners(keys)
        for row in connection.execute(
            f"SELECT {record_selection()} FROM legs JOIN {OF_KEYS} AS wanted USING (call_key, sn, call_id)"
            f" WHERE {corner.within('legs')} ORDER BY place",
            corner.values,
        ).fetchall()
    ]
    return [record_from(row) for row in rows]


def calls_of(connection: duckdb.DuckDBPyConnection, keys: Sequence[CallKey]) -> list[Call]:
    """See `Store.calls_of`."""
    rows = [
        row
        for corner in corners(keys)
        for row in connection.execute(
            f"SELECT {', '.join(f'calls.{name}' for name in CALLS)} FROM calls"
            f" JOIN {OF_KEYS} AS wanted USING (call_key, sn, call_id) WHERE {corner.within('calls')}",
            corner.values,
        ).fetchall()
    ]
    return whole(connection, [dict(zip(CALLS, row, strict=True)) for row in rows])


def records_after(connection: duckdb.DuckDBPyConnection, seq: int, limit: int) -> list[Record]:
    """See `Store.records_after`. Who is far behind is not made to look through all that came since: numbers are dense,
    so that a few times as many numbers as records are wanted hold them, as a rule."""
    last = connection.execute("SELECT position FROM about").fetchall()[0][0]
    width = limit * NUMBERS_PER_RECORD
    until = seq
    rows: list[Row] = []
    while len(rows) < limit and until < last:
        until, width = until + width, width * STRETCH_GROWTH
        rows = connection.execute(
            f"SELECT {record_selection()} FROM legs WHERE seq > $seq AND seq <= (SELECT max(seq) FROM (SELECT seq"
            " FROM legs WHERE seq > $seq AND seq <= $until ORDER BY seq LIMIT $limit))"
            " ORDER BY seq, sn, call_id, place",
            {"seq": seq, "until": until, "limit": limit},
        ).fetchall()
    return [record_from(row) for row in rows]


def extent(connection: duckdb.DuckDBPyConnection, where: Filter, after: int, until: int | None) -> Extent:
    """See `Store.extent`."""
    condition = for_legs(where).also(f"seq > {after}" + ("" if until is None else f" AND seq <= {until}"))
    count, first, last, received_at = connection.execute(
        f"SELECT count(*), min(seq), max(seq), arg_min(received_at, seq) FROM legs WHERE {condition.sql}",
        condition.values,
    ).fetchall()[0]
    return Extent(
        count=count,
        first_seq=first,
        last_seq=last,
        first_received_at=None if received_at is None else moment(received_at),
    )


def _cursor(limit: int, text: str | None, of: Literal["records", "calls"]) -> Cursor | None:
    if not 1 <= limit <= PAGE_MAX:
        raise UsageError(f"a page has 1 to {PAGE_MAX} rows, not {limit}", where="limit", todo="take pages one by one")
    return read(text, of) if text else None


def _after(condition: Condition, cursor: Cursor | None, name: str) -> Condition:
    """The rows that follow the last one seen. Its name is only made for rows that began in the same second."""
    if cursor is None:
        return condition
    at = cursor.started_at
    after = condition.also(f"started_at <= {at} AND (started_at < {at} OR {name} < $cursor_name)")
    return Condition(after.sql, {**condition.values, "cursor_name": cursor.name})


def _within(condition: Condition, since: int, until: int) -> Condition:
    return condition.also(f"started_at >= {since} AND started_at < {until}")


def _found(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    within: Callable[[int, int], Condition],
    limit: int,
    stretches: Iterator[Stretch],
) -> list[int]:
    """The numbers of the rows of the page, and of one row more.

    All rows that began in the same second as the last of them are among them: which belong to the page is decided by
    their names.
    """
    found: list[tuple[int, int]] = []
    for since, until in stretches:
        question = f"SELECT started_at, rowid FROM {table} WHERE {{}} ORDER BY started_at DESC LIMIT {limit + 1}"
        found += _ask(connection, question, within(since, until))
        if len(found) > limit:
            last = found[-1][0]
            crowd = _ask(connection, f"SELECT rowid FROM {table} WHERE {{}}", within(last, last + 1))
            return [row for begun, row in found if begun > last] + [row for (row,) in crowd]
    return [row for _, row in found]


def _ask(connection: duckdb.DuckDBPyConnection, question: str, condition: Condition) -> list[Row]:
    return connection.execute(question.format(condition.sql), condition.values).fetchall()


def _read(
    connection: duckdb.DuckDBPyConnection, selection: str, name: str, numbers: Sequence[int], limit: int
) -> list[Row]:
    """These rows in the order of a page, and one more than it holds, where there is one."""
    if not numbers:
        return []
    return connection.execute(
        f"{selection} WHERE rowid IN (SELECT unnest($numbers)) AND rowid BETWEEN {min(numbers)} AND {max(numbers)}"
        f" ORDER BY started_at DESC, {name} DESC LIMIT {limit + 1}",
        {"numbers": numbers},
    ).fetchall()


def _stretches(
    connection: duckdb.DuckDBPyConnection, table: Table, where: Filter, cursor: Cursor | None
) -> Iterator[Stretch]:
    """Stretches of time from the latest row backwards, each longer than the one before."""
    first, last, rows = connection.execute(
        f"SELECT min(started_at), max(started_at), count(*) FROM {table}"
    ).fetchall()[0]
    if not rows:
        return
    length = max(1, (last - first + 1) * STRETCH_ROWS // rows)
    until = min(last + 1, *(_ends(where, cursor)))
    first = first if where.since is None else max(first, seconds(where.since))
    while until > first:
        since = max(first, until - length)
        yield since, until
        until, length = since, length * STRETCH_GROWTH


def _ends(where: Filter, cursor: Cursor | None) -> list[int]:
    until = 1 << 40 if where.until is None else seconds(where.until) + 1
    return [until, 1 << 40 if cursor is None else cursor.started_at + 1]
