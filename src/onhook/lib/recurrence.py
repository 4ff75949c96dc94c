"""Times that come again: at an hour of each day, of a day of the week or of the month, in a zone. Pure.

Invariants: each day has one time, also where clocks are set: an hour that does not exist is the first moment after it,
one that exists twice is the first of both.
"""

from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

Frequency = Literal["daily", "weekly", "monthly"]

_SEARCHED_DAYS = 40
"""The longest way from one time to the next is a month, and the days on which zones differ."""


class Recurrence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When something is due: at `hour`, 0 to 23, in a zone. `weekday` is 1 (Monday) to 7, of weekly times; `day` that
    of the month, of monthly ones: in a shorter month its last day.
    """

    frequency: Frequency = "daily"
    hour: int = 7
    weekday: int = 1
    day: int = 1
    zone: str = "UTC"


class Occurrence(NamedTuple):
    """One time, and the local day that it belongs to."""

    time: datetime
    day: date


def next_occurrence(recurrence: Recurrence, after: datetime) -> Occurrence:
    """Return the first time after a moment.

    >>> daily = Recurrence(hour=2, zone="Europe/Berlin")  # clocks are set from 2:00 to 3:00 on 29 March 2026
    >>> next_occurrence(daily, datetime(2026, 3, 28, 12, tzinfo=UTC)).time.isoformat()
    '2026-03-29T01:00:00+00:00'
    """
    first = _local_day(recurrence, after) - timedelta(days=1)
    days = (first + timedelta(days=number) for number in range(_SEARCHED_DAYS))
    return next(occurrence for occurrence in _occurrences(recurrence, days) if occurrence.time > after)


def latest_occurrence(recurrence: Recurrence, until: datetime) -> Occurrence:
    """Return the last time at or before a moment."""
    last = _local_day(recurrence, until) + timedelta(days=1)
    days = (last - timedelta(days=number) for number in range(_SEARCHED_DAYS))
    return next(occurrence for occurrence in _occurrences(recurrence, days) if occurrence.time <= until)


def covered_period(recurrence: Recurrence, day: date) -> tuple[datetime, datetime]:
    """Return what a time of this day is about: the day before, the seven days before, or the month before; from the
    first moment, included, to the second, excluded.

    >>> [boundary.isoformat() for boundary in covered_period(Recurrence(frequency="monthly"), date(2026, 3, 15))]
    ['2026-02-01T00:00:00+00:00', '2026-03-01T00:00:00+00:00']
    """
    if recurrence.frequency == "monthly":
        end = day.replace(day=1)
        begin = (end - timedelta(days=1)).replace(day=1)
    else:
        end = day
        begin = end - timedelta(days=1 if recurrence.frequency == "daily" else 7)
    return _local_time(recurrence, begin, 0), _local_time(recurrence, end, 0)


def _occurrences(recurrence: Recurrence, days: Iterator[date]) -> Iterator[Occurrence]:
    return (Occurrence(_local_time(recurrence, day, recurrence.hour), day) for day in days if _is_due(recurrence, day))


def _is_due(recurrence: Recurrence, day: date) -> bool:
    match recurrence.frequency:
        case "daily":
            return True
        case "weekly":
            return day.isoweekday() == recurrence.weekday
        case "monthly":
            return day.day == min(recurrence.day, monthrange(day.year, day.month)[1])


def _local_day(recurrence: Recurrence, moment: datetime) -> date:
    return moment.astimezone(ZoneInfo(recurrence.zone)).date()


def _local_time(recurrence: Recurrence, day: date, hour: int) -> datetime:
    """Return an hour of a local day in UTC. One that does not exist has the offset of before (PEP 495), so that it is
    as long after midnight as the clock would have shown.
    """
    return datetime.combine(day, time(hour), ZoneInfo(recurrence.zone)).astimezone(UTC)
