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
from onhook.store.store import SUMMARY_BY
from onhook.store.zones import as_sql, offsets

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
    "missed": f"count(*) FILTER (status_folded NOT IN ({_ANSWERED}))",
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
}
_FOLDED = ("status", "type")

_DAY = "({local}) // 86400"
_TIMES = {
    "hour": "started_at - ({local}) % 3600",  # its first second, in UTC: two hours of one name stay two
    "day": _DAY,
    "week": f"({_DAY} + 3) // 7",  # weeks begin on Monday, and 1970 began on a Thursday
    "month": f"(year(DATE '1970-01-01' + ({_DAY})::INTEGER) * 12 + month(DATE '1970-01-01' + ({_DAY})::INTEGER) - 1)",
    "hour_of_day": "({local}) // 3600 % 24",
    "weekday": f"({_DAY} + 3) % 7 + 1",
}
"""Whole numbers, quick to group by, from seconds by the wall clock of the zone."""


def summary(connection: duckdb.DuckDBPyConnection, where: Filter, by: str, zone_name: str) -> list[dict[str, Any]]:
    """See `Store.summary`. A weekday is 1 (Monday) to 7; numbers are without names; a week is named by its Monday."""
    names, zone = _names(by), zone_named(zone_name)
    condition = for_calls(where)
    local = f"started_at + {_offset(connection, zone)}"
    groups = [f"{_COLUMNS.get(name) or _TIMES[name].format(local=local)} AS by_{name}" for name in names]
    spellings = [f"min({name}) AS {name}_spelling" for name in names if name in _FOLDED]
    measures = [f"{sql} AS {name}" for name, sql in MEASURES.items()]
    keys = ", ".join(f"by_{name}" for name in names)
    found = connection.execute(
        f"SELECT {', '.join([*groups, *measures, 'min(started_at) AS earliest', *spellings])} FROM calls"
        f" WHERE {condition.sql} GROUP BY {keys} ORDER BY {keys} LIMIT {SUMMARY_ROWS_MAX + 1}",
        condition.values,
    )
    columns = [column[0] for column in found.description]
    rows = [dict(zip(columns, row, strict=True)) for row in found.fetchall()]
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


def _offset(connection: duckdb.DuckDBPyConnection, zone: ZoneInfo) -> str:
    first, last = connection.execute("SELECT min(started_at), max(started_at) FROM calls").fetchall()[0]
    return "0" if first is None else f"({as_sql('started_at', offsets(zone, first, last))})"


def _readable(rows: list[dict[str, Any]], names: Sequence[str], zone: ZoneInfo) -> list[dict[str, Any]]:
    """Rows under their own names, times as texts."""
    spellings = {name: _spellings(rows, name) for name in names if name in _FOLDED}
    answer = []
    for row in rows:
        group = {
            name: spellings[name][row[f"by_{name}"]]
            if name in spellings
            else _NAMED[name](row, zone)
            if name in _NAMED
            else row[f"by_{name}"]
            for name in names
        }
        answer.append(group | {name: row[name] for name in MEASURES})
    return answer


def _spellings(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, str]:
    """One spelling for each folded text, the same in all rows: the first in the order of letters."""
    found: dict[str, str] = {}
    for row in rows:
        folded, spelling = row[f"by_{name}"], row[f"{name}_spelling"]
        found[folded] = min(found.get(folded, spelling), spelling)
    return found


def _hour(row: Mapping[str, Any], zone: ZoneInfo) -> str:
    """By the offset that was in force when its calls began."""
    ahead = datetime.fromtimestamp(row["earliest"], UTC).astimezone(zone).utcoffset() or timedelta()
    local = datetime.fromtimestamp(row["by_hour"], UTC) + ahead
    return local.replace(tzinfo=None).isoformat() + _offset_text(ahead)


def _day(row: Mapping[str, Any], zone: ZoneInfo) -> str:
    return _first_moment(date(1970, 1, 1) + timedelta(days=row["by_day"]), zone)


def _week(row: Mapping[str, Any], zone: ZoneInfo) -> str:
    return _first_moment(date(1970, 1, 1) + timedelta(days=row["by_week"] * 7 - 3), zone)


def _month(row: Mapping[str, Any], zone: ZoneInfo) -> str:
    return _first_moment(date(row["by_month"] // 12, row["by_month"] % 12 + 1, 1), zone)


_NAMED: Mapping[str, Callable[[Mapping[str, Any], ZoneInfo], str]] = {
    "hour": _hour,
    "day": _day,
    "week": _week,
    "month": _month,
}


def _first_moment(day: date, zone: ZoneInfo) -> str:
    """Of a day in a zone: midnight, or later where the clock was put forward at midnight."""
    return datetime.combine(day, time(), zone).astimezone(UTC).astimezone(zone).isoformat()


def _offset_text(ahead: timedelta) -> str:
    return datetime(1970, 1, 1, tzinfo=timezone(ahead)).isoformat()[19:]
