"""Missed calls, and the calls that returned them."""

from collections.abc import Mapping, Sequence

import duckdb

from onhook.cdr.identity import CallKey
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime
from onhook.store.contract import PAGE_MAX, MissedCall, MissedCalls
from onhook.store.queries.conditions import SqlCondition, call_condition
from onhook.store.queries.locality import KEYS_TABLE, key_ranges
from onhook.store.queries.measures import IS_ANSWERED
from onhook.store.rows import Row
from onhook.store.schema import NO_SUFFIX

_MISSED_COLUMNS = "sn, pbx, call_id, started_at, status, wait_duration, did_number"

_MISSED_QUERY = f"""
WITH missed AS (
    SELECT {_MISSED_COLUMNS}, from_suffix AS line FROM calls WHERE {{test}} AND NOT {IS_ANSWERED}
),
spoken AS (
    SELECT from_suffix AS line, started_at, sn, call_id FROM calls WHERE {{returning_test}} AND {IS_ANSWERED}
    UNION ALL SELECT to_suffix, started_at, sn, call_id FROM calls WHERE {{returning_test}} AND {IS_ANSWERED}
),
judged AS MATERIALIZED (
    SELECT missed.*, spoken.sn AS by_sn, spoken.call_id AS by_call_id, spoken.started_at AS returned_at
    FROM missed ASOF LEFT JOIN (
        SELECT line, started_at, min(ROW(sn, call_id)) AS first_call, first_call[1] AS sn, first_call[2] AS call_id
        FROM spoken WHERE line <> {NO_SUFFIX} AND line IN (SELECT line FROM missed) GROUP BY line, started_at
    ) AS spoken ON missed.line = spoken.line AND missed.started_at < spoken.started_at
)
SELECT counts.*, listed.*
FROM (SELECT count(*), count(by_sn), count(*) FILTER (line = {NO_SUFFIX}) FROM judged) AS counts
LEFT JOIN (
    SELECT {_MISSED_COLUMNS}, by_sn, by_call_id, returned_at FROM judged
    WHERE {{kind}} ORDER BY started_at DESC, sn, call_id LIMIT {{limit}}
) AS listed ON true ORDER BY listed.started_at DESC, listed.sn, listed.call_id
"""


def missed_calls(
    connection: duckdb.DuckDBPyConnection, record_filter: RecordFilter, limit: int, *, is_returned: bool
) -> MissedCalls:
    """Return the missed calls; see `Store.missed_calls`."""
    if not 1 <= limit <= PAGE_MAX:
        raise UsageError(
            _("a page has 1 to {limit} rows, not {rows}", limit=PAGE_MAX, rows=limit),
            location="limit",
            hint=_("request fewer"),
        )
    condition = call_condition(record_filter)
    kind = "by_sn IS NOT NULL" if is_returned else f"by_sn IS NULL AND line <> {NO_SUFFIX}"
    query = _MISSED_QUERY.format(
        test=condition.sql, returning_test=_returning_condition(record_filter).sql, kind=kind, limit=limit
    )
    rows = connection.execute(query, condition.values).fetchall()
    # There is a row of counts even if no call is listed.
    total, returned, anonymous = rows[0][:3]
    listed_rows = [row[3:] for row in rows if row[3] is not None]
    callers = _callers(connection, [(sn, call_id) for sn, _pbx, call_id, *_columns in listed_rows])
    return MissedCalls(
        missed=total,
        returned=returned,
        unreturned=total - returned - anonymous,
        anonymous=anonymous,
        data=[_missed_call(row, callers) for row in listed_rows],
    )


def _returning_condition(record_filter: RecordFilter) -> SqlCondition:
    """Return the condition for calls that can return a missed one: all in the reader's scope, from the first missed one
    on.
    """
    return call_condition(RecordFilter(since=record_filter.since, scope=record_filter.scope))


def _callers(connection: duckdb.DuckDBPyConnection, keys: Sequence[CallKey]) -> dict[CallKey, str]:
    """Return the callers, from the first legs."""
    rows = [
        row
        for key_range in key_ranges(keys)
        for row in connection.execute(
            f"SELECT sn, call_id, coalesce(call_from, from_number) FROM legs JOIN {KEYS_TABLE} AS wanted"
            f" USING (call_key, sn, call_id) WHERE {key_range.condition('legs')} AND leg_index = 0",
            key_range.values,
        ).fetchall()
    ]
    return {(sn, call_id): call_from for sn, call_id, call_from in rows}


def _missed_call(row: Row, callers: Mapping[CallKey, str]) -> MissedCall:
    sn, pbx, call_id, started_at, status, wait_duration, did_number, by_sn, by_call_id, returned_at = row
    return MissedCall(
        sn=sn,
        pbx=pbx,
        call_id=call_id,
        started_at=to_datetime(started_at * 1_000_000),
        call_from=callers[sn, call_id],
        status=status,
        wait_duration=wait_duration,
        did_number=did_number,
        returned_by=None if by_sn is None else (by_sn, by_call_id),
        returned_at=None if returned_at is None else to_datetime(returned_at * 1_000_000),
    )
