"""Calls counted: by hour, day, status, number and more; times cut in the zone of the one who asks."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import duckdb

from onhook.cdr.filter import Filter
from onhook.cdr.journey import ANSWERED_SPELLINGS
from onhook.cdr.offset import zone_named
from onhook.errors import UsageError
from onhook.store.conditions import for_calls
from onhook.store.rows import Row, seconds
from onhook.store.store import INSIDE_DIGITS_MAX, SUMMARY_BY
from onhook.store.zones import Offset, as_sql, offsets

SUMMARY_ROWS_MAX = 100_000
"""Eleven years by the hour. Nobody reads more, and an answer has to fit into memory."""

BY_MAX = 3
"""Joined; more gives nearly a row per call."""

_PARTS = {
    "voicemail": "VOICEMAIL",
    "busy": "BUSY",
    "no_answer": "NOANSWER",
    "abandoned": "ABANDONED",
    "failed": "FAILED",
}
_ANSWERED = ", ".join(f"'{spelling}'" for spelling in sorted(ANSWERED_SPELLINGS))

MEASURES = {
    "calls": "count(*)",
    "answered": f"count(*) FILTER (status_folded IN ({_ANSWERED}))",
    "missed": f"count(*) - count(*) FILTER (status_folded IN ({_ANSWERED}))",
    **{name: f"count(*) FILTER (status_folded = '{status}')" for name, status in _PARTS.items()},
    **{name: f"sum({name})::BIGINT" for name in ("talk_duration", "call_duration", "ring_duration", "wait_duration")},
    "wait_duration_max": "max(wait_duration)",
}
"""What is counted. A call has a status of answered only when a person answered."""

_COLUMNS = {
    "status": "status_folded",
    "type": "type_folded",
    "pbx": "pbx",
    "answered_by": "answered_by",
    "call_from": "from_number",
    "call_to": "to_number",
    "did_number": "did_number",
    "trunk": "CASE WHEN src_trunk_name <> '' THEN src_trunk_name ELSE dst_trunk_name END",
    "went_to": "went_to",
}

# Told apart by the numbers of the call first, so that the legs of other calls need not be grouped.
_WENT_TO = f"""(
    SELECT calls.*, visits.went_to FROM calls JOIN (
        SELECT DISTINCT call_key, sn, call_id, to_number AS went_to FROM legs
        WHERE regexp_full_match(to_number, '[0-9]{{{{1,{INSIDE_DIGITS_MAX}}}}}'){{narrow}}
    ) AS visits USING (call_key, sn, call_id)
) AS calls"""
_SPELLINGS = {
    "NOANSWER": "NO ANSWER",
    "INTERNAL": "Internal",
    "INBOUND": "Inbound",
    "OUTBOUND": "Outbound",
}
"""As PBXs write them (PROTOCOL.md 2.2), where that differs from the folded text."""

_OFFSETS = 1 << 18
"""More than twice the seconds of any offset."""

_DAY = "({local}) // 86400"
_TIMES = {
    # An hour is its first second, in UTC, and the offset then in force: two hours of one name stay two.
    "hour": f"(started_at - ({{local}}) % 3600) * {_OFFSETS} + ({{local}}) - started_at + {_OFFSETS // 2}",
    "day": _DAY,
    "week": f"({_DAY} + 3) // 7",  # weeks begin on Monday, and 1970 began on a Thursday
    "month": f"(year(DATE '1970-01-01' + ({_DAY})::INTEGER) * 12 + month(DATE '1970-01-01' + ({_DAY})::INTEGER) - 1)",
    "hour_of_day": "({local}) // 3600 % 24",
    "weekday": f"({_DAY} + 3) % 7 + 1",
}
"""Whole numbers, quick to group by, from seconds by the wall clock of the zone."""


def summary(
    connection: duckdb.DuckDBPyConnection, where: Filter, by: str, zone_name: str, top: int | None = None
) -> list[dict[str, Any]]:
    """See `Store.summary`. A weekday is 1 (Monday) to 7; numbers are without names; a week is named by its Monday;
    `status` and `type` are in the one spelling that PBXs use most, unknown ones in capitals."""
    names, zone = _names(by), zone_named(zone_name)
    condition = for_calls(where)
    local = f"started_at + ({as_sql('started_at', _offsets(connection, where, zone))})"
    groups = [f"{_COLUMNS.get(name) or _TIMES[name].format(local=local)} AS by_{name}" for name in names]
    measures = [f"{sql} AS {name}" for name, sql in MEASURES.items()]
    keys = ", ".join(f"by_{name}" for name in names)
    order, limit = (keys, SUMMARY_ROWS_MAX + 1) if top is None else (f"calls DESC, {keys}", min(top, SUMMARY_ROWS_MAX))
    rows = connection.execute(
        f"SELECT {', '.join([*groups, *measures])} FROM {_source(names, where)} WHERE {condition.sql}"
        f" GROUP BY {keys} ORDER BY {order} LIMIT {limit}",
        condition.values,
    ).fetchall()
    if len(rows) > SUMMARY_ROWS_MAX:
        raise UsageError(
            f"the summary has more than {SUMMARY_ROWS_MAX} rows",
            where=by,
            todo="ask for less time, or by something longer",
        )
    return _readable(rows, names, zone)


def _names(by: str) -> list[str]:
    names = [name.strip() for name in by.split(",")]
    for name in names:
        if name not in SUMMARY_BY:
            raise UsageError(f"a summary is not by {name!r}", where="by", todo=f"use one of {', '.join(SUMMARY_BY)}")
    if len(names) > BY_MAX or len(set(names)) < len(names):
        raise UsageError(f"a summary is by {BY_MAX} different things at most", where="by", todo="name fewer")
    return names


def _source(names: Sequence[str], where: Filter) -> str:
    """The calls; by `went_to` each as often as it went to another number."""
    if "went_to" not in names:
        return "calls"
    since = "" if where.since is None else f" AND call_started_at >= {seconds(where.since)}"
    until = "" if where.until is None else f" AND call_started_at <= {seconds(where.until)}"
    return _WENT_TO.format(narrow=since + until)


def _offsets(connection: duckdb.DuckDBPyConnection, where: Filter, zone: ZoneInfo) -> list[Offset]:
    """The zone's offsets; where less time is asked for, fewer changes have to be told apart."""
    first, last = connection.execute("SELECT min(started_at), max(started_at) FROM calls").fetchall()[0]
    first = max(first or 0, seconds(where.since) if where.since else 0)
    return offsets(zone, first, min(last or 0, seconds(where.until) if where.until else last or 0))


