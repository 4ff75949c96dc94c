"""Pages by number: so many rows in an order of the reader's choice, and how many there are in all.

First the numbers of the rows are asked for, in their order; then the few that make the page are read whole.
"""

from collections.abc import Mapping, Sequence

import duckdb

from onhook.cdr.record import Call
from onhook.lib.errors import UsageError
from onhook.store.contract import (
    CALL_ORDERS,
    LISTING_ROWS_MAX,
    RECORD_ORDERS,
    CallListing,
    CallListResult,
    Listing,
    RecordListing,
    RecordListResult,
)
from onhook.store.queries.calls import build_calls, calls_by_keys
from onhook.store.queries.conditions import LEG_OF_CALL, SqlCondition, call_condition, leg_condition
from onhook.store.rows import record_from_row
from onhook.store.schema import CALLS, DERIVED, record_selection

OFFSET_SECONDS_MAX = 14 * 3600
"""No wall clock is further from UTC: what is asked for by the wall clock lies within this of it (`cdr/offset.py`)."""

_LOCAL_START = "started_at + offset_minutes * 60"
_ORDER_EXPRESSIONS: Mapping[str, str] = {"ring_duration": DERIVED["ring_duration"]}


def list_records(connection: duckdb.DuckDBPyConnection, asked: RecordListing) -> RecordListResult:
    """See `Store.listed_records`."""
    condition = _record_condition(asked)
    order = _order_by(asked, RECORD_ORDERS, ("started_at", "seq", "sn", "call_id", "place"))
    total, row_ids = _find_row_ids(connection, "legs", condition, order, asked)
    rows = _read_rows(connection, f"SELECT rowid, {record_selection()} FROM legs", row_ids)
    return RecordListResult(total, [record_from_row(rows[row_id]) for row_id in row_ids])


def list_calls(connection: duckdb.DuckDBPyConnection, asked: CallListing) -> CallListResult:
    """See `Store.listed_calls`."""
    condition = _call_condition(asked)
    order = _order_by(asked, CALL_ORDERS, ("started_at", "sn", "call_id"))
    total, row_ids = _find_row_ids(connection, "calls", condition, order, asked)
    rows = _read_rows(connection, f"SELECT rowid, {', '.join(CALLS)} FROM calls", row_ids)
    return CallListResult(
        total, build_calls(connection, [dict(zip(CALLS, rows[row_id], strict=True)) for row_id in row_ids])
    )


def find_call_by_uid(connection: duckdb.DuckDBPyConnection, uid: str, sns: Sequence[str]) -> Call | None:
    """See `Store.call_with_uid`."""
    condition = _in_pbxs(SqlCondition("uid = $uid", {"uid": uid}), sns)
    keys = connection.execute(
        f"SELECT sn, call_id FROM legs WHERE {condition.sql} ORDER BY started_at DESC, sn, call_id LIMIT 1",
        condition.values,
    ).fetchall()
    return calls_by_keys(connection, keys)[0] if keys else None


def _record_condition(asked: RecordListing) -> SqlCondition:
    condition = _in_pbxs(leg_condition(asked.where), asked.sns)
    condition = _in_local_time(condition, asked, f"{_LOCAL_START} >= $local_since", f"{_LOCAL_START} < $local_until")
    if asked.pin_code is not None:
        condition = _and_where(condition, "pin_code = $pin_code", pin_code=asked.pin_code)
    if asked.has_recording:
        condition = condition.also("recording <> ''")
    if asked.ids:
        condition = _and_where(
            condition, f"left({DERIVED['record_id']}, 16) IN (SELECT unnest($ids))", ids=list(asked.ids)
        )
    if asked.dids:
        condition = _did_condition(condition, asked)
    return condition


def _did_condition(condition: SqlCondition, asked: RecordListing) -> SqlCondition:
    """One of the DIDs, by number or name, and its trunk where that is named."""
    template = "((did_number = $did_{0} OR did_name = $did_{0}) AND ($trunk_{0} = '' OR src_trunk_name = $trunk_{0}))"
    tests = " OR ".join(template.format(index) for index in range(len(asked.dids)))
    values = {f"did_{index}": did for index, (did, _) in enumerate(asked.dids)}
    values |= {f"trunk_{index}": trunk for index, (_, trunk) in enumerate(asked.dids)}
    return _and_where(condition, f"({tests})", **values)


