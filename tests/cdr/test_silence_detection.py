"""Silence detection from a PBX's own past weeks."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from onhook.cdr.silence_detection import EXPECTED_CALLS_MIN, expected_calls, is_suspicious_silence

MONDAY = datetime(2026, 4, 27, tzinfo=UTC)
HOUR = timedelta(hours=1)


def office(weeks: int = 5, per_hour: int = 12) -> dict[datetime, int]:
    """Return calls by hour of an office that is open from 8 to 18 on workdays; other hours are missing."""
    hours = (MONDAY - timedelta(weeks=weeks) + number * HOUR for number in range(weeks * 7 * 24))
    return {hour: per_hour for hour in hours if 8 <= hour.hour < 18 and hour.weekday() < 5}


def test_suspicious_silence_one_hour_at_noon_but_not_at_night() -> None:
    noon, night = MONDAY + 12 * HOUR, MONDAY + 3 * HOUR
    assert expected_calls(office(), noon, noon + HOUR) == 12
    assert is_suspicious_silence(office(), noon, noon + HOUR)
    assert not is_suspicious_silence(office(), noon, noon + HOUR / 2)
    assert not is_suspicious_silence(office(), night - 8 * HOUR, night)


def test_suspicious_silence_monday_morning_but_not_weekend() -> None:
    friday = MONDAY - 2 * 24 * HOUR - 6 * HOUR
    assert not is_suspicious_silence(office(), friday, MONDAY + 8 * HOUR)
    assert is_suspicious_silence(office(), friday, MONDAY + 9 * HOUR)


def test_suspicious_silence_quiet_pbx_needs_many_hours() -> None:
    """At one call an hour, nine hours of silence are suspicious."""
    quiet = office(per_hour=1)
    assert not is_suspicious_silence(quiet, MONDAY + 8 * HOUR, MONDAY + 16 * HOUR)
    assert is_suspicious_silence(quiet, MONDAY + 8 * HOUR, MONDAY + 17 * HOUR)


def test_expected_calls_one_busy_day_is_ignored() -> None:
    hours = office(per_hour=1)
    hours[MONDAY - timedelta(weeks=1) + 12 * HOUR] = 500
    assert expected_calls(hours, MONDAY + 12 * HOUR, MONDAY + 13 * HOUR) == 1


@pytest.mark.parametrize(
    ("calls_by_weeks_ago", "expected"),
    [
        ([10, 20, 30, 15], 15),  # four weeks, the oldest of them known from this very hour on
        ([10, 20, 30, 40], 20),  # the newest week counts
        ([10, 20, 30, 40, 50], 20),  # an older week does not
        ([10, 20, 30], 20),  # a week from before the first known hour is not one without calls
        ([10, 20], 10),  # two weeks are enough
        ([10], 0),
    ],
)
def test_expected_calls_is_lower_median_of_known_weeks(calls_by_weeks_ago: Sequence[int], expected: float) -> None:
    """Calls of the hour in question, 50 here, never count."""
    noon = MONDAY + 12 * HOUR
    hours = {noon - timedelta(weeks=weeks): calls for weeks, calls in enumerate([50, *calls_by_weeks_ago])}
    assert expected_calls(hours, noon, noon + HOUR) == expected


def test_expected_calls_part_of_an_hour_counts_in_proportion() -> None:
    """Twelve calls an hour are one in five minutes; the range begins within a minute and within a second."""
    since = MONDAY + 12 * HOUR + timedelta(minutes=30, seconds=30, milliseconds=500)
    until = since + HOUR
    assert expected_calls(office(), since, until) == pytest.approx(12)
    assert expected_calls(office(), since, MONDAY + 13 * HOUR) == pytest.approx(
        (MONDAY + 13 * HOUR - since) / timedelta(minutes=5)
    )


def test_suspicious_silence_less_than_two_weeks_known_is_false() -> None:
    assert not is_suspicious_silence(office(weeks=1), MONDAY + 8 * HOUR, MONDAY + 18 * HOUR)
    assert not is_suspicious_silence({}, MONDAY, MONDAY + 18 * HOUR)
    assert EXPECTED_CALLS_MIN > 1
