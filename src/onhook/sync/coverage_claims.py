"""Coverage that a sync may claim: after a back-fill only what was compared, of a push channel the time in which it was
connected.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from onhook.cdr.coverage import (
    CALL_SECONDS_MAX,
    CdrComparison,
    Interval,
    add_interval,
    complete_until,
    interval_from_comparison,
    invalidate_connected,
)
from onhook.cdr.sync_types import BackfillProgress
from onhook.lib.messages import _
from onhook.sync.contract import BackfillTotals, CoverageStore

CONNECTED_SAVE_SECONDS = 300.0
"""Interval at which the connected time is stored: each write costs an fsync per PBX."""


def claim_coverage(
    intervals: Sequence[Interval], progress: BackfillProgress, totals: BackfillTotals
) -> Sequence[Interval]:
    """Return the coverage after a back-fill: what it proves; and no connected time if the channel has missed calls."""
    if totals.missed:
        intervals = invalidate_connected(intervals, _("the push channel was connected but lost calls"))
    proven_interval = interval_from_comparison(build_comparison(progress, totals))
    return intervals if proven_interval is None else add_interval(intervals, proven_interval)


def build_comparison(progress: BackfillProgress, totals: BackfillTotals) -> CdrComparison:
    """Return the comparison of the requested time, as far as the source reaches."""
    since = progress.requested_since
    if totals.reach_since is not None:
        since = max(since, totals.reach_since - CALL_SECONDS_MAX)
    ends = [end for end in (progress.requested_until, totals.reach_until) if end is not None]
    return CdrComparison(
        since=datetime.fromtimestamp(since, UTC),
        started_at=datetime.fromtimestamp(progress.started_at, UTC),
        until=datetime.fromtimestamp(min(ends), UTC) if ends else None,
        incomplete_reason=totals.incomplete_reason,
    )


def has_open_gap(intervals: Sequence[Interval], totals: BackfillTotals) -> bool:
    """Return whether a CDR source has not reached the end of a known gap yet; its next call closes the gap."""
    if totals.reach_until is None:
        return False
    compared_until = complete_until(intervals)
    return any(
        interval.state == "gap" and (compared_until is None or interval.until > compared_until)
        for interval in intervals
    )


class ConnectedTime:
    """Time in which the push channel of one PBX was connected, stored every CONNECTED_SAVE_SECONDS."""

    def __init__(self, coverage: CoverageStore, now: Callable[[], float]) -> None:
        self._coverage = coverage
        self._now = now
        self._since = self._until = 0.0
        self._saved_at = 0.0

    async def extend(self, since: float, until: float) -> None:
        """Add that a channel was connected between these times (Unix seconds); another `since` is another channel."""
        if since != self._since:
            await self.save()
        self._since, self._until = since, until
        if self._now() - self._saved_at >= CONNECTED_SAVE_SECONDS:
            await self.save()

    async def save(self) -> None:
        """Store the connected time of the current channel."""
        if self._since >= self._until:
            return
        since, until = (datetime.fromtimestamp(seconds, UTC) for seconds in (self._since, self._until))
        interval = Interval(since, until, "connected", _("the push channel was connected"))
        await self._coverage.change_intervals(lambda intervals: add_interval(intervals, interval))
        self._saved_at = self._now()
