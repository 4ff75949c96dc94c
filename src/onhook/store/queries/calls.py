"""Pages of records and of calls, the latest first.

Most pages consist of recent rows, so time ranges are searched from the end backwards, until there are enough: each as
long as the matches in the one before let expect. Only the row ids are selected first; then the few rows of the page are
read whole, because most of the time goes into decompressing texts.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal

import duckdb
import msgspec

from onhook.cdr.identity import CallKey
from onhook.cdr.record import Call, Record
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime
from onhook.store.contract import PAGE_MAX, CallPage, RecordExtent, RecordPage
from onhook.store.queries.conditions import SqlCondition, both, call_condition, leg_condition, legs_source
from onhook.store.queries.cursors import Cursor, decode_cursor, encode_cursor
from onhook.store.queries.locality import existing_keys, in_call_keys, in_row_ids, key_ranges
from onhook.store.rows import Row, call_from_row, epoch_seconds, record_from_row
from onhook.store.schema import CALLS, DERIVED, call_key, record_selection

FIRST_RANGE_ROWS = 10_000
"""About how many rows the first time range has: enough for a page of nearly all calls of a PBX or of a status."""

FIRST_NUMBER_RANGE_ROWS = 50_000
"""The same for a number, which few calls have: searching its integers costs less than a further statement."""

RANGE_GROWTH = 16
"""How much longer than the one before a time range is at most."""

RANGE_MARGIN = 1.5
"""How much longer a time range is than the density of matches in the one before requires: nights have few calls."""

SEQS_PER_RECORD = 4
"""How many numbers of the ledger are searched at first for each requested record."""

_CALL_NAME = "md5(concat_ws(chr(31), sn, call_id))"

Table = Literal["legs", "calls"]


class SearchPeriod(msgspec.Struct, frozen=True):
    """The seconds since 1970 in which rows are searched, `until` excluded, and the length of the first time range."""

    since: int
    until: int
    first_length: int


def records(
    connection: duckdb.DuckDBPyConnection, record_filter: RecordFilter, limit: int, cursor_text: str | None
) -> RecordPage:
    """See `Store.records`."""
    cursor = _decode_cursor(limit, cursor_text, "records")
    condition = _after_cursor(leg_condition(record_filter), cursor, DERIVED["record_id"])
    row_ids = find_row_ids(
        connection,
        legs_source(record_filter),
        lambda since, until: _in_range(condition, since, until),
        limit,
        search_period(connection, "legs", record_filter, cursor),
    )
    rows = _read_rows(connection, f"SELECT {record_selection()} FROM legs", "record_id_", row_ids, limit)
    page = [record_from_row(row) for row in rows[:limit]]
    is_last = len(rows) <= limit
    return RecordPage(
        page,
        None if is_last else encode_cursor(Cursor("records", epoch_seconds(page[-1].started_at), page[-1].record_id)),
    )


def calls(
    connection: duckdb.DuckDBPyConnection, record_filter: RecordFilter, limit: int, cursor_text: str | None
) -> CallPage:
    """See `Store.calls`."""
    cursor = _decode_cursor(limit, cursor_text, "calls")

    def range_condition(since: int, until: int) -> SqlCondition:
        return _after_cursor(call_condition(record_filter, since, until), cursor, _CALL_NAME)

    row_ids = find_row_ids(
        connection, "calls", range_condition, limit, search_period(connection, "calls", record_filter, cursor)
    )
    selection = f"SELECT {', '.join(CALLS)}, {_CALL_NAME} AS name FROM calls"
    rows = _read_rows(connection, selection, "name", row_ids, limit)
    page = build_calls(connection, [dict(zip(CALLS, row[:-1], strict=True)) for row in rows[:limit]])
    is_last = len(rows) <= limit
    return CallPage(
        page,
        None if is_last else encode_cursor(Cursor("calls", epoch_seconds(page[-1].started_at), rows[limit - 1][-1])),
    )


def call(connection: duckdb.DuckDBPyConnection, sn: str, call_id: str) -> Call | None:
    """See `Store.call`."""
    rows = connection.execute(
        f"SELECT {', '.join(CALLS)} FROM calls WHERE call_key = {call_key(call_id)} AND call_id = ? AND sn = ?",
        [call_id, sn],
    ).fetchall()
    return build_calls(connection, [dict(zip(CALLS, rows[0], strict=True))])[0] if rows else None


def call_keys(connection: duckdb.DuckDBPyConnection, sn: str, limit: int) -> list[CallKey]:
    """Return the keys of calls with this serial number, in capitals or not."""
    return connection.execute(
        "SELECT sn, call_id FROM calls WHERE upper(sn) = upper(?) LIMIT ?", [sn, limit]
    ).fetchall()


def legs(connection: duckdb.DuckDBPyConnection, keys: Sequence[CallKey]) -> list[Record]:
    """Return all legs of these calls, those of one call in their order."""
    return _legs(connection, [key for key_range in key_ranges(keys) for key in existing_keys(connection, key_range)])


def build_calls(connection: duckdb.DuckDBPyConnection, rows: Sequence[dict[str, object]]) -> list[Call]:
    """Return calls from their rows of `calls`, by name, each with its legs."""
    legs_by_call: dict[CallKey, list[Record]] = {}
    for leg in _legs(connection, [(str(row["sn"]), str(row["call_id"])) for row in rows]):
        legs_by_call.setdefault((leg.sn, leg.call_id), []).append(leg)
    return [call_from_row(row, legs_by_call[str(row["sn"]), str(row["call_id"])]) for row in rows]


def _legs(connection: duckdb.DuckDBPyConnection, keys: Sequence[CallKey]) -> list[Record]:
    """Return the legs of existing calls."""
    row_ids = _row_ids_by_keys(connection, "legs", keys)
    rows = _read_by_keys(connection, f"SELECT {record_selection()} FROM legs", row_ids, keys, "ORDER BY leg_index")
    return [record_from_row(row) for row in rows]


def calls_by_keys(connection: duckdb.DuckDBPyConnection, keys: Sequence[CallKey]) -> list[Call]:
    """See `Store.calls_by_keys`."""
    row_ids = _row_ids_by_keys(connection, "calls", keys)
    rows = _read_by_keys(connection, f"SELECT {', '.join(CALLS)} FROM calls", row_ids, keys)
    return build_calls(connection, [dict(zip(CALLS, row, strict=True)) for row in rows])


def _row_ids_by_keys(connection: duckdb.DuckDBPyConnection, table: Table, keys: Sequence[CallKey]) -> list[int]:
    """Return the ids of the rows of these calls, and of some others that began in the same seconds: only the column of
    numbers is searched.
    """
    if not keys:
        return []
    condition = in_call_keys({call_key(call_id) for _sn, call_id in keys})
    return [row_id for (row_id,) in _select(connection, f"SELECT rowid FROM {table}", condition)]


def _read_by_keys(
    connection: duckdb.DuckDBPyConnection,
    selection: str,
    row_ids: Sequence[int],
    keys: Sequence[CallKey],
    order: str = "",
) -> list[Row]:
    """Return the rows of these calls among the rows with these ids."""
    if not row_ids:
        return []
    condition = in_row_ids(row_ids).and_where("sn || chr(31) || call_id IN (SELECT unnest($names))")
    names = {"names": ["\x1f".join(key) for key in keys]}
    return _select(connection, selection, SqlCondition(condition.sql, condition.values | names), order)


def records_after(connection: duckdb.DuckDBPyConnection, after_seq: int, limit: int) -> list[Record]:
    """Return the next records; see `Store.records_after`. A reader far behind must not scan all later rows: numbers are
    dense, so a few times as many numbers as requested records usually contain them.
    """
    position = connection.execute("SELECT position FROM metadata").fetchall()[0][0]
    seq_count = limit * SEQS_PER_RECORD
    until_seq = after_seq
    rows: list[Row] = []
    while len(rows) < limit and until_seq < position:
        until_seq, seq_count = until_seq + seq_count, seq_count * RANGE_GROWTH
        rows = connection.execute(
            f"SELECT {record_selection()} FROM legs WHERE seq > $seq AND seq <= (SELECT max(seq) FROM (SELECT seq"
            " FROM legs WHERE seq > $seq AND seq <= $until ORDER BY seq LIMIT $limit))"
            " ORDER BY seq, sn, call_id, leg_index",
            {"seq": after_seq, "until": until_seq, "limit": limit},
        ).fetchall()
    return [record_from_row(row) for row in rows]


def records_by_channel(
    connection: duckdb.DuckDBPyConnection, channels: Sequence[str], before: datetime, after_seq: int, limit: int
) -> list[Record]:
    """See `Store.records_by_channel`."""
    condition = "list_contains($channels, via) AND started_at < $before AND seq > $after_seq"
    rows = connection.execute(
        f"SELECT {record_selection()} FROM legs WHERE {condition} AND seq <= (SELECT max(seq) FROM (SELECT seq"
        f" FROM legs WHERE {condition} ORDER BY seq LIMIT $limit)) ORDER BY seq, sn, call_id, leg_index",
        {"channels": list(channels), "before": epoch_seconds(before), "after_seq": after_seq, "limit": limit},
    ).fetchall()
    return [record_from_row(row) for row in rows]


def last_received_at(connection: duckdb.DuckDBPyConnection, excluded_channels: Sequence[str]) -> Mapping[str, datetime]:
    """See `Store.last_received_at`."""
    rows = connection.execute(
        "SELECT sn, max(received_at) FROM legs WHERE NOT list_contains($channels::VARCHAR[], via) GROUP BY sn",
        {"channels": list(excluded_channels)},
    ).fetchall()
    return {sn: to_datetime(received_at) for sn, received_at in rows}


def latest_records(connection: duckdb.DuckDBPyConnection, limit: int) -> Mapping[str, Sequence[Record]]:
    """See `Store.latest_records`."""
    rows = connection.execute(f"SELECT max_by(rowid, started_at, {limit}) FROM legs GROUP BY sn").fetchall()
    row_ids = [row_id for (ids,) in rows for row_id in ids]
    records: dict[str, list[Record]] = {}
    for row in _read_rows(connection, f"SELECT {record_selection()} FROM legs", "record_id_", row_ids, len(row_ids)):
        record = record_from_row(row)
        records.setdefault(record.sn, []).append(record)
    return records


def extent(
    connection: duckdb.DuckDBPyConnection,
    filters: tuple[RecordFilter, RecordFilter],
    after_seq: int,
    until_seq: int | None,
) -> RecordExtent:
    """See `Store.extent`."""
    condition = both(*map(leg_condition, filters)).and_where(
        f"seq > {after_seq}" + ("" if until_seq is None else f" AND seq <= {until_seq}")
    )
    count, first_seq, last_seq, received_at = connection.execute(
        f"SELECT count(*), min(seq), max(seq), arg_min(received_at, seq) FROM legs WHERE {condition.sql}",
        condition.values,
    ).fetchall()[0]
    return RecordExtent(
        count=count,
        first_seq=first_seq,
        last_seq=last_seq,
        first_received_at=None if received_at is None else to_datetime(received_at),
    )


def _decode_cursor(limit: int, text: str | None, list_name: Literal["records", "calls"]) -> Cursor | None:
    if not 1 <= limit <= PAGE_MAX:
        raise UsageError(
            _("a page has 1 to {limit} rows, not {rows}", limit=PAGE_MAX, rows=limit),
            location="limit",
            hint=_("request several pages"),
        )
    return decode_cursor(text, list_name) if text else None


def _after_cursor(condition: SqlCondition, cursor: Cursor | None, name_sql: str) -> SqlCondition:
    """Return the condition for rows after the cursor. The row's name is only computed for rows of the same second."""
    if cursor is None:
        return condition
    started_at = cursor.started_at
    narrowed = condition.and_where(
        f"started_at <= {started_at} AND (started_at < {started_at} OR {name_sql} < $cursor_name)"
    )
    return SqlCondition(narrowed.sql, {**condition.values, "cursor_name": cursor.name})


