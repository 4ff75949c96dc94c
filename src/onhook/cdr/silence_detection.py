"""How long a PBX may be silent before it is strange: learned from its own weeks, hour by hour, with nothing to set.

A call ends at random around a rate that depends on the hour of the week. Where so many were to be expected that none
at all is unlikely, the push channel is silent for longer than the traffic makes likely.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from statistics import median_low

WEEKS_COMPARED = 4
"""Looked at: enough to know a Tuesday, few enough to follow a change."""

WEEKS_MIN = 2
"""Of traffic that must be known before silence means anything."""

EXPECTED_CALLS_MIN = 9.0
"""Calls that should have ended. None of nine is one chance in eight thousand: about once a year by mistake where it is
looked at every hour."""

_HOUR = timedelta(hours=1)
_WEEK = timedelta(weeks=1)


def expected_calls(calls_by_hour: Mapping[datetime, int], since: datetime, until: datetime) -> float:
    """How many calls usually end between two moments: by hours (their beginnings, aware, in UTC) of the weeks before.

    Of the same hour in several weeks the lower middle one counts, so that one busy day raises nothing. 0 where too few
    weeks are known.
    """
    first_hour = min(calls_by_hour, default=until)
    weeks = [weeks_ago for weeks_ago in range(1, WEEKS_COMPARED + 1) if since - weeks_ago * _WEEK >= first_hour]
    if len(weeks) < WEEKS_MIN:
        return 0.0
    total, hour = 0.0, since.replace(minute=0, second=0, microsecond=0)
    while hour < until:
        share = (min(until, hour + _HOUR) - max(since, hour)) / _HOUR
        total += share * median_low([calls_by_hour.get(hour - weeks_ago * _WEEK, 0) for weeks_ago in weeks])
        hour += _HOUR
    return total


def is_suspicious_silence(calls_by_hour: Mapping[datetime, int], last_at: datetime, now: datetime) -> bool:
    """Whether a silence since `last_at` is longer than this PBX's traffic makes likely."""
    since = max(last_at, now - _WEEK)
    return expected_calls(calls_by_hour, since, now) >= EXPECTED_CALLS_MIN
