"""How many calls were under way at once, at most: counted, but where weeks were summed up."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import msgspec

from onhook.cdr.record_filter import Filter
from onhook.cdr.utc_offset import zone_named
from onhook.lib.errors import UsageError
from onhook.store.contract import PEAK_STEPS, Peak
from onhook.store.queries.concurrency_sql import LEVELS, spans
from onhook.store.queries.conditions import Condition, for_calls
from onhook.store.queries.time_buckets import boundaries
from onhook.store.queries.weekly import QUARTER_SECONDS, Piece, cut, weeks_between
from onhook.store.rollups import summed_weeks
from onhook.store.rows import Row, moment, seconds

STRETCHES_MAX = 20_000
"""Two years by the hour: more is no picture."""


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
    until = max(since + 1, last if where.until is None else min(last, seconds(where.until)))
    begins = _stretches(by, zone, since, until)
    highest = {} if by_trunk else {(begin, ""): (0, -begin) for begin in begins}
    for begun, trunk, calls, reached in _levels(connection, where, until, begins, by_trunk):
        stretch = begins[bisect_right(begins, begun) - 1]
        highest[stretch, trunk] = max(highest.get((stretch, trunk), (0, 0)), (calls, -reached))
    return [
        Peak(begins_at=_moment(begin), trunk=trunk, calls=calls, reached_at=_moment(-reached))
        for (begin, trunk), (calls, reached) in sorted(highest.items())
        if calls or not by_trunk
    ]


def _levels(
    connection: duckdb.DuckDBPyConnection, where: Filter, until: int, begins: Sequence[int], by_trunk: bool
) -> Iterator[Row]:
    """The highest levels of stretches no longer than those that begin so: begin, trunk, calls, when reached."""
    summed = summed_weeks(connection) if _are_summed(where, begins, by_trunk) else ()
    for piece in cut(begins[0], until, summed):
        if piece.is_summed:
            question, values = _sums_of(where, piece, by_trunk)
        else:
            question, values = _count_of(where, piece, begins, by_trunk)
        yield from connection.execute(question, values).fetchall()


def _are_summed(where: Filter, begins: Sequence[int], by_trunk: bool) -> bool:
    """Whether weeks that are over need not be counted: sums are kept by PBX, by trunk for whole weeks only."""
    narrowed = {name for name in where.__struct_fields__ if getattr(where, name) is not None}
    is_cut_finer = len(begins) > 1 if by_trunk else any(begin % QUARTER_SECONDS for begin in begins[1:])
    return narrowed <= {"since", "until", "pbx"} and not is_cut_finer


def _sums_of(where: Filter, piece: Piece, by_trunk: bool) -> tuple[str, dict[str, Any]]:
    weeks = weeks_between(piece.since, piece.until - 1)
    question = (
        f"SELECT begins, coalesce(trunk, ''), calls, reached FROM sums_of_levels WHERE week BETWEEN {weeks.start}"
        f" AND {weeks.stop - 1} AND trunk IS {'NOT NULL' if by_trunk else 'NULL'} AND pbx IS NOT DISTINCT FROM $pbx"
    )
    return question, {"pbx": where.pbx}


def _count_of(where: Filter, piece: Piece, begins: Sequence[int], by_trunk: bool) -> tuple[str, dict[str, Any]]:
    condition = _going_on(where).also(f"started_at < {piece.until} AND ended_at > {piece.since}")
    question = LEVELS.format(**spans(condition.sql, by_trunk=by_trunk), until=piece.until)
    inside = [begin for begin in begins if piece.since < begin < piece.until]
    return question, {**condition.values, "stretches": [piece.since, *inside]}


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
