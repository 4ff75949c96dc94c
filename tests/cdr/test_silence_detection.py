"""Silence is judged by a PBX's own weeks."""

from datetime import UTC, datetime, timedelta

from onhook.cdr.silence_detection import EXPECTED_CALLS_MIN, expected_calls, is_suspicious_silence

MONDAY = datetime(2026, 4, 27, tzinfo=UTC)
HOUR = timedelta(hours=1)


def office(weeks: int = 5, per_hour: int = 12) -> dict[datetime, int]:
    """Open from 8 to 18 on workdays; what is not there is nothing."""
    hours = (MONDAY - timedelta(weeks=weeks) + number * HOUR for number in range(weeks * 7 * 24))
    return {hour: per_hour for hour in hours if 8 <= hour.hour < 18 and hour.weekday() < 5}


def test_an_hour_of_silence_is_strange_at_noon_and_not_at_night() -> None:
    """Twelve calls should have ended by then; at night none."""
    noon, night = MONDAY + 12 * HOUR, MONDAY + 3 * HOUR
    assert expected_calls(office(), noon, noon + HOUR) == 12
    assert is_suspicious_silence(office(), noon, noon + HOUR)
    assert not is_suspicious_silence(office(), noon, noon + HOUR / 2)
    assert not is_suspicious_silence(office(), night - 8 * HOUR, night)


def test_a_weekend_is_not_strange_and_the_monday_after_it_is() -> None:
    """Only the hours count in which calls are usual."""
    friday = MONDAY - 2 * 24 * HOUR - 6 * HOUR
    assert not is_suspicious_silence(office(), friday, MONDAY + 8 * HOUR)
    assert is_suspicious_silence(office(), friday, MONDAY + 9 * HOUR)


def test_a_quiet_pbx_may_be_silent_for_long() -> None:
    """One call an hour: nine hours of work."""
    quiet = office(per_hour=1)
    assert not is_suspicious_silence(quiet, MONDAY + 8 * HOUR, MONDAY + 16 * HOUR)
    assert is_suspicious_silence(quiet, MONDAY + 8 * HOUR, MONDAY + 17 * HOUR)


def test_one_busy_day_raises_nothing() -> None:
    """The lower middle of the weeks counts."""
    hours = office(per_hour=1)
    hours[MONDAY - timedelta(weeks=1) + 12 * HOUR] = 500
    assert expected_calls(hours, MONDAY + 12 * HOUR, MONDAY + 13 * HOUR) == 1


def test_nothing_is_strange_before_two_weeks_are_known() -> None:
    """A PBX that was declared yesterday has no usual hour."""
    assert not is_suspicious_silence(office(weeks=1), MONDAY + 8 * HOUR, MONDAY + 18 * HOUR)
    assert not is_suspicious_silence({}, MONDAY, MONDAY + 18 * HOUR)
    assert EXPECTED_CALLS_MIN > 1
