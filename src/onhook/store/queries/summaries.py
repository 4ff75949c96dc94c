"""Counts of calls by hour, day, status, number and more; times in the requested zone."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import repeat
from typing import Any
from zoneinfo import ZoneInfo

import duckdb

from onhook.cdr.record_filter import RecordFilter
from onhook.cdr.utc_offset import format_offset, get_zone
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.store.contract import SUMMARY_DIMENSIONS
from onhook.store.queries.conditions import SqlCondition, call_condition, ceil_seconds, used_values
from onhook.store.queries.measures import (
    COUNT_EXPRESSIONS,
    DIMENSION_COLUMNS,
    MARKED_COLUMNS,
    MEASURES,
    OUTCOME_EXPRESSIONS,
    SUM_EXPRESSIONS,
    calls_source,
    marked_source,
    outcome_measures,
)
from onhook.store.queries.weekly import QUARTER_HOUR_SECONDS, PeriodPart, split_period, week_of
from onhook.store.queries.zones import ZoneOffset, list_offsets, offset_sql
from onhook.store.rollups import bounds, find_rollup_table, list_rollup_weeks, part_condition
from onhook.store.rows import Row

SUMMARY_ROWS_MAX = 100_000
"""Eleven years by the hour. More is not readable, and a result has to fit into memory."""

DIMENSIONS_MAX = 4
"""Joined dimensions; more give nearly a row per call."""

_DISPLAY_SPELLINGS = {
    "NOANSWER": "NO ANSWER",
    "INTERNAL": "Internal",
    "INBOUND": "Inbound",
    "OUTBOUND": "Outbound",
}
"""The notation of PBXs (yeastar-p-series.md 2.2), where it differs from the folded text."""

_DAYS_FORMATTED = 4_096
"""Days and offsets whose texts are kept: eleven years, as in a summary by the hour that is as long as allowed."""

_OFFSET_RANGE = 1 << 18
"""More than twice the seconds of any offset."""

_DAY = "({local}) // 86400"
TIME_EXPRESSIONS = {
    # An hour is its first second, in UTC, and its offset: two hours with one name stay separate.
    "hour": f"(started_at - ({{local}}) % 3600) * {_OFFSET_RANGE} + ({{local}}) - started_at + {_OFFSET_RANGE // 2}",
    "day": _DAY,
    "week": f"({_DAY} + 3) // 7",  # weeks begin on Monday, and 1970 began on a Thursday
    "month": f"(year(DATE '1970-01-01' + ({_DAY})::INTEGER) * 12 + month(DATE '1970-01-01' + ({_DAY})::INTEGER) - 1)",
    "hour_of_day": "({local}) // 3600 % 24",
    "weekday": f"({_DAY} + 3) % 7 + 1",
}
"""Integers, which are fast to group by, computed from seconds by the wall clock of the zone."""


def summary(
    connection: duckdb.DuckDBPyConnection,
    record_filter: RecordFilter,
    by: str,
    zone_name: str,
    top: int | None = None,
    *,
    marks_outside: bool = False,
) -> list[dict[str, Any]]:
    """Return the summary; see `Store.summary`. A weekday is 1 (Monday) to 7; numbers have no names; a week is named by
    its Monday; `status` and `type` have the most common notation of PBXs, unknown ones are in capitals.
    """
    dimensions, zone = _parse_dimensions(by), get_zone(zone_name)
    keys = ", ".join(f"by_{dimension}" for dimension in dimensions)
    order, limit = (keys, SUMMARY_ROWS_MAX + 1) if top is None else (f"calls DESC, {keys}", min(top, SUMMARY_ROWS_MAX))
    if marks_outside and MARKED_COLUMNS.keys() & {*dimensions}:
        # Rollups do not know the side of a number.
        zone_offsets = period_offsets(connection, record_filter, zone)
        query = _count_query(dimensions, zone_offsets, record_filter, None, marks_outside=True)
    else:
        query = _build_query(connection, record_filter, dimensions, zone)
    rows = connection.execute(f"{query.sql} ORDER BY {order} LIMIT {limit}", query.values).fetchall()
    if len(rows) > SUMMARY_ROWS_MAX:
        raise UsageError(
            _("the summary has more than {limit} rows", limit=SUMMARY_ROWS_MAX),
            location=by,
            hint=_("narrow the period, or use a longer interval"),
        )
    return _format_rows(rows, dimensions, zone)


def _parse_dimensions(by: str) -> list[str]:
    dimensions = [dimension.strip() for dimension in by.split(",")]
    for dimension in dimensions:
        if dimension not in SUMMARY_DIMENSIONS:
            raise UsageError(
                _("unknown dimension of a summary: {value!r}", value=dimension),
                location="by",
                hint=_("use one of {choices}", choices=", ".join(SUMMARY_DIMENSIONS)),
            )
    if len(dimensions) > DIMENSIONS_MAX or len(set(dimensions)) < len(dimensions):
        raise UsageError(
            _("a summary has at most {limit} different dimensions", limit=DIMENSIONS_MAX),
            location="by",
            hint=_("name fewer"),
        )
    return dimensions


def _build_query(
    connection: duckdb.DuckDBPyConnection, record_filter: RecordFilter, dimensions: Sequence[str], zone: ZoneInfo
) -> SqlCondition:
    """Build the query: rollups where they exist, else counts of calls."""
    since, until = _period_seconds(connection, record_filter)
    zone_offsets = list_offsets(zone, since, until)
    columns = find_rollup_table(dimensions, record_filter)
    # In a zone that once changed within a quarter of an hour, calls are counted.
    irregular_weeks = {
        week_of(zone_offset.since) for zone_offset in zone_offsets[1:] if zone_offset.since % QUARTER_HOUR_SECONDS
    }
    is_aligned = all(zone_offset.seconds % QUARTER_HOUR_SECONDS == 0 for zone_offset in zone_offsets)
    rollup_weeks = {*list_rollup_weeks(connection)} - irregular_weeks if columns and is_aligned else ()
    period_parts = split_period(since, until, rollup_weeks) or [PeriodPart(since, until, is_rolled_up=False)]
    parts = [
        _rollup_query(dimensions, zone_offsets, record_filter, period_part, columns)
        if columns and period_part.is_rolled_up
        else _count_query(dimensions, zone_offsets, record_filter, None if len(period_parts) == 1 else period_part)
        for period_part in period_parts
    ]
    if len(parts) == 1:
        return parts[0]
    keys = ", ".join(f"by_{name}" for name in dimensions)
    sql = f"SELECT {keys}, {SUM_EXPRESSIONS} FROM ({' UNION ALL '.join(part.sql for part in parts)}) GROUP BY {keys}"
    return SqlCondition(sql, {name: value for part in parts for name, value in part.values.items()})


def _period_seconds(connection: duckdb.DuckDBPyConnection, record_filter: RecordFilter) -> tuple[int, int]:
    """Return the first second of the calls that may match, and the one after the last."""
    first_start, end = bounds(connection)
    since = first_start if record_filter.since is None else max(first_start, ceil_seconds(record_filter.since))
    return since, end if record_filter.until is None else min(end, ceil_seconds(record_filter.until))


def period_offsets(
    connection: duckdb.DuckDBPyConnection, record_filter: RecordFilter, zone: ZoneInfo
) -> list[ZoneOffset]:
    """Return the offsets of a zone in the period of the calls that may match."""
    return list_offsets(zone, *_period_seconds(connection, record_filter))


def _count_query(
    dimensions: Sequence[str],
    zone_offsets: Sequence[ZoneOffset],
    record_filter: RecordFilter,
    period_part: PeriodPart | None,
    *,
    marks_outside: bool = False,
) -> SqlCondition:
    """Return the query that counts calls of the whole period or of a part of it.

    Calls are counted by status where that gives few more groups: the counts of statuses follow from those, instead of
    eight comparisons for each call.
    """
    condition = (
        call_condition(record_filter)
        if period_part is None
        else call_condition(record_filter, period_part.since, period_part.until)
    )
    source_sql = calls_source(dimensions, leg_time_range(record_filter, period_part))
    if marks_outside:
        marked_columns = DIMENSION_COLUMNS | {name: f"marked_{name}" for name in MARKED_COLUMNS}
        marked = marked_source(dimensions, source_sql)
        return _group_query(dimensions, zone_offsets, marked_columns, marked, condition, COUNT_EXPRESSIONS)
    keys = ", ".join(f"by_{name}" for name in dimensions)
    if not {*TIME_EXPRESSIONS, "status"}.issuperset(dimensions):
        return _group_query(dimensions, zone_offsets, DIMENSION_COLUMNS, source_sql, condition, COUNT_EXPRESSIONS)
    outcomes = [*dimensions, *({"status"}.difference(dimensions))]
    query = _group_query(outcomes, zone_offsets, DIMENSION_COLUMNS, source_sql, condition, OUTCOME_EXPRESSIONS)
    sql = f"SELECT {keys}, {outcome_measures('by_status')} FROM ({query.sql})"
    if "status" not in dimensions:
        sql = f"SELECT {keys}, {SUM_EXPRESSIONS} FROM ({sql}) GROUP BY {keys}"
    return SqlCondition(sql, query.values)


def _rollup_query(
    dimensions: Sequence[str],
    zone_offsets: Sequence[ZoneOffset],
    record_filter: RecordFilter,
    period_part: PeriodPart,
    columns: Mapping[str, str],
) -> SqlCondition:
    return _group_query(
        dimensions,
        zone_offsets,
        {"pbx": "pbx", **columns},
        columns[""],
        part_condition(record_filter, period_part, columns),
        SUM_EXPRESSIONS,
    )


def _group_query(  # noqa: PLR0917 - the parts of a query
    dimensions: Sequence[str],
    zone_offsets: Sequence[ZoneOffset],
    columns: Mapping[str, str],
    source_sql: str,
    condition: SqlCondition,
    measures: str,
) -> SqlCondition:
    local = f"started_at + ({offset_sql('started_at', zone_offsets)})"
    groups = [f"{columns.get(name) or TIME_EXPRESSIONS[name].format(local=local)} AS by_{name}" for name in dimensions]
    keys = ", ".join(f"by_{name}" for name in dimensions)
    sql = f"SELECT {', '.join(groups)}, {measures} FROM {source_sql} WHERE {condition.sql} GROUP BY {keys}"
    return SqlCondition(sql, used_values(sql, condition.values))


def leg_time_range(record_filter: RecordFilter, period_part: PeriodPart | None) -> str:
    """Return the same time range for the legs of the calls."""
    since = (
        period_part.since if period_part else None if record_filter.since is None else ceil_seconds(record_filter.since)
    )
    until = (
        period_part.until if period_part else None if record_filter.until is None else ceil_seconds(record_filter.until)
    )
    range_sql = "" if since is None else f" AND call_started_at >= {since}"
    return range_sql if until is None else f"{range_sql} AND call_started_at < {until}"


def _format_rows(rows: Sequence[Row], dimensions: Sequence[str], zone: ZoneInfo) -> list[dict[str, Any]]:
    """Return rows by column name. There may be many rows, but few values: each is formatted once."""
    columns = list(zip(*rows, strict=True))
    for index, dimension in enumerate(dimensions if rows else ()):
        if dimension in _FORMATTERS:
            texts = {value: _FORMATTERS[dimension](value, zone) for value in set(columns[index])}
            columns[index] = tuple(map(texts.__getitem__, columns[index]))
    # Without a loop: a summary by the hour has thousands of rows, and takes DuckDB no longer than this does.
    return list(map(dict, map(zip, repeat((*dimensions, *MEASURES)), zip(*columns, strict=True))))


def _format_hour(value: int, _zone: ZoneInfo) -> str:
    """Return the start of an hour, which is a full hour by the wall clock.

    >>> _format_hour(1_777_287_600 * _OFFSET_RANGE + 7_200 + _OFFSET_RANGE // 2, ZoneInfo("UTC"))
    '2026-04-27T13:00:00+02:00'
    """
    since, offset_code = divmod(value, _OFFSET_RANGE)
    offset = offset_code - _OFFSET_RANGE // 2
    day, second = divmod(since + offset, 86_400)
    return f"{_day_text(day)}T{second // 3600:02}:00:00{_offset_text(offset)}"


@lru_cache(maxsize=_DAYS_FORMATTED)
def _day_text(day: int) -> str:
    """Return the date of a day since 1970."""
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


@lru_cache(maxsize=_DAYS_FORMATTED)
def _offset_text(seconds: int) -> str:
    return format_offset(timedelta(seconds=seconds))


def _format_word(value: str, _zone: ZoneInfo) -> str:
    return _DISPLAY_SPELLINGS.get(value, value)


def _format_day(value: int, zone: ZoneInfo) -> str:
    return _day_start(date(1970, 1, 1) + timedelta(days=value), zone)


def _format_week(value: int, zone: ZoneInfo) -> str:
    return _day_start(date(1970, 1, 1) + timedelta(days=value * 7 - 3), zone)


def _format_month(value: int, zone: ZoneInfo) -> str:
    return _day_start(date(value // 12, value % 12 + 1, 1), zone)


_FORMATTERS: Mapping[str, Callable[[Any, ZoneInfo], str]] = {
    "hour": _format_hour,
    "day": _format_day,
    "week": _format_week,
    "month": _format_month,
    "status": _format_word,
    "type": _format_word,
}


def _day_start(day: date, zone: ZoneInfo) -> str:
    """Return the start of a day in a zone: midnight, or later where the clock was put forward at midnight."""
    return datetime.combine(day, time(), zone).astimezone(UTC).astimezone(zone).isoformat()
