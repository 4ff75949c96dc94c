"""Peaks of concurrent calls: from rollups where they exist, else counted."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import msgspec

from onhook.cdr.record_filter import RecordFilter
from onhook.cdr.utc_offset import get_zone
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime
from onhook.store.figures import PEAK_STEPS, ConcurrencyPeak
from onhook.store.queries.concurrency_sql import CONCURRENCY_QUERY, concurrency_source
from onhook.store.queries.conditions import SqlCondition, call_condition
from onhook.store.queries.time_buckets import boundaries
from onhook.store.queries.weekly import QUARTER_HOUR_SECONDS, PeriodPart, split_period, weeks_between
from onhook.store.rollups import list_rollup_weeks
from onhook.store.rows import Row, epoch_seconds

BUCKETS_MAX = 20_000
"""Two years by the hour: more does not fit a chart."""


def peaks(
    connection: duckdb.DuckDBPyConnection, record_filter: RecordFilter, by: str, zone_name: str, *, by_trunk: bool
) -> list[ConcurrencyPeak]:
    """See `Store.peaks`."""
    if by not in PEAK_STEPS:
        raise UsageError(
            _("invalid interval of peaks: {value!r}", value=by[:40]),
            location="by",
            hint=_("use one of {choices}", choices=", ".join(PEAK_STEPS)),
        )
    zone = get_zone(zone_name)
    condition = _ongoing_condition(record_filter)
    first_start, last_end = connection.execute(
        f"SELECT min(started_at), max(ended_at) FROM calls WHERE {condition.sql} AND ended_at > started_at",
        condition.values,
    ).fetchall()[0]
    if first_start is None:
        return []
    since = first_start if record_filter.since is None else epoch_seconds(record_filter.since)
    until = max(
        since + 1, last_end if record_filter.until is None else min(last_end, epoch_seconds(record_filter.until))
    )
    starts = _bucket_starts(by, zone, since, until)
    highest_levels = {} if by_trunk else {(start, "", ""): (0, -start) for start in starts}
    for level_start, pbx, trunk, calls, peak_second in _load_levels(connection, record_filter, until, starts, by_trunk):
        key = starts[bisect_right(starts, level_start) - 1], pbx, trunk
        highest_levels[key] = max(highest_levels.get(key, (0, 0)), (calls, -peak_second))
    return [
        ConcurrencyPeak(
            interval_start=_to_datetime(start), pbx=pbx, trunk=trunk, calls=calls, peak_at=_to_datetime(-peak_second)
        )
        for (start, pbx, trunk), (calls, peak_second) in sorted(highest_levels.items())
        if calls or not by_trunk
    ]


def _load_levels(
    connection: duckdb.DuckDBPyConnection,
    record_filter: RecordFilter,
    until: int,
    starts: Sequence[int],
    by_trunk: bool,
) -> Iterator[Row]:
    """Yield the peaks of intervals that begin at these starts or are shorter: start, PBX, trunk, calls, time of the
    peak. PBX and trunk are empty unless `by_trunk`.
    """
    rollup_weeks = list_rollup_weeks(connection) if _can_use_rollups(record_filter, starts, by_trunk) else ()
    for part in split_period(starts[0], until, rollup_weeks):
        if part.is_rolled_up:
            query, values = _rollup_query(record_filter, part, by_trunk)
        else:
            query, values = _count_query(record_filter, part, starts, by_trunk)
        yield from connection.execute(query, values).fetchall()


def _can_use_rollups(record_filter: RecordFilter, starts: Sequence[int], by_trunk: bool) -> bool:
    """Return whether rollups of past weeks can be used: they are by PBX, and by trunk for whole weeks only."""
    filter_names = {name for name in record_filter.__struct_fields__ if getattr(record_filter, name) is not None}
    is_finer = len(starts) > 1 if by_trunk else any(start % QUARTER_HOUR_SECONDS for start in starts[1:])
    return filter_names <= {"since", "until", "pbx"} and not is_finer


def _rollup_query(record_filter: RecordFilter, part: PeriodPart, by_trunk: bool) -> tuple[str, dict[str, Any]]:
    weeks = weeks_between(part.since, part.until - 1)
    week_test = f"week BETWEEN {weeks.start} AND {weeks.stop - 1}"
    if by_trunk:
        query = (
            f"SELECT starts_at, pbx, trunk, calls, peak_at FROM rollup_concurrency WHERE {week_test}"
            " AND trunk IS NOT NULL AND pbx = coalesce($pbx, pbx)"
        )
    else:
        query = (
            f"SELECT starts_at, '', '', calls, peak_at FROM rollup_concurrency WHERE {week_test}"
            " AND trunk IS NULL AND pbx IS NOT DISTINCT FROM $pbx"
        )
    return query, {"pbx": record_filter.pbx}


def _count_query(
    record_filter: RecordFilter, part: PeriodPart, starts: Sequence[int], by_trunk: bool
) -> tuple[str, dict[str, Any]]:
    condition = _ongoing_condition(record_filter).and_where(f"started_at < {part.until} AND ended_at > {part.since}")
    query = CONCURRENCY_QUERY.format(**concurrency_source(condition.sql, by_trunk=by_trunk), until=part.until)
    inner_starts = [start for start in starts if part.since < start < part.until]
    return query, {**condition.values, "bucket_starts": [part.since, *inner_starts]}


def _ongoing_condition(record_filter: RecordFilter) -> SqlCondition:
    """Return the condition for matching calls, and those that began before but still last."""
    if record_filter.since is None:
        return call_condition(record_filter)
    return call_condition(msgspec.structs.replace(record_filter, since=None)).and_where(
        f"ended_at > {epoch_seconds(record_filter.since)}"
    )


def _bucket_starts(by: str, zone: ZoneInfo, since: int, until: int) -> list[int]:
    """Return the first second of each interval; the first interval begins with the requested time."""
    starts = [since]
    for start in boundaries(by, zone, since, until):
        if since < start < until:
            starts.append(start)
        if len(starts) > BUCKETS_MAX:
            raise UsageError(
                _("there are more than {limit} intervals", limit=BUCKETS_MAX),
                location="by",
                hint=_("narrow the period, or use a longer interval"),
            )
    return starts


def _to_datetime(second: int) -> datetime:
    return to_datetime(second * 1_000_000)
