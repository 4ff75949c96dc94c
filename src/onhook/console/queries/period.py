"""Period of a report, and the one to compare with."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

DAYS_DEFAULT = 7
"""Today and the six days before: traffic of an office repeats weekly."""

_YEAR_MIN, _YEAR_MAX = 1990, 2100
"""No call is outside of these."""

_PERIOD_YEAR_MIN = 1900
"""Of a period of any length, before which there are years to compare with."""

_STEPS = ((timedelta(days=2), "hour"), (timedelta(days=62), "day"), (timedelta(days=370), "week"))
"""Longest period per step: some sixty bars in a chart."""


class Period(msgspec.Struct, frozen=True):
    """From the first time, included, to the second, excluded; both in UTC."""

    since: datetime
    until: datetime


def get_period(search_filter: RecordFilter, zone: ZoneInfo, now: datetime) -> Period:
    """Return the period of a filter; without a start the last week, without an end until now. Raises `UsageError`."""
    until = search_filter.until or now
    check_years(search_filter.since or now, until)
    since = search_filter.since or _start_of_day(until.astimezone(zone).date() - timedelta(days=DAYS_DEFAULT - 1), zone)
    since, until = since.replace(microsecond=0), until.replace(microsecond=0)
    if since >= until:
        raise UsageError(_("the period ends before it begins"), location="until", hint=_("choose a later end"))
    return Period(since, until)


def check_years(since: datetime, until: datetime) -> None:
    """Raise `UsageError` for a period outside of the years for which there is one to compare with."""
    for name, boundary in (("since", since), ("until", until)):
        if not _PERIOD_YEAR_MIN <= boundary.astimezone(UTC).year <= _YEAR_MAX:
            raise UsageError(
                _("{name} is not between {first} and {last}", name=name, first=_PERIOD_YEAR_MIN, last=_YEAR_MAX),
                location=name,
                hint=_("choose a date of calls"),
            )


def previous_period(period: Period, zone: ZoneInfo) -> Period:
    """Return the period of the same length just before, in local time: a day of 23 hours is compared with
    a whole day.
    """
    since, until = (boundary.astimezone(zone).replace(tzinfo=None) for boundary in (period.since, period.until))
    length = until - since
    if since.time() == time() and until.time() != time():
        # A period in progress: the same weekday and hour, as many whole days before as it has begun.
        length = timedelta(days=length.days + 1)
    return Period(*((boundary - length).replace(tzinfo=zone).astimezone(UTC) for boundary in (since, until)))


def compared_period(text: str, period: Period, zone: ZoneInfo) -> Period:
    """Return the period to compare with: the previous one, the same dates of the year before (`year`), or the one of
    the same length that begins on a date. Raises `UsageError`.
    """
    if text in ("", "previous"):
        return previous_period(period, zone)
    since, until = (boundary.astimezone(zone).replace(tzinfo=None) for boundary in (period.since, period.until))
    if text == "year":
        earlier = [_year_before(boundary) for boundary in (since, until)]
    else:
        begin = datetime.combine(_parse_date(text), since.time())
        earlier = [begin, begin + (until - since)]
    return Period(*(boundary.replace(tzinfo=zone).astimezone(UTC) for boundary in earlier))


def _year_before(local: datetime) -> datetime:
    """Return the same date of the year before; of 29 February the last of the month."""
    is_leap_day = (local.month, local.day) == (2, 29)
    return local.replace(year=local.year - 1, day=28 if is_leap_day else local.day)


def _parse_date(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.min
    if not _YEAR_MIN <= day.year <= _YEAR_MAX:
        raise UsageError(
            _("{value} is no period to compare with", value=repr(text[:40])),
            location="compare",
            hint=_("write previous, year, or the first day as 2026-10-25"),
        )
    return day


def choose_step(period: Period) -> str:
    """Return hours for a day, days for a month, weeks for a year."""
    length = period.until - period.since
    return next((step for length_max, step in _STEPS if length <= length_max), "month")


def _start_of_day(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)
