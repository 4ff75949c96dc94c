"""Calls counted: by hour, day, status, number and more; times cut in the zone of the one who asks."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import duckdb

from onhook.cdr.record_filter import Filter
from onhook.cdr.utc_offset import zone_named
from onhook.lib.errors import UsageError
from onhook.store.contract import SUMMARY_BY
from onhook.store.queries.conditions import Condition, for_calls, named_in, whole_seconds
from onhook.store.queries.measures import ADDED_UP, COLUMNS, COUNTED, MEASURES, source
from onhook.store.queries.weekly import QUARTER_SECONDS, Piece, cut, week_of
from onhook.store.queries.zones import Offset, as_sql, offsets
from onhook.store.rollups import bounds, in_piece, summed_weeks, table_for
from onhook.store.rows import Row

SUMMARY_ROWS_MAX = 100_000
"""Eleven years by the hour. Nobody reads more, and an answer has to fit into memory."""

BY_MAX = 3
"""Joined; more gives nearly a row per call."""

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
    keys = ", ".join(f"by_{name}" for name in names)
    order, limit = (keys, SUMMARY_ROWS_MAX + 1) if top is None else (f"calls DESC, {keys}", min(top, SUMMARY_ROWS_MAX))
    counted = _counted(connection, where, names, zone)
    rows = connection.execute(f"{counted.sql} ORDER BY {order} LIMIT {limit}", counted.values).fetchall()
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


def _counted(connection: duckdb.DuckDBPyConnection, where: Filter, names: Sequence[str], zone: ZoneInfo) -> Condition:
    """The question: calls are counted where they must be, and sums are added where there are any."""
    first, last = bounds(connection)
    since = first if where.since is None else max(first, whole_seconds(where.since))
    until = last if where.until is None else min(last, whole_seconds(where.until))
    known = offsets(zone, since, until)
    columns = table_for(names, where)
    # A zone that was ever changed amid a quarter of an hour is counted there.
    odd = {week_of(one.since) for one in known[1:] if one.since % QUARTER_SECONDS}
    is_even = all(one.seconds % QUARTER_SECONDS == 0 for one in known)
    summed = {*summed_weeks(connection)} - odd if columns and is_even else ()
    pieces = cut(since, until, summed) or [Piece(since, until, is_summed=False)]
    parts = [
        _sums_of(names, known, where, piece, columns)
        if columns and piece.is_summed
        else _count_of(names, known, where, None if len(pieces) == 1 else piece)
        for piece in pieces
    ]
    if len(parts) == 1:
        return parts[0]
    keys = ", ".join(f"by_{name}" for name in names)
    sql = f"SELECT {keys}, {ADDED_UP} FROM ({' UNION ALL '.join(part.sql for part in parts)}) GROUP BY {keys}"
    return Condition(sql, {name: value for part in parts for name, value in part.values.items()})


def _count_of(names: Sequence[str], known: Sequence[Offset], where: Filter, piece: Piece | None) -> Condition:
    """Calls, of the whole period or of a piece of it."""
    condition = for_calls(where) if piece is None else for_calls(where, piece.since, piece.until)
    return _grouped(names, known, COLUMNS, source(names, _of_legs(where, piece)), condition, COUNTED)


def _sums_of(
    names: Sequence[str], known: Sequence[Offset], where: Filter, piece: Piece, columns: Mapping[str, str]
) -> Condition:
    return _grouped(names, known, {"pbx": "pbx", **columns}, columns[""], in_piece(where, piece, columns), ADDED_UP)


def _grouped(  # noqa: PLR0917 - the parts of a question
    names: Sequence[str],
    known: Sequence[Offset],
    columns: Mapping[str, str],
    source_sql: str,
    condition: Condition,
    measures: str,
) -> Condition:
    local = f"started_at + ({as_sql('started_at', known)})"
    groups = [f"{columns.get(name) or _TIMES[name].format(local=local)} AS by_{name}" for name in names]
    keys = ", ".join(f"by_{name}" for name in names)
    sql = f"SELECT {', '.join(groups)}, {measures} FROM {source_sql} WHERE {condition.sql} GROUP BY {keys}"
    return Condition(sql, named_in(sql, condition.values))


def _of_legs(where: Filter, piece: Piece | None) -> str:
    """The same stretch of time for the legs of the calls."""
    since = piece.since if piece else None if where.since is None else whole_seconds(where.since)
    until = piece.until if piece else None if where.until is None else whole_seconds(where.until)
    narrow = "" if since is None else f" AND call_started_at >= {since}"
    return narrow if until is None else f"{narrow} AND call_started_at < {until}"


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
