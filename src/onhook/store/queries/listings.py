"""Pages by number: so many rows in an order of the reader's choice, and how many there are in all.

First the numbers of the rows are asked for, in their order; then the few that make the page are read whole.
"""

from collections.abc import Mapping, Sequence

import duckdb

from onhook.cdr.record import Call
from onhook.lib.errors import UsageError
from onhook.store.contract import (
    CALL_ORDERS,
    LISTED_MAX,
    RECORD_ORDERS,
    CallListing,
    CallsListed,
    Listing,
    RecordListing,
    RecordsListed,
)
from onhook.store.queries.calls import calls_of, whole
from onhook.store.queries.conditions import ITS_LEG, Condition, for_calls, for_legs
from onhook.store.rows import record_from
from onhook.store.schema import CALLS, DERIVED, record_selection

OFFSET_SECONDS_MAX = 14 * 3600
"""No wall clock is further from UTC: what is asked for by the wall clock lies within this of it (`cdr/offset.py`)."""

_LOCAL = "started_at + offset_minutes * 60"
_EXPRESSIONS: Mapping[str, str] = {"ring_duration": DERIVED["ring_duration"]}


def listed_records(connection: duckdb.DuckDBPyConnection, asked: RecordListing) -> RecordsListed:
    """See `Store.listed_records`."""
    condition = _records_meant(asked)
    order = _order(asked, RECORD_ORDERS, ("started_at", "seq", "sn", "call_id", "place"))
    total, numbers = _numbers(connection, "legs", condition, order, asked)
    rows = _rows(connection, f"SELECT rowid, {record_selection()} FROM legs", numbers)
    return RecordsListed(total, [record_from(rows[number]) for number in numbers])


def listed_calls(connection: duckdb.DuckDBPyConnection, asked: CallListing) -> CallsListed:
    """See `Store.listed_calls`."""
    condition = _calls_meant(asked)
    order = _order(asked, CALL_ORDERS, ("started_at", "sn", "call_id"))
    total, numbers = _numbers(connection, "calls", condition, order, asked)
    rows = _rows(connection, f"SELECT rowid, {', '.join(CALLS)} FROM calls", numbers)
    return CallsListed(total, whole(connection, [dict(zip(CALLS, rows[number], strict=True)) for number in numbers]))


def call_with_uid(connection: duckdb.DuckDBPyConnection, uid: str, sns: Sequence[str]) -> Call | None:
    """See `Store.call_with_uid`."""
    condition = _of_pbxs(Condition("uid = $uid", {"uid": uid}), sns)
    found = connection.execute(
        f"SELECT sn, call_id FROM legs WHERE {condition.sql} ORDER BY started_at DESC, sn, call_id LIMIT 1",
        condition.values,
    ).fetchall()
    return calls_of(connection, found)[0] if found else None


def _records_meant(asked: RecordListing) -> Condition:
    condition = _of_pbxs(for_legs(asked.where), asked.sns)
    condition = _between(condition, asked, f"{_LOCAL} >= $local_since", f"{_LOCAL} < $local_until")
    if asked.pin_code is not None:
        condition = _with(condition, "pin_code = $pin_code", pin_code=asked.pin_code)
    if asked.has_recording:
        condition = condition.also("recording <> ''")
    if asked.ids:
        condition = _with(condition, f"left({DERIVED['record_id']}, 16) IN (SELECT unnest($ids))", ids=list(asked.ids))
    if asked.dids:
        condition = _of_dids(condition, asked)
    return condition


def _of_dids(condition: Condition, asked: RecordListing) -> Condition:
    """One of the DIDs, by number or name, and its trunk where that is named."""
    named = "((did_number = $did_{0} OR did_name = $did_{0}) AND ($trunk_{0} = '' OR src_trunk_name = $trunk_{0}))"
    tests = " OR ".join(named.format(number) for number in range(len(asked.dids)))
    values = {f"did_{number}": did for number, (did, _) in enumerate(asked.dids)}
    values |= {f"trunk_{number}": trunk for number, (_, trunk) in enumerate(asked.dids)}
    return _with(condition, f"({tests})", **values)


def _calls_meant(asked: CallListing) -> Condition:
    condition = _of_pbxs(for_calls(asked.where), asked.sns)
    first = f"EXISTS (SELECT 1 FROM legs WHERE {ITS_LEG} AND place = 0 AND legs.{_LOCAL} {{}})"
    condition = _between(condition, asked, first.format(">= $local_since"), first.format("< $local_until"))
    if asked.queues:
        leg = f"EXISTS (SELECT 1 FROM legs WHERE {ITS_LEG} AND to_number IN (SELECT unnest($queues)))"
        condition = _with(condition, leg, queues=list(asked.queues))
    return condition


def _between(condition: Condition, asked: Listing, since: str, until: str) -> Condition:
    """Within the wall clock's limits; those in UTC beside them let most rows be passed over unread."""
    if asked.local_since is not None:
        narrow = f"started_at >= {asked.local_since - OFFSET_SECONDS_MAX}"
        condition = _with(condition, f"{narrow} AND {since}", local_since=asked.local_since)
    if asked.local_until is not None:
        narrow = f"started_at < {asked.local_until + OFFSET_SECONDS_MAX}"
        condition = _with(condition, f"{narrow} AND {until}", local_until=asked.local_until)
    return condition


def _of_pbxs(condition: Condition, sns: Sequence[str]) -> Condition:
    return _with(condition, "sn IN (SELECT unnest($sns))", sns=list(sns)) if sns else condition


def _with(condition: Condition, sql: str, **values: object) -> Condition:
    return Condition(condition.also(sql).sql, {**condition.values, **values})


def _order(asked: Listing, known: Sequence[str], ties: Sequence[str]) -> str:
    if asked.order_by not in known:
        raise UsageError(
            f"there is no order by {asked.order_by[:80]!r}", where="order_by", todo=f"use one of {', '.join(known)}"
        )
    direction = "DESC" if asked.is_descending else "ASC"
    columns = dict.fromkeys((_EXPRESSIONS.get(asked.order_by, asked.order_by), *ties))
    return ", ".join(f"{column} {direction} NULLS LAST" for column in columns)


def _numbers(
    connection: duckdb.DuckDBPyConnection, table: str, condition: Condition, order: str, asked: Listing
) -> tuple[int, list[int]]:
    """How many rows there are in all, and the numbers of those on the page, in their order."""
    if not 1 <= asked.limit <= LISTED_MAX or asked.offset < 0:
        raise UsageError(f"a page has 1 to {LISTED_MAX} rows", where="limit", todo="take pages one by one")
    meant = f"FROM {table} WHERE {condition.sql}"
    total = int(connection.execute(f"SELECT count(*) {meant}", condition.values).fetchall()[0][0])
    if asked.offset >= total:
        return total, []
    page = f"SELECT rowid {meant} ORDER BY {order} LIMIT {asked.limit} OFFSET {asked.offset}"
    return total, [number for (number,) in connection.execute(page, condition.values).fetchall()]


def _rows(
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
