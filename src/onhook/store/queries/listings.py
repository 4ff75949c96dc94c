"""Pages by number: rows in a requested order, and their total.

The row ids are selected first, in their order; then the few rows of the page are read whole.
"""

from collections.abc import Mapping, Sequence

import duckdb

from onhook.cdr.record import Call
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.store.contract import (
    CALL_ORDERS,
    ID_DIGITS,
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
"""No wall clock is further from UTC: rows of a wall-clock range lie within this of it (`cdr/utc_offset.py`)."""

_LOCAL_START = "started_at + offset_minutes * 60"
_ORDER_EXPRESSIONS: Mapping[str, str] = {"ring_duration": DERIVED["ring_duration"]}


def list_records(connection: duckdb.DuckDBPyConnection, listing: RecordListing) -> RecordListResult:
    """See `Store.list_records`."""
    condition = _record_condition(listing)
    order = _order_by(listing, RECORD_ORDERS, ("started_at", "seq", "sn", "call_id", "leg_index"))
    total, row_ids = _find_row_ids(connection, "legs", condition, order, listing)
    rows = _read_rows(connection, f"SELECT rowid, {record_selection()} FROM legs", row_ids)
    return RecordListResult(total, [record_from_row(rows[row_id]) for row_id in row_ids])


def list_calls(connection: duckdb.DuckDBPyConnection, listing: CallListing) -> CallListResult:
    """See `Store.list_calls`."""
    condition = _call_condition(listing)
    order = _order_by(listing, CALL_ORDERS, ("started_at", "sn", "call_id"))
    total, row_ids = _find_row_ids(connection, "calls", condition, order, listing)
    rows = _read_rows(connection, f"SELECT rowid, {', '.join(CALLS)} FROM calls", row_ids)
    return CallListResult(
        total, build_calls(connection, [dict(zip(CALLS, rows[row_id], strict=True)) for row_id in row_ids])
    )


def find_call_by_uid(connection: duckdb.DuckDBPyConnection, uid: str, sns: Sequence[str]) -> Call | None:
    """See `Store.find_call_by_uid`."""
    condition = _in_pbxs(SqlCondition("uid = $uid", {"uid": uid}), sns)
    keys = connection.execute(
        f"SELECT sn, call_id FROM legs WHERE {condition.sql} ORDER BY started_at DESC, sn, call_id LIMIT 1",
        condition.values,
    ).fetchall()
    return calls_by_keys(connection, keys)[0] if keys else None


def _record_condition(listing: RecordListing) -> SqlCondition:
    condition = _with_number_parts(_in_pbxs(leg_condition(listing.filter), listing.sns), listing)
    condition = _in_local_time(condition, listing, f"{_LOCAL_START} >= $local_since", f"{_LOCAL_START} < $local_until")
    if listing.pin_code is not None:
        condition = _and_where(condition, "pin_code = $pin_code", pin_code=listing.pin_code)
    if listing.has_recording:
        condition = condition.and_where("recording <> ''")
    if listing.ids:
        condition = _and_where(
            condition, f"left({DERIVED['record_id']}, {ID_DIGITS}) IN (SELECT unnest($ids))", ids=list(listing.ids)
        )
    if listing.recordings:
        names = list(listing.recordings)
        condition = _and_where(condition, "recording IN (SELECT unnest($recordings))", recordings=names)
    if listing.dids:
        condition = _did_condition(condition, listing)
    return condition


def _did_condition(condition: SqlCondition, listing: RecordListing) -> SqlCondition:
    """Require one of the DIDs, by number or name, and its trunk if it is named."""
    template = "((did_number = $did_{0} OR did_name = $did_{0}) AND ($trunk_{0} = '' OR src_trunk_name = $trunk_{0}))"
    tests = " OR ".join(template.format(index) for index in range(len(listing.dids)))
    values = {f"did_{index}": did for index, (did, _trunk) in enumerate(listing.dids)}
    values |= {f"trunk_{index}": trunk for index, (_did, trunk) in enumerate(listing.dids)}
    return _and_where(condition, f"({tests})", **values)


def _call_condition(listing: CallListing) -> SqlCondition:
    condition = _with_number_parts(_in_pbxs(call_condition(listing.filter), listing.sns), listing)
    first_leg_test = f"EXISTS (SELECT 1 FROM legs WHERE {LEG_OF_CALL} AND leg_index = 0 AND legs.{_LOCAL_START} {{}})"
    condition = _in_local_time(
        condition, listing, first_leg_test.format(">= $local_since"), first_leg_test.format("< $local_until")
    )
    if listing.queues:
        queue_test = f"EXISTS (SELECT 1 FROM legs WHERE {LEG_OF_CALL} AND to_number IN (SELECT unnest($queues)))"
        condition = _and_where(condition, queue_test, queues=list(listing.queues))
    return condition


def _in_local_time(condition: SqlCondition, listing: Listing, since_sql: str, until_sql: str) -> SqlCondition:
    """Require the wall-clock range; the limits in UTC beside it let DuckDB skip most rows."""
    if listing.local_since is not None:
        utc_bound = f"started_at >= {listing.local_since - OFFSET_SECONDS_MAX}"
        condition = _and_where(condition, f"{utc_bound} AND {since_sql}", local_since=listing.local_since)
    if listing.local_until is not None:
        utc_bound = f"started_at < {listing.local_until + OFFSET_SECONDS_MAX}"
        condition = _and_where(condition, f"{utc_bound} AND {until_sql}", local_until=listing.local_until)
    return condition


def _with_number_parts(condition: SqlCondition, listing: Listing) -> SqlCondition:
    """Require parts of the caller's and of the called number; both tables have these columns."""
    if listing.from_part:
        condition = _and_where(condition, "contains(from_number, $from_part)", from_part=listing.from_part)
    if listing.to_part:
        condition = _and_where(condition, "contains(to_number, $to_part)", to_part=listing.to_part)
    return condition


def _in_pbxs(condition: SqlCondition, sns: Sequence[str]) -> SqlCondition:
    return _and_where(condition, "sn IN (SELECT unnest($sns))", sns=list(sns)) if sns else condition


def _and_where(condition: SqlCondition, sql: str, **values: object) -> SqlCondition:
    return SqlCondition(condition.and_where(sql).sql, {**condition.values, **values})


def _order_by(listing: Listing, allowed: Sequence[str], tie_breakers: Sequence[str]) -> str:
    if listing.order_by not in allowed:
        raise UsageError(
            _("invalid order {value!r}", value=listing.order_by[:80]),
            location="order_by",
            hint=_("use one of {choices}", choices=", ".join(allowed)),
        )
    direction = "DESC" if listing.is_descending else "ASC"
    columns = dict.fromkeys((_ORDER_EXPRESSIONS.get(listing.order_by, listing.order_by), *tie_breakers))
    return ", ".join(f"{column} {direction} NULLS LAST" for column in columns)


def _find_row_ids(
    connection: duckdb.DuckDBPyConnection, table: str, condition: SqlCondition, order: str, listing: Listing
) -> tuple[int, list[int]]:
    """Return the total number of rows, and the ids of those on the page, in their order."""
    if not 1 <= listing.limit <= LISTING_ROWS_MAX or listing.offset < 0:
        raise UsageError(
            _("a page has 1 to {limit} rows", limit=LISTING_ROWS_MAX), location="limit", hint=_("request several pages")
        )
    from_clause = f"FROM {table} WHERE {condition.sql}"
    total = int(connection.execute(f"SELECT count(*) {from_clause}", condition.values).fetchall()[0][0])
    if listing.offset >= total:
        return total, []
    page_query = f"SELECT rowid {from_clause} ORDER BY {order} LIMIT {listing.limit} OFFSET {listing.offset}"
    return total, [row_id for (row_id,) in connection.execute(page_query, condition.values).fetchall()]


def _read_rows(
    connection: duckdb.DuckDBPyConnection, selection: str, row_ids: Sequence[int]
) -> dict[int, tuple[object, ...]]:
    """Return these rows by their ids."""
    if not row_ids:
        return {}
    rows = connection.execute(
        f"{selection} WHERE rowid IN (SELECT unnest($numbers)) AND rowid BETWEEN {min(row_ids)} AND {max(row_ids)}",
        {"numbers": row_ids},
    ).fetchall()
    return {row[0]: row[1:] for row in rows}
