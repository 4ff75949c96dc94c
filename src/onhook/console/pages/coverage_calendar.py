"""Coverage as a calendar: which hours of the last days are verified complete, connected, or gaps."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from onhook.cdr.coverage import Interval
from onhook.console.pages.formatting import short_time

DAYS_SHOWN = 14
"""Two weeks."""

HourState = Literal["complete", "connected", "gap", "mixed", "future"]


class CalendarHour(msgspec.Struct, frozen=True):
    """A local hour and its coverage; `reason` is that of the first interval that is not complete."""

    begins_at: datetime
    label: str
    state: HourState
    reason: str


class CalendarDay(msgspec.Struct, frozen=True):
    """A day of 23, 24 or 25 hours."""

    day: date
    hours: Sequence[CalendarHour]


def calendar_start(zone: ZoneInfo, now: datetime) -> datetime:
    """Return the first moment of the calendar."""
    day = now.astimezone(zone).date() - timedelta(days=DAYS_SHOWN - 1)
    return datetime.combine(day, time(), zone).astimezone(UTC)


def build_calendar(intervals: Sequence[Interval], zone: ZoneInfo, now: datetime) -> list[CalendarDay]:
    """Return the last days, the latest first. `intervals` cover the time from `calendar_start` to now, in order."""
    today = now.astimezone(zone).date()
    return [_build_day(today - timedelta(days=days_back), intervals, zone, now) for days_back in range(DAYS_SHOWN)]


def _build_day(day: date, intervals: Sequence[Interval], zone: ZoneInfo, now: datetime) -> CalendarDay:
    begin = datetime.combine(day, time(), zone).astimezone(UTC)
    end = datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC)
    count = round((end - begin) / timedelta(hours=1))
    return CalendarDay(
        day, [_build_hour(begin + timedelta(hours=hour_index), intervals, zone, now) for hour_index in range(count)]
    )


def _build_hour(begin: datetime, intervals: Sequence[Interval], zone: ZoneInfo, now: datetime) -> CalendarHour:
    end = min(begin + timedelta(hours=1), now)
    label = short_time(begin, zone)
    if begin >= now:
        return CalendarHour(begin, label, "future", "")
    hour_intervals = [interval for interval in intervals if interval.since < end and interval.until > begin]
    states = {interval.state for interval in hour_intervals}
    reason = next((interval.reason for interval in hour_intervals if interval.state != "complete"), "")
    if len(states) > 1:
        return CalendarHour(begin, label, "mixed", reason)
    return CalendarHour(begin, label, next(iter(states), "gap"), reason)