def _in_range(condition: SqlCondition, since: int, until: int) -> SqlCondition:
    return condition.and_where(f"started_at >= {since} AND started_at < {until}")


def find_row_ids(
    connection: duckdb.DuckDBPyConnection,
    source_sql: str,
    range_condition: Callable[[int, int], SqlCondition],
    limit: int,
    period: SearchPeriod | None,
) -> list[int]:
    """Return the ids of the rows of the page, and of one row more, if there is one.

    If the last row of the page and the next one began in the same second, all rows of that second are included: their
    names decide which belong to the page.
    """
    matches = _latest_matches(connection, source_sql, range_condition, limit + 1, period) if period else []
    if len(matches) <= limit or matches[limit - 1][0] > matches[limit][0]:
        return [row_id for _started_at, row_id in matches]
    last_start = matches[limit][0]
    tied_rows = _select(connection, f"SELECT rowid FROM {source_sql}", range_condition(last_start, last_start + 1))
    return [row_id for started_at, row_id in matches if started_at > last_start] + [row_id for (row_id,) in tied_rows]


def _latest_matches(
    connection: duckdb.DuckDBPyConnection,
    source_sql: str,
    range_condition: Callable[[int, int], SqlCondition],
    count: int,
    period: SearchPeriod,
) -> list[tuple[int, int]]:
    """Return the start and the row id of the latest rows, the latest first; at most `count`."""
    matches: list[tuple[int, int]] = []
    until, length = period.until, period.first_length
    while until > period.since and len(matches) < count:
        since = max(period.since, until - length)
        missing_count = count - len(matches)
        new_matches = _select(
            connection,
            f"SELECT started_at, rowid FROM {source_sql}",
            range_condition(since, until),
            f"ORDER BY started_at DESC LIMIT {missing_count}",
        )
        matches += new_matches
        until, length = since, _next_length(length, len(new_matches), missing_count - len(new_matches))
    return matches


