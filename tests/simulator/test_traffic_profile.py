"""Start times of calls."""

from collections import Counter
from datetime import date, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from onhook.simulator.traffic_profile import generate_call_starts

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = date(2026, 6, 1)


def test_traffic_working_day_is_busy_in_the_morning_and_quiet_at_night() -> None:
    """Ten o'clock has many times the calls of three o'clock at night, and noon fewer than ten."""
    hours = Counter(start.astimezone(BERLIN).hour for start in generate_call_starts(Random(1), MONDAY, BERLIN, 5000))
    assert hours[10] > hours[12] > hours[20] > hours[3] > 0


def test_traffic_weekend_is_quieter_than_a_working_day() -> None:
    """Saturday has fewer calls than Monday, and Sunday fewer than Saturday."""
    monday, saturday, sunday = (
        len(generate_call_starts(Random(1), MONDAY + timedelta(days=days), BERLIN, 1000)) for days in (0, 5, 6)
    )
    assert monday > saturday > sunday > 0


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        (date(2026, 3, 29), "Europe/Berlin", 23),
        (date(2026, 10, 25), "Europe/Berlin", 25),
        (date(2026, 4, 5), "Australia/Lord_Howe", 24.5),
        (date(2026, 6, 1), "Asia/Kathmandu", 24),
    ],
)
def test_traffic_day_has_its_true_length(day: date, zone: str, hours: float) -> None:
    """Calls fill the day from its first moment to its last, however long it is, and are in order."""
    starts = generate_call_starts(Random(1), day, ZoneInfo(zone), 100_000)
    assert {start.astimezone(ZoneInfo(zone)).date() for start in starts} == {day}
    assert timedelta(hours=hours - 0.2) < starts[-1] - starts[0] < timedelta(hours=hours)
    assert starts == sorted(starts)
