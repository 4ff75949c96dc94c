"""Times of the sync cycles."""

from datetime import UTC, datetime, timedelta

import pytest

from onhook.cdr.coverage import CALL_SECONDS_MAX, Interval
from onhook.sync.sync_schedule import (
    FIRST_SYNC_DAYS,
    HOUR_SECONDS,
    RETRY_SECONDS_FIRST,
    RETRY_SECONDS_MAX,
    SYNC_DAYS,
    SyncSchedule,
    cycle_start,
    longest_pause_seconds,
)

NOON = datetime(2026, 4, 27, 12, tzinfo=UTC)
NIGHT = datetime(2026, 4, 28, 2, 30, tzinfo=UTC).timestamp()
CALL = timedelta(seconds=CALL_SECONDS_MAX)
DAY = timedelta(days=1)


@pytest.fixture
def schedule() -> SyncSchedule:
    return SyncSchedule(nightly_at=NOON.timestamp())


def test_sync_schedule_first_cycle_is_nightly(schedule: SyncSchedule) -> None:
    assert schedule.is_nightly(NOON.timestamp())
    schedule.end_cycle(NOON.timestamp(), has_open_gap=False)
    assert not schedule.is_nightly(NIGHT - 1)
    assert schedule.is_nightly(NIGHT)


def test_sync_schedule_failed_nightly_cycle_is_repeated(schedule: SyncSchedule) -> None:
    schedule.fail_cycle()
    assert schedule.is_nightly(NOON.timestamp())


def test_sync_schedule_hourly_cycle_keeps_the_nightly_time(schedule: SyncSchedule) -> None:
    schedule.end_cycle(NOON.timestamp(), has_open_gap=False)
    schedule.end_cycle(NOON.timestamp() + HOUR_SECONDS, has_open_gap=False)
    assert schedule.nightly_at == NIGHT


def test_sync_schedule_failures_double_the_pause_until_a_success(schedule: SyncSchedule) -> None:
    pauses = [schedule.pause_seconds(jitter=1.0)]
    for _ in range(2):
        schedule.fail_cycle()
        pauses.append(schedule.pause_seconds(jitter=1.0))
    schedule.end_cycle(NOON.timestamp(), has_open_gap=False)
    pauses.append(schedule.pause_seconds(jitter=1.0))
    assert pauses == [HOUR_SECONDS, RETRY_SECONDS_FIRST, 2 * RETRY_SECONDS_FIRST, HOUR_SECONDS]


def test_sync_schedule_open_gap_is_retried_like_a_failure(schedule: SyncSchedule) -> None:
    schedule.end_cycle(NOON.timestamp(), has_open_gap=True)
    assert schedule.pause_seconds(jitter=1.0) == RETRY_SECONDS_FIRST


def test_sync_schedule_jitter_shortens_the_pause_by_a_tenth(schedule: SyncSchedule) -> None:
    assert schedule.pause_seconds(jitter=0.0) == pytest.approx(0.9 * HOUR_SECONDS)


def test_pause_seconds_after_days_of_failures_is_the_longest_wait() -> None:
    """A month of failures is more than the exponent of a float."""
    assert longest_pause_seconds(2000) == RETRY_SECONDS_MAX


def test_cycle_start_never_compared_is_a_month_ago() -> None:
    assert cycle_start([], NOON, is_nightly=True) == NOON - FIRST_SYNC_DAYS * DAY - CALL
    assert cycle_start([], NOON, is_nightly=False) == NOON - FIRST_SYNC_DAYS * DAY - CALL


def test_cycle_start_complete_until_an_hour_ago_begins_there() -> None:
    hour_ago = NOON - timedelta(hours=1)
    intervals = [Interval(NOON - 9 * DAY, hour_ago, "complete", "compared")]
    assert cycle_start(intervals, NOON, is_nightly=False) == hour_ago - CALL
    assert cycle_start(intervals, NOON, is_nightly=True) == NOON - SYNC_DAYS * DAY - CALL
