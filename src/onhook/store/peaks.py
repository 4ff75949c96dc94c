"""How many calls were under way at once: each call is a step up and a step down, and their running sum is the level.

Each stretch of time begins with a step of nothing, so that what goes on from the stretch before counts in it too.
"""

from datetime import datetime
from zoneinfo import ZoneInfo

import duckdb
import msgspec

from onhook.cdr.filter import Filter
from onhook.cdr.offset import zone_named
from onhook.errors import UsageError
from onhook.store.conditions import Condition, for_calls
from onhook.store.rows import moment, seconds
from onhook.store.store import PEAK_STEPS, Peak
from onhook.store.stretches import boundaries

STRETCHES_MAX = 20_000
"""Two years by the hour: more is no picture."""

_SPANS = "SELECT {trunk} AS trunk, started_at AS begun, ended_at AS ended FROM calls WHERE {{test}} AND {known}"
_WHOLE = _SPANS.format(trunk="''", known="ended_at > started_at")
_BY_TRUNK = " UNION ALL ".join(
    _SPANS.format(trunk=name, known=f"ended_at > started_at AND {name} <> ''{unless}")
    for name, unless in (("src_trunk_name", ""), ("dst_trunk_name", " AND dst_trunk_name <> src_trunk_name"))
)
_LEVELS = """
WITH spans AS ({spans}),
stretches AS (SELECT unnest($stretches) AS begins),
steps AS (
    SELECT trunk, instant, sum(step) AS step FROM (
        SELECT trunk, begun AS instant, 1 AS step FROM spans
        UNION ALL SELECT trunk, ended, -1 FROM spans
        UNION ALL SELECT trunk, begins, 0 FROM (SELECT DISTINCT trunk FROM {trunks}), stretches
    ) GROUP BY trunk, instant
),
levels AS (SELECT trunk, instant, sum(step) OVER (PARTITION BY trunk ORDER BY instant) AS level FROM steps)
SELECT begins, trunk, max(level)::BIGINT AS calls, -(max(ROW(level, -instant))[2]) AS reached
FROM levels ASOF JOIN stretches ON instant >= begins
WHERE instant < {until} GROUP BY begins, trunk ORDER BY begins, trunk
"""


def peaks(
    connection: duckdb.DuckDBPyConnection, where: Filter, by: str, zone_name: str, *, by_trunk: bool
) -> list[Peak]:
    """See `Store.peaks`."""
    if by not in PEAK_STEPS:
        raise UsageError(f"peaks are not by {by[:40]!r}", where="by", todo=f"use one of {', '.join(PEAK_STEPS)}")
    zone = zone_named(zone_name)
    condition = _going_on(where)
    first, last = connection.execute(
        f"SELECT min(started_at), max(ended_at) FROM calls WHERE {condition.sql} AND ended_at > started_at",
        condition.values,
    ).fetchall()[0]
    if first is None:
        return []
    since = first if where.since is None else seconds(where.since)
    until = last if where.until is None else min(last, seconds(where.until))
    question = _LEVELS.format(
        spans=(_BY_TRUNK if by_trunk else _WHOLE).format(test=condition.sql),
        trunks="spans" if by_trunk else "(SELECT '' AS trunk)",
        until=max(until, since + 1),
    )
    rows = connection.execute(
        question, {**condition.values, "stretches": _stretches(by, zone, since, until)}
    ).fetchall()
    return [
        Peak(begins_at=_moment(begins), trunk=trunk, calls=calls, reached_at=_moment(reached))
        for begins, trunk, calls, reached in rows
        if calls or not by_trunk
    ]


def _going_on(where: Filter) -> Condition:
    """Matching calls, and those that began before but still go on."""
    if where.since is None:
        return for_calls(where)
    return for_calls(msgspec.structs.replace(where, since=None)).also(f"ended_at > {seconds(where.since)}")


def _stretches(by: str, zone: ZoneInfo, since: int, until: int) -> list[int]:
    """The first second of each stretch; the first one begins with what was asked for."""
    begins = [since]
    for begin in boundaries(by, zone, since, until):
        if since < begin < until:
            begins.append(begin)
        if len(begins) > STRETCHES_MAX:
            raise UsageError(
                f"there are more than {STRETCHES_MAX} {by}s",
                where="by",
                todo="ask for less time, or by something longer",
            )
    return begins


def _moment(second: int) -> datetime:
    return moment(second * 1_000_000)
