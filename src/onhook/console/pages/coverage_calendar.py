"""Coverage as a calendar: which hours of the last days are surely complete, which were only heard, which are gaps."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from onhook.cdr.coverage import Stretch

DAYS_SHOWN = 14
"""Two weeks: what a person still remembers."""

HourState = Literal["complete", "heard", "gap", "mixed", "future"]


class Hour(msgspec.Struct, frozen=True):
    """An hour by the wall clock, and what is known of it; `why` is of the first stretch that is not complete."""

    begins_at: datetime
    label: str
    state: HourState
    why: str


class CalendarDay(msgspec.Struct, frozen=True):
    """A day of 23, 24 or 25 hours."""

    day: date
    hours: Sequence[Hour]


def first_shown(zone: ZoneInfo, now: datetime) -> datetime:
    """The first moment of the calendar."""
    day = now.astimezone(zone).date() - timedelta(days=DAYS_SHOWN - 1)
    return datetime.combine(day, time(), zone).astimezone(UTC)


def calendar(stretches: Sequence[Stretch], zone: ZoneInfo, now: datetime) -> list[CalendarDay]:
    """The last days, the latest first. `stretches` are all of the time from `first_shown` to now, in order."""
    today = now.astimezone(zone).date()
    return [_day(today - timedelta(days=back), stretches, zone, now) for back in range(DAYS_SHOWN)]


def _day(day: date, stretches: Sequence[Stretch], zone: ZoneInfo, now: datetime) -> CalendarDay:
    begin = datetime.combine(day, time(), zone).astimezone(UTC)
    end = datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC)
    count = round((end - begin) / timedelta(hours=1))
    return CalendarDay(day, [_hour(begin + timedelta(hours=number), stretches, zone, now) for number in range(count)])


def _hour(begin: datetime, stretches: Sequence[Stretch], zone: ZoneInfo, now: datetime) -> Hour:
    end = min(begin + timedelta(hours=1), now)
    label = f"{begin.astimezone(zone):%H:%M}"
    if begin >= now:
        return Hour(begin, label, "future", "")
    here = [one for one in stretches if one.since < end and one.until > begin]
    states = {one.state for one in here}
    wrong = next((one.why for one in here if one.state != "complete"), "")
    if len(states) > 1:
        return Hour(begin, label, "mixed", wrong)
    return Hour(begin, label, next(iter(states), "gap"), wrong)
