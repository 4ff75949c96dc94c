"""Distributions of calls, as a store counts them: of their durations, and of how many there are at a time."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

DURATION_FIELDS = ("talk_duration", "wait_duration", "ring_duration", "call_duration")
"""Durations that a histogram can show."""

PEAK_STEPS = ("hour", "day", "month", "all")
"""Intervals of concurrency peaks."""


class DurationHistogram(msgspec.Struct, frozen=True, kw_only=True):
    """Distribution of a duration. `counts[i]` are the calls from `edges[i]` seconds up to the next edge, the last
    without an end. `median`, `p90` and `longest` are None if no duration is known; `unknown` are the calls without one.
    """

    counts: Sequence[int]
    unknown: int
    median: int | None
    p90: int | None
    longest: int | None


class ConcurrencyPeak(msgspec.Struct, frozen=True, kw_only=True):
    """Maximum number of concurrent calls in the interval that begins at `interval_start`, and when it was first
    reached.

    `pbx` and `trunk` are empty unless peaks are by trunk.
    """

    interval_start: datetime
    pbx: str
    trunk: str
    calls: int
    peak_at: datetime
