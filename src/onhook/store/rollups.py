"""Rollups of past weeks, so that reports over a year do not count its calls one by one.

Invariants: a week's rollup is computed by counting its calls, whole, and a write that touches a week deletes its rollup
in the same transaction. So a rollup always equals the count, and a week without rollup is counted.
"""

from collections.abc import Collection, Iterable, Mapping

import duckdb

from onhook.cdr.record_filter import FILTER_NAMES, RecordFilter
from onhook.store.queries.concurrency_sql import CONCURRENCY_QUERY, concurrency_source
from onhook.store.queries.conditions import SqlCondition, pbx_condition
from onhook.store.queries.measures import COUNT_EXPRESSIONS, DIMENSION_COLUMNS, calls_source
from onhook.store.queries.weekly import QUARTER_HOUR_SECONDS, WEEK_SECONDS, PeriodPart, weeks_between
from onhook.store.schema import ROLLUP_COLUMNS, ROLLUP_TABLES

WEEK_SETTLE_SECONDS = 86_400
"""A week is rolled up when calls arrived that began this long after it: few late ones are still to come."""

TIME_DIMENSIONS = ("hour", "day", "week", "month", "hour_of_day", "weekday")

PARTY_ROLLUPS = {
    "status": {"status": "party"},
    "answered_by": {"answered_by": "party"},
    "made_by": {"made_by": "party"},
    "did_number": {"did_number": "party"},
    "trunk": {"trunk": "party"},
    "visits": {"went_to": "party", "answered_by": "answered_by"},
}
"""Parties with rollups, and their column of `rollup_by_party`. External numbers are not among them: most call once, so
there would be as many rollups as calls.
"""

_ROLLUP_COLUMN_LIST = ", ".join(ROLLUP_COLUMNS)


def invalidate_weeks(connection: duckdb.DuckDBPyConnection, spans: Iterable[tuple[int, int | None]]) -> None:
    """Delete the rollups of weeks in which these calls begin or last; each is the seconds of its start and its end."""
    affected_weeks = {
        week
        for started_at, ended_at in spans
        for week in weeks_between(started_at, max(started_at, ended_at or started_at))
    }
    pending_rows = connection.execute("SELECT week FROM rollup_weeks WHERE NOT is_rolled_up").fetchall()
    if stale_weeks := sorted(affected_weeks.difference(week for (week,) in pending_rows)):
        for table in (*ROLLUP_TABLES, "rollup_weeks"):
            connection.execute(f"DELETE FROM {table} WHERE week IN (SELECT unnest($1))", [stale_weeks])
        connection.execute("INSERT INTO rollup_weeks SELECT unnest($1), false", [stale_weeks])


def roll_up_week(connection: duckdb.DuckDBPyConnection) -> bool:
    """Compute the rollup of one past week that has none; return whether there was one."""
    rows = connection.execute(
        "SELECT min(week) FROM rollup_weeks WHERE NOT is_rolled_up"
        f" AND (week + 1) * {WEEK_SECONDS} + {WEEK_SETTLE_SECONDS} <= (SELECT max(started_at) FROM calls)"
    ).fetchall()
    week = rows[0][0]
    if week is None:
        return False
    _roll_up_times(connection, week)
    for kind, columns in PARTY_ROLLUPS.items():
        _roll_up_parties(connection, week, kind, columns)
    _roll_up_concurrency(connection, week)
    connection.execute("UPDATE rollup_weeks SET is_rolled_up = true WHERE week = $1", [week])
    return True


def list_rollup_weeks(connection: duckdb.DuckDBPyConnection) -> list[int]:
    """Return the weeks that need not be counted."""
    return [week for (week,) in connection.execute("SELECT week FROM rollup_weeks WHERE is_rolled_up").fetchall()]