def _call_condition(asked: CallListing) -> SqlCondition:
    condition = _in_pbxs(call_condition(asked.where), asked.sns)
    first_leg_test = f"EXISTS (SELECT 1 FROM legs WHERE {LEG_OF_CALL} AND place = 0 AND legs.{_LOCAL_START} {{}})"
    condition = _in_local_time(
        condition, asked, first_leg_test.format(">= $local_since"), first_leg_test.format("< $local_until")
    )
    if asked.queues:
        queue_test = f"EXISTS (SELECT 1 FROM legs WHERE {LEG_OF_CALL} AND to_number IN (SELECT unnest($queues)))"
        condition = _and_where(condition, queue_test, queues=list(asked.queues))
    return condition


def _in_local_time(condition: SqlCondition, asked: Listing, since: str, until: str) -> SqlCondition:
    """Within the wall clock's limits; those in UTC beside them let most rows be passed over unread."""
    if asked.local_since is not None:
        utc_bound = f"started_at >= {asked.local_since - OFFSET_SECONDS_MAX}"
        condition = _and_where(condition, f"{utc_bound} AND {since}", local_since=asked.local_since)
    if asked.local_until is not None:
        utc_bound = f"started_at < {asked.local_until + OFFSET_SECONDS_MAX}"
        condition = _and_where(condition, f"{utc_bound} AND {until}", local_until=asked.local_until)
    return condition


def _in_pbxs(condition: SqlCondition, sns: Sequence[str]) -> SqlCondition:
    return _and_where(condition, "sn IN (SELECT unnest($sns))", sns=list(sns)) if sns else condition


def _and_where(condition: SqlCondition, sql: str, **values: object) -> SqlCondition:
    return SqlCondition(condition.also(sql).sql, {**condition.values, **values})


def _order_by(asked: Listing, known: Sequence[str], ties: Sequence[str]) -> str:
    if asked.order_by not in known:
        raise UsageError(
            f"there is no order by {asked.order_by[:80]!r}", where="order_by", todo=f"use one of {', '.join(known)}"
        )
    direction = "DESC" if asked.is_descending else "ASC"
    columns = dict.fromkeys((_ORDER_EXPRESSIONS.get(asked.order_by, asked.order_by), *ties))
    return ", ".join(f"{column} {direction} NULLS LAST" for column in columns)


def _find_row_ids(
    connection: duckdb.DuckDBPyConnection, table: str, condition: SqlCondition, order: str, asked: Listing
) -> tuple[int, list[int]]:
    """How many rows there are in all, and the numbers of those on the page, in their order."""
    if not 1 <= asked.limit <= LISTING_ROWS_MAX or asked.offset < 0:
        raise UsageError(f"a page has 1 to {LISTING_ROWS_MAX} rows", where="limit", todo="take pages one by one")
    from_clause = f"FROM {table} WHERE {condition.sql}"
    total = int(connection.execute(f"SELECT count(*) {from_clause}", condition.values).fetchall()[0][0])
    if asked.offset >= total:
        return total, []
    page_query = f"SELECT rowid {from_clause} ORDER BY {order} LIMIT {asked.limit} OFFSET {asked.offset}"
    return total, [row_id for (row_id,) in connection.execute(page_query, condition.values).fetchall()]


def _read_rows(
    connection: duckdb.DuckDBPyConnection, selection: str, numbers: Sequence[int]
) -> dict[int, tuple[object, ...]]:
    """These rows by their numbers."""
    if not numbers:
        return {}
    rows = connection.execute(
        f"{selection} WHERE rowid IN (SELECT unnest($numbers)) AND rowid BETWEEN {min(numbers)} AND {max(numbers)}",
        {"numbers": numbers},
    ).fetchall()
    return {row[0]: row[1:] for row in rows}
