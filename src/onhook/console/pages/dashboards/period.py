"""Period of a dashboard, and the one before with the same weekdays. Pure."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from onhook.console.queries.period import Period, check_years
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

SINCE_DEFAULT = "today"

WEEK = timedelta(days=7)


class DashboardPeriod(msgspec.Struct, frozen=True, kw_only=True):
    """`current` ends now where the period is open; `previous` begins and ends `weeks` earlier, to the minute. `charted`
    and `previously_charted` are whole: an open period goes on to the end of the day.
    """

    current: Period
    previous: Period
    charted: Period
    previously_charted: Period
    weeks: int
    is_open: bool


def dashboard_period(since: datetime, until: datetime | None, zone: ZoneInfo, now: datetime) -> DashboardPeriod:
    """Return the period from `since` to `until`, or to now. Raises `UsageError` for one that ends before it begins.

    >>> berlin, noon = ZoneInfo("Europe/Berlin"), datetime(2026, 10, 28, 11, tzinfo=UTC)
    >>> period = dashboard_period(datetime(2026, 10, 27, 23, tzinfo=UTC), None, berlin, noon)
    >>> str(period.previous.since), str(period.previous.until), str(period.charted.until)
    ('2026-10-20 22:00:00+00:00', '2026-10-21 10:00:00+00:00', '2026-10-28 23:00:00+00:00')
    """
    since, end = since.replace(microsecond=0), (until or now).replace(microsecond=0)
    check_years(since, end)
    if until is None and since == end:
        end += timedelta(seconds=1)  # in the first second of a day
    if since >= end:
        raise UsageError(_("the period ends before it begins"), location="until", hint=_("choose a later end"))
    local_since, local_end = (boundary.astimezone(zone).replace(tzinfo=None) for boundary in (since, end))
    charted_end = local_end if until else datetime.combine(local_end.date() + timedelta(days=1), time())
    weeks = -((local_since - local_end) // WEEK)
    # To the minute, so that equal requests within one share what was counted.
    compared_end = local_end if until else local_end.replace(second=0)
    return DashboardPeriod(
        current=Period(since, end),
        previous=Period(_utc(local_since - weeks * WEEK, zone), _utc(compared_end - weeks * WEEK, zone)),
        charted=Period(since, _utc(charted_end, zone)),
        previously_charted=Period(_utc(local_since - weeks * WEEK, zone), _utc(charted_end - weeks * WEEK, zone)),
        weeks=weeks,
        is_open=until is None,
    )


def _utc(local: datetime, zone: ZoneInfo) -> datetime:
    return local.replace(tzinfo=zone).astimezone(UTC)
