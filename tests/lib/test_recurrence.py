"""Times that come again, beside a plain walk over all minutes of the zone."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.lib.recurrence import Frequency, Recurrence, covered_period, latest_occurrence, next_occurrence

BERLIN, LORD_HOWE, CAIRO = "Europe/Berlin", "Australia/Lord_Howe", "Africa/Cairo"
ZONES = ("UTC", BERLIN, LORD_HOWE, CAIRO, "America/St_Johns", "Asia/Kathmandu", "Pacific/Kiritimati")

recurrences = st.builds(
    Recurrence,
    frequency=st.sampled_from(["daily", "weekly", "monthly"]),
    hour=st.integers(0, 23),
    weekday=st.integers(1, 7),
    day=st.integers(1, 31),
    zone=st.sampled_from(ZONES),
)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - has one


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("hour", "after", "expected"),
    [
        (2, "2026-03-28T12:00", "2026-03-29T01:00"),  # 2:00 is left out: 3:00 of the summer time
        (2, "2026-03-29T01:00", "2026-03-30T00:00"),
        (3, "2026-03-28T12:00", "2026-03-29T01:00"),
        (2, "2026-10-24T12:00", "2026-10-25T00:00"),  # 2:00 comes twice: the first of both
        (2, "2026-10-25T00:00", "2026-10-26T01:00"),
        (7, "2026-10-24T12:00", "2026-10-25T06:00"),
    ],
)
def test_next_occurrence_on_days_on_which_clocks_are_set_is_once(hour: int, after: str, expected: str) -> None:
    assert next_occurrence(Recurrence(hour=hour, zone=BERLIN), utc(after)).time == utc(expected)


def test_next_occurrence_of_a_month_without_the_day_is_its_last_day() -> None:
    monthly = Recurrence(frequency="monthly", day=31, hour=7)
    moment, days = utc("2027-12-31T07:00"), []
    for _month in range(4):
        moment, day = next_occurrence(monthly, moment)
        days.append(day)
    assert days == [date(2028, 1, 31), date(2028, 2, 29), date(2028, 3, 31), date(2028, 4, 30)]


@given(recurrence=recurrences, moment=moments)
def test_occurrences_are_those_of_a_plain_walk_over_the_hours(recurrence: Recurrence, moment: datetime) -> None:
    """Each local day has one: the first moment at which its clock shows the hour or a later one."""
    following = next_occurrence(recurrence, moment)
    latest = latest_occurrence(recurrence, moment)
    assert latest.time <= moment < following.time
    assert next_occurrence(recurrence, latest.time) == following
    assert latest_occurrence(recurrence, following.time) == following
    zone = ZoneInfo(recurrence.zone)
    # A walk in steps of a quarter of an hour, by which all zones are apart, to the first time of that day.
    walked = following.time - timedelta(hours=30)
    while not (walked.astimezone(zone).date() == following.day and walked.astimezone(zone).hour >= recurrence.hour):
        walked += timedelta(minutes=15)
    assert walked == following.time


@pytest.mark.parametrize(
    ("frequency", "zone", "day", "hours"),
    [
        ("daily", BERLIN, date(2026, 3, 30), 23),
        ("daily", BERLIN, date(2026, 10, 26), 25),
        ("daily", LORD_HOWE, date(2026, 10, 5), 23.5),
        ("daily", CAIRO, date(2026, 4, 25), 23),  # clocks are set at midnight
        ("weekly", BERLIN, date(2026, 4, 1), 167),
        ("monthly", BERLIN, date(2026, 4, 20), 743),
    ],
)
def test_covered_period_has_whole_local_days(frequency: Frequency, zone: str, day: date, hours: float) -> None:
    since, until = covered_period(Recurrence(frequency=frequency, zone=zone), day)
    assert (until - since) == timedelta(hours=hours)
    assert until.astimezone(ZoneInfo(zone)).date() == (day.replace(day=1) if frequency == "monthly" else day)


@given(recurrence=recurrences, moment=moments)
def test_covered_periods_follow_one_another(recurrence: Recurrence, moment: datetime) -> None:
    first = next_occurrence(recurrence, moment)
    second = next_occurrence(recurrence, first.time)
    assert covered_period(recurrence, first.day)[1] == covered_period(recurrence, second.day)[0]
