"""Pages of calls in any order, forwards and backwards.

A page goes on at the place of a call, not at a number of rows, so that calls which arrive between two pages neither
repeat a row nor skip one. The row ids are selected first; then the few rows of the page are read whole.
"""

from collections.abc import Callable, Sequence

import duckdb

from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.store.contract import LATEST_FIRST, PAGE_MAX, OrderedCallPage
from onhook.store.queries.call_places import CallPlace, decode_place, encode_place, parse_order
from onhook.store.queries.calls import build_calls, find_row_ids, search_period
from onhook.store.queries.conditions import SqlCondition, call_condition
from onhook.store.queries.cursors import Cursor
from onhook.store.queries.locality import in_row_ids
from onhook.store.rows import epoch_seconds
from onhook.store.schema import CALLS


def ordered_calls(
    connection: duckdb.DuckDBPyConnection, record_filter: RecordFilter, order: str, limit: int, cursor_text: str | None
) -> OrderedCallPage:
    """See `Store.ordered_calls`."""
    key, is_descending = parse_order(order)
    if not 1 <= limit <= PAGE_MAX:
        raise UsageError(
            _("a page has 1 to {limit} rows, not {rows}", limit=PAGE_MAX, rows=limit),
            location="limit",
            hint=_("request several pages"),
        )
    place = decode_place(cursor_text, order) if cursor_text else None
    is_backward = place is not None and place.is_end

    def make_condition(since: int | None = None, until: int | None = None) -> SqlCondition:
        condition = call_condition(record_filter, since, until)
        return condition if place is None else _beyond_place(condition, place, key, is_descending=is_descending)

    condition = make_condition()
    # Its pages are searched from the end backwards, as far as needed.
    if order == LATEST_FIRST and not is_backward:
        row_ids = _find_latest(connection, record_filter, place, make_condition, limit)
        condition = in_row_ids(row_ids) if row_ids else SqlCondition("false", {})
    direction = "DESC" if is_descending is not is_backward else "ASC"
    nulls = "NULLS FIRST" if is_backward else "NULLS LAST"
    rows = connection.execute(
        f"SELECT rowid FROM calls WHERE {condition.sql} ORDER BY {key} {direction} {nulls}, started_at {direction},"
        f" sn {direction}, call_id {direction} LIMIT {limit + 1}",
        condition.values,
    ).fetchall()
    calls = _read_calls(connection, [row_id for (row_id,) in rows[:limit]])
    if is_backward:
        calls.reverse()
    has_more = len(rows) > limit
    return OrderedCallPage(
        calls,
        _encode(calls[-1:], order, is_end=False) if has_more or is_backward else None,
        _encode(calls[:1], order, is_end=True) if (has_more if is_backward else place is not None) else None,
    )


def _find_latest(
    connection: duckdb.DuckDBPyConnection,
    record_filter: RecordFilter,
    place: CallPlace | None,
    make_condition: Callable[[int, int], SqlCondition],
    limit: int,
) -> list[int]:
    """Return the row ids of a page of the latest calls, of one call more, and of all that begin in its second."""
    cursor = None if place is None else Cursor("calls", place.started_at, "")
    period = search_period(connection, "calls", record_filter, cursor)
    return find_row_ids(connection, "calls", make_condition, limit, period)


def _beyond_place(condition: SqlCondition, place: CallPlace, key: str, *, is_descending: bool) -> SqlCondition:
    """Return the condition for calls behind a place, or before it: unknown values are the last ones of each order."""
    sign = "<" if is_descending is not place.is_end else ">"
    tie = f"(started_at, sn, call_id) {sign} ($place_started_at, $place_sn, $place_call_id)"
    if place.value is None:
        test = f"({key} IS NOT NULL OR {tie})" if place.is_end else f"({key} IS NULL AND {tie})"
    else:
        is_beyond = f"{key} {sign} $place_value OR ({key} = $place_value AND {tie})"
        test = f"({is_beyond})" if place.is_end else f"({is_beyond} OR {key} IS NULL)"
    values = {"place_started_at": place.started_at, "place_sn": place.sn, "place_call_id": place.call_id}
    values |= {} if place.value is None else {"place_value": place.value}
    return SqlCondition(condition.and_where(test).sql, {**condition.values, **values})


def _read_calls(connection: duckdb.DuckDBPyConnection, row_ids: Sequence[int]) -> list[Call]:
    """Return the calls of these rows, in their order."""
    if not row_ids:
        return []
    condition = in_row_ids(row_ids)
    rows = connection.execute(
        f"SELECT rowid, {', '.join(CALLS)} FROM calls WHERE {condition.sql}", condition.values
    ).fetchall()
    columns_by_id = {row[0]: dict(zip(CALLS, row[1:], strict=True)) for row in rows}
    return build_calls(connection, [columns_by_id[row_id] for row_id in row_ids])


def _encode(calls: Sequence[Call], order: str, *, is_end: bool) -> str | None:
    return encode_place(_place_of(calls[0], order, is_end=is_end)) if calls else None


def _place_of(call: Call, order: str, *, is_end: bool) -> CallPlace:
    value = getattr(call, order.removeprefix("-"))
    started_at = epoch_seconds(call.started_at)
    is_time = order.removeprefix("-") == "started_at"
    return CallPlace(order, is_end, started_at if is_time else value, started_at, call.sn, call.call_id)
