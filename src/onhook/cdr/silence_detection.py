"""Detection of a silent PBX: the threshold comes from its own traffic of past weeks, hour by hour, without
configuration.

Calls end at random around a rate that depends on the hour of the week. Where so many calls are expected that none at
all is unlikely, the push channel has been silent for too long.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from statistics import median_low

WEEKS_COMPARED = 4
"""Weeks of history: enough to know a Tuesday, few enough to follow a change."""

WEEKS_MIN = 2
"""Weeks of traffic needed before silence means anything."""

EXPECTED_CALLS_MIN = 9.0
"""Expected calls. None of nine has a probability of one in eight thousand: about one false alarm a year with a check
every hour.
"""

_HOUR = timedelta(hours=1)
_WEEK = timedelta(weeks=1)


def expected_calls(calls_by_hour: Mapping[datetime, int], since: datetime, until: datetime) -> float:
    """Return how many calls usually end in this range, from counts by hour (hour starts, aware, in UTC) of past weeks.

    The lower median of the same hour in several weeks counts, so that one busy day raises no alarm. 0 if too few weeks
    are known.
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
    """Return whether the silence since `last_at` is longer than this PBX's traffic makes likely."""
    since = max(last_at, now - _WEEK)
    return expected_calls(calls_by_hour, since, now) >= EXPECTED_CALLS_MIN
