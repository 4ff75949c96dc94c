"""Coverage: which time ranges are verified complete, and which are gaps. Times are aware, in UTC, by a correct clock.

An interval is about calls that *ended* in it: a call in progress is not reported yet, so the start of a call proves
nothing. Invariants: `complete` is only what was compared with the PBX's own list, whole; `connected` means that the
push channel was proven connected, and is no guarantee, because a connected channel can lose events; everything else
is a gap with a reason. A later comparison replaces an earlier one; `connected` never replaces a comparison.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

CoverageState = Literal["complete", "connected", "gap"]

CALL_SECONDS_MAX = 86_400
"""Assumed maximum duration of a call. The PBX lists calls by their start, so a list proves nothing about the first so
many seconds of the requested window: calls that ended there may have begun before it.
"""

SETTLE_SECONDS = 60
"""A call that ended less than this before the request may not have been in the PBX's list yet."""

INTERVALS_MAX = 1_000
"""Per PBX: some years of comparisons with occasional failures. Beyond it the oldest are dropped and
become gaps again.
"""

GAP_MERGE_DISTANCE = timedelta(minutes=1)
"""Gaps closer to each other than this are merged."""

NEVER_COMPARED = "not yet reconciled with the PBX"


class Interval(msgspec.Struct, frozen=True):
    """A time range from `since` on, before `until`. `reason` is the evidence, or the cause of the gap."""

    since: datetime
    until: datetime
    state: CoverageState
    reason: str


class CdrComparison(msgspec.Struct, frozen=True, kw_only=True):
    """One complete reading of the PBX's list: all calls that began in a window. An aborted reading is no comparison.

    `since` is the window's start, by a correct clock; its end is `until`, or later than `started_at`, when reading
    began. `incomplete_reason` is empty if every row that the PBX counted was read and stored.
    """

    since: datetime
    started_at: datetime
    until: datetime | None = None
    incomplete_reason: str = ""


def interval_from_comparison(comparison: CdrComparison) -> Interval | None:
    """Return what a reading of the list proves: a complete interval, or a gap with a reason; None if it
    proves nothing.
    """
    since = comparison.since + timedelta(seconds=CALL_SECONDS_MAX)
    until = comparison.started_at - timedelta(seconds=SETTLE_SECONDS)
    until = until if comparison.until is None else min(until, comparison.until)
    if since >= until:
        return None
    if comparison.incomplete_reason:
        return Interval(since, until, "gap", comparison.incomplete_reason)
    return Interval(since, until, "complete", f"reconciled with the PBX at {comparison.started_at:%Y-%m-%d %H:%M} UTC")


def add_interval(intervals: Sequence[Interval], new: Interval) -> list[Interval]:
    """Return the intervals with one more added: in order, without overlap, neighbours of one kind joined."""
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
    """Return intervals that cover the whole range: the known ones, and the gaps between."""
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
    """Return the end of the latest complete interval; None if there is none."""
    return next((interval.until for interval in reversed(intervals) if interval.state == "complete"), None)


def query_start(intervals: Sequence[Interval], since: datetime, until: datetime) -> datetime:
    """Return the earliest call start to request from the PBX, so that the whole range can become complete."""
    open_starts = [interval.since for interval in fill_gaps(intervals, since, until) if interval.state != "complete"]
    earliest = min(open_starts, default=until)
    return min(earliest, until - timedelta(seconds=SETTLE_SECONDS)) - timedelta(seconds=CALL_SECONDS_MAX)


def add_disconnection(intervals: Sequence[Interval], since: datetime, until: datetime, reason: str) -> list[Interval]:
    """Return the intervals with a gap where a PBX was disconnected, except where it was compared since.

    A gap soon after another one is merged with it, so that an unstable connection does not create thousands.
    """
    nearby_gaps = [
        interval
        for interval in intervals
        if interval.state == "gap" and interval.reason == reason and since - interval.until < GAP_MERGE_DISTANCE
    ]
    since = max((interval.until for interval in nearby_gaps if interval.until <= since), default=since)
    result = list(intervals)
    for part in fill_gaps(intervals, since, until):
        if part.state != "complete":
            result = add_interval(result, Interval(part.since, part.until, "gap", reason))
    return result


def invalidate_connected(intervals: Sequence[Interval], reason: str) -> list[Interval]:
    """Return the intervals with gaps instead of `connected`, because the push channel was found to lose events."""
    return [
        Interval(interval.since, interval.until, "gap", reason) if interval.state == "connected" else interval
        for interval in intervals
    ]


def _subtract(old: Interval, new: Interval) -> Iterator[Interval]:
    """Yield what remains of an older interval beside a new one; a comparison has precedence over `connected`."""
    if old.until <= new.since or new.until <= old.since or _has_precedence(old, new):
        yield old
        return
    if old.since < new.since:
        yield Interval(old.since, new.since, old.state, old.reason)
    if new.until < old.until:
        yield Interval(new.until, old.until, old.state, old.reason)


def _visible_parts(intervals: Sequence[Interval], new: Interval) -> Iterator[Interval]:
    """Yield the parts of a new interval that no older interval with precedence covers."""
    position = new.since
    for old in sorted(intervals, key=lambda interval: interval.since):
        if _has_precedence(old, new) and old.since < new.until and new.since < old.until:
            yield Interval(position, max(position, old.since), new.state, new.reason)
            position = max(position, old.until)
    yield Interval(position, max(position, new.until), new.state, new.reason)


def _has_precedence(old: Interval, new: Interval) -> bool:
    return new.state == "connected" and old.state == "complete"


def _can_merge(left: Interval, right: Interval) -> bool:
    """Return whether two intervals can be joined: complete ones always, gaps only with the same reason."""
    return left.state == right.state and (left.state != "gap" or left.reason == right.reason)
