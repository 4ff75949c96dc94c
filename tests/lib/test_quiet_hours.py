"""Quiet hours, beside the clock of the zone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from onhook.lib.quiet_hours import QuietHours


@pytest.mark.parametrize(("begin", "end"), [(22, 7), (7, 22), (0, 1), (23, 0), (0, 0), (5, 5)])
def test_quiet_hours_are_those_of_the_clock_also_where_it_is_set(begin: int, end: int) -> None:
    zone = ZoneInfo("Europe/Berlin")
    hours = QuietHours(begin=begin, end=end, zone=zone.key)
    quiet = set(range(begin, end)) if begin <= end else {*range(begin, 24), *range(end)}
    moment = datetime(2026, 10, 24, tzinfo=UTC)
    for _quarter in range(4 * 48):
        assert hours.contains(moment) is (moment.astimezone(zone).hour in quiet)
        moment += timedelta(minutes=15)