def bounds(connection: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """Return the first and the last second in which a call begins, the latter exclusive."""
    first_start, last_start = connection.execute("SELECT min(started_at), max(started_at) FROM calls").fetchall()[0]
    return (0, 0) if first_start is None else (first_start, last_start + 1)


def find_rollup_table(dimensions: Collection[str], record_filter: RecordFilter) -> Mapping[str, str] | None:
    """Return the rollup table (under `""`) and columns for these dimensions and this filter; None if calls must be
    counted.
    """
    other_filters = {name for name in FILTER_NAMES if getattr(record_filter, name) is not None} - {
        "since",
        "until",
        "pbx",
        "sn",
    }
    if (
        record_filter.call_filter is not None
        or record_filter.parties
        or (record_filter.scope is not None and record_filter.scope.limits_numbers)
    ):
        return None
    other_dimensions = set(dimensions) - {"pbx"}
    if other_filters <= {"type"} and other_dimensions <= {*TIME_DIMENSIONS, "type"}:
        return {"": "rollup_by_time", "type": "type_folded"}
    for kind, columns in PARTY_ROLLUPS.items():
        if not other_filters and other_dimensions <= columns.keys():
            return {"": "rollup_by_party", "kind": f"'{kind}'", **columns}
    return None


def part_condition(record_filter: RecordFilter, part: PeriodPart, columns: Mapping[str, str]) -> SqlCondition:
    """Return the condition for the rollup rows of a part of the period."""
    weeks = weeks_between(part.since, part.until - 1)
    condition = pbx_condition(record_filter).and_where(f"week BETWEEN {weeks.start} AND {weeks.stop - 1}")
    return condition.and_where(f"kind = {columns['kind']}") if "kind" in columns else condition


def _roll_up_times(connection: duckdb.DuckDBPyConnection, week: int) -> None:
    quarter_start = f"started_at // {QUARTER_HOUR_SECONDS} * {QUARTER_HOUR_SECONDS}"
    connection.execute(
        f"INSERT INTO rollup_by_time (week, started_at, sn, pbx, type_folded, {_ROLLUP_COLUMN_LIST})"
        f" SELECT {week}, {quarter_start} AS starts_at, sn, pbx, type_folded, {COUNT_EXPRESSIONS}"
        f" FROM calls WHERE {_started_in(week)}"
        " GROUP BY starts_at, sn, pbx, type_folded ORDER BY starts_at"
    )


def _roll_up_parties(connection: duckdb.DuckDBPyConnection, week: int, kind: str, columns: Mapping[str, str]) -> None:
    first_dimension, *_ = columns
    answered_by_sql = "answered_by" if "answered_by" in columns.values() else "NULL"
    groups = [f"{DIMENSION_COLUMNS[first_dimension]} AS party", f"{answered_by_sql} AS other"]
    leg_conditions = f" AND {_started_in(week, 'call_started_at')}"
    connection.execute(
        f"INSERT INTO rollup_by_party (week, kind, sn, pbx, party, answered_by, {_ROLLUP_COLUMN_LIST})"
        f" SELECT {week}, '{kind}', sn, pbx, {', '.join(groups)}, {COUNT_EXPRESSIONS}"
        f" FROM {calls_source(tuple(columns), leg_conditions)} WHERE {_started_in(week)}"
        " GROUP BY sn, pbx, party, other ORDER BY party"
    )


def _roll_up_concurrency(connection: duckdb.DuckDBPyConnection, week: int) -> None:
    """Compute the peaks of concurrent calls: in total, per PBX, and per trunk of each PBX."""
    start, end = week * WEEK_SECONDS, (week + 1) * WEEK_SECONDS
    ongoing_test = f"started_at < {end} AND ended_at > {start}"
    quarter_hours = list(range(start, end, QUARTER_HOUR_SECONDS))
    pbx_rows = connection.execute(f"SELECT DISTINCT pbx FROM calls WHERE {ongoing_test}").fetchall()
    for pbx in (None, *(pbx for (pbx,) in pbx_rows)):
        test, values = (ongoing_test, {}) if pbx is None else (f"{ongoing_test} AND pbx = $pbx", {"pbx": pbx})
        concurrency_query = CONCURRENCY_QUERY.format(**concurrency_source(test, by_trunk=False), until=end)
        connection.execute(
            f"INSERT INTO rollup_concurrency SELECT {week}, starts_at, $pbx_name, NULL, calls, peak_at"
            f" FROM ({concurrency_query}) WHERE calls > 0",
            {**values, "pbx_name": pbx, "bucket_starts": quarter_hours},
        )
    concurrency_query = CONCURRENCY_QUERY.format(**concurrency_source(ongoing_test, by_trunk=True), until=end)
    connection.execute(
        f"INSERT INTO rollup_concurrency SELECT {week}, starts_at, pbx, trunk, calls, peak_at"
        f" FROM ({concurrency_query}) WHERE calls > 0",
        {"bucket_starts": [start]},
    )


def _started_in(week: int, column: str = "started_at") -> str:
    return f"{column} BETWEEN {week * WEEK_SECONDS} AND {(week + 1) * WEEK_SECONDS - 1}"
