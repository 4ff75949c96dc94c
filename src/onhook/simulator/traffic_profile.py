"""Start times of calls: the traffic of a day and of a week in the office's local time. Pure."""

from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

HOUR_SECONDS: Final = 3600

# Traffic of each local hour, midnight first: two peaks around noon, and a few calls at night, so that the hours of a
# clock change have calls too.
HOUR_WEIGHTS: Final = (1, 1, 1, 1, 1, 2, 5, 20, 60, 90, 100, 90, 50, 60, 90, 85, 70, 45, 20, 10, 6, 4, 2, 1)

# Monday first; a Saturday has about a third of the calls of a working day.
WEEKDAY_FACTORS: Final = (1.15, 1.0, 1.0, 0.95, 0.9, 0.35, 0.2)

DAILY_VARIATION: Final = 0.15
"""A day has up to this share more or fewer calls than the mean."""


def generate_call_starts(rng: Random, day: date, zone: ZoneInfo, calls_per_day: int) -> list[datetime]:
    """Return the times in UTC, in whole seconds and in order, at which calls begin on one local day in `zone`.

    A day of 23 or 25 hours has as many calls as others. `calls_per_day` is the mean of a working day.
    """
    begin, end = _midnight(day, zone), _midnight(day + timedelta(days=1), zone)
    hours = [begin + timedelta(hours=n) for n in range(-(-_seconds_between(begin, end) // HOUR_SECONDS))]
    weights = [HOUR_WEIGHTS[hour.astimezone(zone).hour] for hour in hours]
    count = round(
        calls_per_day * WEEKDAY_FACTORS[day.weekday()] * rng.uniform(1 - DAILY_VARIATION, 1 + DAILY_VARIATION)
    )
    selected_hours = rng.choices(hours, weights, k=count)
    return sorted(
        hour + timedelta(seconds=rng.randrange(min(HOUR_SECONDS, _seconds_between(hour, end))))
        for hour in selected_hours
    )


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return the first moment of a day, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def _seconds_between(begin: datetime, end: datetime) -> int:
    return int((end - begin).total_seconds())
