"""Which stretches of time are surely complete, and which are gaps. Moments are aware, in UTC, by a clock that is right.

A stretch is about calls that *ended* in it: a call that is still going on is known to nobody, so nothing true can be
said by when calls began. Laws: `complete` is only what was compared with the PBX's own list, whole; `connected` says
that the push channel was proven alive, and is no promise, because a channel can lose events while it lives; all else is
a gap with a reason. A later comparison counts more than an earlier one; `connected` never counts more than a
comparison.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

CoverageState = Literal["complete", "connected", "gap"]

CALL_SECONDS_MAX = 86_400
"""No call is taken to last longer. The PBX lists calls by when they began, so a list says nothing of the first so many
seconds of the window that was asked for: calls that ended there may have begun before it."""

SETTLE_SECONDS = 60
"""A call that ended less than this before the PBX was asked may not have been in its list yet."""

INTERVALS_MAX = 1_000
"""Per PBX: some years of comparisons that failed now and then. Beyond it the oldest are forgotten: gaps again."""

GAP_MERGE_DISTANCE = timedelta(minutes=1)
"""Gaps nearer to each other than this are one."""

NEVER_COMPARED = "nobody has compared it with the PBX yet"


class Interval(msgspec.Struct, frozen=True):
    """From `since` on, before `until`. `reason` says what proves it, or what is known of the gap."""

    since: datetime
    until: datetime
    state: CoverageState
    reason: str


class CdrComparison(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of the PBX's list to its end: all calls that began in a window. One that broke off is none.

    `since` is the window's start, by a right clock; its end is `until`, or later than `started_at`, when reading began.
    `incomplete_reason` is empty where every row that the PBX counted was read and is kept.
    """

    since: datetime
    started_at: datetime
    until: datetime | None = None
    incomplete_reason: str = ""


def interval_from_comparison(comparison: CdrComparison) -> Interval | None:
    """What a reading of the list proves: a complete stretch, or a gap that is named; None where it says nothing."""
    since = comparison.since + timedelta(seconds=CALL_SECONDS_MAX)
    until = comparison.started_at - timedelta(seconds=SETTLE_SECONDS)
    until = until if comparison.until is None else min(until, comparison.until)
    if since >= until:
        return None
    if comparison.incomplete_reason:
        return Interval(since, until, "gap", comparison.incomplete_reason)
    return Interval(since, until, "complete", f"compared with the PBX at {comparison.started_at:%Y-%m-%d %H:%M} UTC")


def add_interval(intervals: Sequence[Interval], new: Interval) -> list[Interval]:
    """What is known after one more stretch: in order, apart from each other, neighbours of one kind joined."""
    parts = [part for old in intervals for part in _subtract(old, new)]
    parts += [part for part in _visible_parts(intervals, new) if part.since < part.until]
    merged: list[Interval] = []
    for part in sorted(parts, key=lambda interval: interval.since):
        if merged and merged[-1].until == part.since and _can_merge(merged[-1], part):
            merged[-1] = Interval(merged[-1].since, part.until, part.state, part.reason)
        else:
            merged.append(part)
    return merged[-INTERVALS_MAX:]


def fill_gaps(intervals: Sequence[Interval], since: datetime, until: datetime) -> list[Interval]:
    """All of that time, whole: what is known, and the gaps between."""
    result: list[Interval] = []
    position = since
    for interval in intervals:
        begin, end = max(interval.since, position), min(interval.until, until)
        if begin < end:
            result += [Interval(position, begin, "gap", NEVER_COMPARED)] if position < begin else []
            result.append(Interval(begin, end, interval.state, interval.reason))
            position = end
    return result + ([Interval(position, until, "gap", NEVER_COMPARED)] if position < until else [])


def complete_until(intervals: Sequence[Interval]) -> datetime | None:
    """Up to which moment the latest complete stretch reaches; None where there is none."""
    return next((interval.until for interval in reversed(intervals) if interval.state == "complete"), None)


def query_start(intervals: Sequence[Interval], since: datetime, until: datetime) -> datetime:
    """From which start of calls on the PBX must be asked, so that all from `since` to `until` can be complete."""
    open_starts = [interval.since for interval in fill_gaps(intervals, since, until) if interval.state != "complete"]
    earliest = min(open_starts, default=until)
    return min(earliest, until - timedelta(seconds=SETTLE_SECONDS)) - timedelta(seconds=CALL_SECONDS_MAX)


def invalidate_range(intervals: Sequence[Interval], since: datetime, until: datetime, reason: str) -> list[Interval]:
    """The same where nothing that was claimed between two moments counts any more, because the PBX's clock moved."""
    return add_interval(intervals, Interval(since, until, "gap", reason)) if since < until else list(intervals)


def add_disconnection(intervals: Sequence[Interval], since: datetime, until: datetime, reason: str) -> list[Interval]:
    """The same where a PBX was not heard between two moments: a gap, but for what was compared meanwhile.

    One that follows soon on another is one with it, so that a line that comes and goes does not make thousands.
    """
    nearby_gaps = [
        interval
        for interval in intervals
        if interval.state == "gap" and interval.reason == reason and since - interval.until < GAP_MERGE_DISTANCE
    ]
    since = max((interval.until for interval in nearby_gaps if interval.until < since), default=since)
    result = list(intervals)
    for part in fill_gaps(intervals, since, until):
        if part.state != "complete":
            result = add_interval(result, Interval(part.since, part.until, "gap", reason))
    return result


def invalidate_connected(intervals: Sequence[Interval], reason: str) -> list[Interval]:
    """The same where the push channel was found to lose events: what was only heard is a gap until it is compared."""
    return [
        Interval(interval.since, interval.until, "gap", reason) if interval.state == "connected" else interval
        for interval in intervals
    ]


def _subtract(old: Interval, new: Interval) -> Iterator[Interval]:
    """What is left of an older stretch beside a new one; a comparison stays under what was only heard."""
    if old.until <= new.since or new.until <= old.since or _has_precedence(old, new):
        yield old
        return
    if old.since < new.since:
        yield Interval(old.since, new.since, old.state, old.reason)
    if new.until < old.until:
        yield Interval(new.until, old.until, old.state, old.reason)


def _visible_parts(intervals: Sequence[Interval], new: Interval) -> Iterator[Interval]:
    """What is seen of a new stretch: all of it, but where an older one stays."""
    position = new.since
    for old in sorted(intervals, key=lambda interval: interval.since):
        if _has_precedence(old, new) and old.since < new.until and new.since < old.until:
            yield Interval(position, max(position, old.since), new.state, new.reason)
            position = max(position, old.until)
    yield Interval(position, max(position, new.until), new.state, new.reason)


def _has_precedence(old: Interval, new: Interval) -> bool:
    return new.state == "connected" and old.state == "complete"


def _can_merge(left: Interval, right: Interval) -> bool:
    """Complete stretches are one however often they were compared; gaps only for one reason."""
    return left.state == right.state and (left.state != "gap" or left.reason == right.reason)
