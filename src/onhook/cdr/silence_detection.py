"""Detection of a silent PBX: the threshold comes from its own traffic of past weeks, hour by hour, without
configuration.

Calls end at random around a rate that depends on the hour of the week. Where so many calls are expected that none at
all is unlikely, the push channel has been silent for too long.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
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


def expected_calls(
    calls_by_hour: Mapping[datetime, int], since: datetime, until: datetime, zone: tzinfo = UTC
) -> float:
    """Return how many calls usually end in this range, from counts by hour (hour starts, aware) of past weeks.

    Hours are those of the wall clock of `zone`, so that an office that opens at eight opens then after a clock change
    too. The lower median of the same hour in several weeks counts, so that one busy day raises no alarm. 0 if too few
    weeks are known.
    """
    wall_calls: Counter[datetime] = Counter()
    for hour, calls in calls_by_hour.items():
        wall_calls[_wall_hour(hour, zone)] += calls
    first_hour = min(wall_calls, default=_wall_hour(until, zone))
    first_compared = since.astimezone(zone).replace(tzinfo=None)
    weeks = [
        weeks_ago for weeks_ago in range(1, WEEKS_COMPARED + 1) if first_compared - weeks_ago * _WEEK >= first_hour
    ]
    if len(weeks) < WEEKS_MIN:
        return 0.0
    total, instant = 0.0, since.astimezone(UTC)
    while instant < until:
        hour = _wall_hour(instant, zone)
        end = min(until, instant + (hour + _HOUR - instant.astimezone(zone).replace(tzinfo=None)))
        total += (end - instant) / _HOUR * median_low([wall_calls[hour - weeks_ago * _WEEK] for weeks_ago in weeks])
        instant = end
    return total


def is_suspicious_silence(
    calls_by_hour: Mapping[datetime, int], last_at: datetime, now: datetime, zone: tzinfo = UTC
) -> bool:
    """Return whether the silence since `last_at` is longer than this PBX's traffic makes likely."""
    since = max(last_at, now - _WEEK)
    return expected_calls(calls_by_hour, since, now, zone) >= EXPECTED_CALLS_MIN


def _wall_hour(instant: datetime, zone: tzinfo) -> datetime:
    return instant.astimezone(zone).replace(minute=0, second=0, microsecond=0, tzinfo=None)
