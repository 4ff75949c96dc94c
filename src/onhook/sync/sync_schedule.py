"""Times of the sync cycles: when the next one starts, and how far back it reads. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from onhook.cdr.coverage import CALL_SECONDS_MAX, Interval, complete_until, query_start
from onhook.lib.backoff import delay_seconds

FIRST_SYNC_DAYS = 31
"""The first cycle fetches the last month; a user can request more."""

SYNC_DAYS = 3
"""How far back gaps are filled automatically."""

HOUR_SECONDS = 3600.0
DAY_SECONDS = 86_400

NIGHTLY_OFFSET_SECONDS = 2 * 3600 + 30 * 60
"""After midnight UTC: whole days have ended nearly everywhere, and there are few calls."""

RETRY_SECONDS_FIRST = 30.0
RETRY_SECONDS_MAX = 1800.0
"""Wait after a failed cycle: doubles up to this. The push channel has its own waits."""


class SyncSchedule(msgspec.Struct, kw_only=True):
    """Cycles of one PBX. Times are Unix seconds; the first cycle is a nightly one."""

    nightly_at: float
    failures: int = 0
    """Cycles in a row that failed, or that left a gap open that the next call closes."""

    def is_nightly(self, now: float) -> bool:
        """Return whether a cycle that starts now compares whole days."""
        return now >= self.nightly_at

    def end_cycle(self, started_at: float, *, has_open_gap: bool) -> None:
        """Plan the next cycle after one that ended without an error."""
        if self.is_nightly(started_at):
            self.nightly_at = started_at + seconds_until_night(started_at)
        self.failures = self.failures + 1 if has_open_gap else 0

    def fail_cycle(self) -> None:
        """Plan the next cycle after a failed one; a nightly one is repeated."""
        self.failures += 1

    def pause_seconds(self, jitter: float) -> float:
        """Return the wait until the next cycle; `jitter` between 0 and 1 shortens it by up to a tenth."""
        return longest_pause_seconds(self.failures) * (0.9 + 0.1 * jitter)


def longest_pause_seconds(failures: int) -> float:
    """Return the longest wait until the next cycle after this number of failures in a row.

    >>> [longest_pause_seconds(failures) for failures in (0, 1, 2, 9)]
    [3600.0, 30.0, 60.0, 1800.0]
    """
    return delay_seconds(failures, first=RETRY_SECONDS_FIRST, maximum=RETRY_SECONDS_MAX) if failures else HOUR_SECONDS


def seconds_until_night(now: float) -> float:
    """Return the seconds until the next nightly cycle, more than none.

    >>> seconds_until_night(3600.0), seconds_until_night(9000.0)
    (5400.0, 86400)
    """
    return (NIGHTLY_OFFSET_SECONDS - now) % DAY_SECONDS or DAY_SECONDS


def cycle_start(intervals: Sequence[Interval], now: datetime, *, is_nightly: bool) -> datetime:
    """Return the earliest call start that a cycle reads: all recent days at night, otherwise the first recent gap."""
    days = FIRST_SYNC_DAYS if complete_until(intervals) is None else SYNC_DAYS
    horizon = now - timedelta(days=days)
    if is_nightly:
        return horizon - timedelta(seconds=CALL_SECONDS_MAX)
    return query_start(intervals, horizon, now)