def _next_length(length: int, match_count: int, missing_count: int) -> int:
    """Return the length of the next time range, from the matches in the last one and the missing ones.

    >>> _next_length(100, 20, 40), _next_length(100, 90, 11), _next_length(100, 0, 101)
    (300, 100, 1600)
    """
    growth = RANGE_MARGIN * missing_count / match_count if match_count else RANGE_GROWTH
    return int(length * min(max(growth, 1), RANGE_GROWTH))


def _select(
    connection: duckdb.DuckDBPyConnection, selection: str, condition: SqlCondition, order: str = ""
) -> list[Row]:
    return connection.execute(f"{selection} WHERE {condition.sql} {order}", condition.values).fetchall()


def _read_rows(
    connection: duckdb.DuckDBPyConnection, selection: str, name_column: str, row_ids: Sequence[int], limit: int
) -> list[Row]:
    """Return these rows in the order of a page, and one more than it holds, if there is one."""
    if not row_ids:
        return []
    order = f"ORDER BY started_at DESC, {name_column} DESC LIMIT {limit + 1}"
    return _select(connection, selection, in_row_ids(row_ids), order)


def search_period(
    connection: duckdb.DuckDBPyConnection, table: Table, record_filter: RecordFilter, cursor: Cursor | None
) -> SearchPeriod | None:
    """Return where rows are searched; None in an empty store."""
    first_start, last_start, rows = connection.execute(
        f"SELECT min(started_at), max(started_at), count(*) FROM {table}"
    ).fetchall()[0]
    if not rows:
        return None
    return SearchPeriod(
        since=first_start if record_filter.since is None else max(first_start, epoch_seconds(record_filter.since)),
        until=min(last_start + 1, *(_upper_bounds(record_filter, cursor))),
        first_length=max(1, (last_start - first_start + 1) * _first_range_rows(record_filter, rows) // rows),
    )


def _first_range_rows(record_filter: RecordFilter, rows: int) -> int:
    """Return about how many of the rows of a table are searched at first."""
    if record_filter.call_id is not None:  # it gives the position of its rows in the file
        return rows
    has_number = record_filter.number or record_filter.call_from or record_filter.call_to
    return FIRST_NUMBER_RANGE_ROWS if has_number else FIRST_RANGE_ROWS


def _upper_bounds(record_filter: RecordFilter, cursor: Cursor | None) -> list[int]:
    until = 1 << 40 if record_filter.until is None else epoch_seconds(record_filter.until) + 1
    return [until, 1 << 40 if cursor is None else cursor.started_at + 1]