def _readable(rows: Sequence[Row], names: Sequence[str], zone: ZoneInfo) -> list[dict[str, Any]]:
    """Rows under their own names. There may be many rows, but few things that they are by: each is written once."""
    columns = list(zip(*rows, strict=True))
    for place, name in enumerate(names if rows else ()):
        if name in _WRITTEN:
            written = {value: _WRITTEN[name](value, zone) for value in set(columns[place])}
            columns[place] = tuple(map(written.__getitem__, columns[place]))
    keys = (*names, *MEASURES)
    return [dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True)]


def _hour(value: int, _zone: ZoneInfo) -> str:
    since, ahead = divmod(value, _OFFSETS)
    return datetime.fromtimestamp(since, timezone(timedelta(seconds=ahead - _OFFSETS // 2))).isoformat()


def _spelled(value: str, _zone: ZoneInfo) -> str:
    return _SPELLINGS.get(value, value)


def _day(value: int, zone: ZoneInfo) -> str:
    return _first_moment(date(1970, 1, 1) + timedelta(days=value), zone)


def _week(value: int, zone: ZoneInfo) -> str:
    return _first_moment(date(1970, 1, 1) + timedelta(days=value * 7 - 3), zone)


def _month(value: int, zone: ZoneInfo) -> str:
    return _first_moment(date(value // 12, value % 12 + 1, 1), zone)


_WRITTEN: Mapping[str, Callable[[Any, ZoneInfo], str]] = {
    "hour": _hour,
    "day": _day,
    "week": _week,
    "month": _month,
    "status": _spelled,
    "type": _spelled,
}


def _first_moment(day: date, zone: ZoneInfo) -> str:
    """Of a day in a zone: midnight, or later where the clock was put forward at midnight."""
    return datetime.combine(day, time(), zone).astimezone(UTC).astimezone(zone).isoformat()
