"""Days are compared by their number of records: a difference is a gap and an alarm."""

from datetime import UTC, datetime, timedelta

import pytest

from onhook.cdr.sync_types import BackfillProgress
from onhook.lib.errors import Unavailable
from onhook.pbx.client import SystemFacts
from onhook.sync.day_comparison import COMPARED_DAYS_MAX, compare_days, day_gap, day_window, whole_days
from tests.sync.harness import MemoryBackfillSource, MemorySyncState

FIRST_DAY = datetime(2026, 4, 25, tzinfo=UTC)
DAY = timedelta(days=1)
DAYS = [FIRST_DAY, FIRST_DAY + DAY]


@pytest.fixture
def state() -> MemorySyncState:
    state = MemorySyncState()
    state.counts = dict.fromkeys(DAYS, 10)
    return state


def read_range(since: datetime, started_at: datetime, until: datetime | None = None) -> BackfillProgress:
    """Return the progress of a back-fill that has read this range."""
    start, end = round(since.timestamp()), None if until is None else round(until.timestamp())
    return BackfillProgress(
        since=start,
        until=0,
        done_until=start,
        started_at=round(started_at.timestamp()),
        requested_since=start,
        requested_until=end,
    )


def test_whole_days_partial_first_and_last_day_are_left_out() -> None:
    days = whole_days(read_range(FIRST_DAY - timedelta(hours=1), FIRST_DAY + 2 * DAY + timedelta(hours=5)))
    assert days == DAYS


def test_whole_days_limited_range_ends_there() -> None:
    progress = read_range(FIRST_DAY - DAY, FIRST_DAY + 9 * DAY, FIRST_DAY + DAY + timedelta(hours=1))
    assert whole_days(progress) == [FIRST_DAY]


def test_whole_days_long_range_returns_the_latest() -> None:
    days = whole_days(read_range(FIRST_DAY - 400 * DAY, FIRST_DAY))
    assert (len(days), days[-1]) == (COMPARED_DAYS_MAX, FIRST_DAY - DAY)


def test_whole_days_range_within_a_day_is_empty() -> None:
    assert whole_days(read_range(FIRST_DAY + timedelta(hours=1), FIRST_DAY + timedelta(hours=9))) == []


def test_day_window_ends_before_the_next_day() -> None:
    window = day_window(FIRST_DAY)
    assert window.until - window.since == 86_399


@pytest.mark.parametrize(("pbx_count", "local_count"), [(None, 0), (3, 3), (2, 3)])
def test_day_gap_no_record_missing_is_none(pbx_count: int | None, local_count: int) -> None:
    assert day_gap(FIRST_DAY, pbx_count, local_count) is None


def test_day_gap_record_missing_is_the_whole_day() -> None:
    gap = day_gap(FIRST_DAY, 3, 2)
    assert gap is not None
    assert (gap.since, gap.until, gap.state) == (FIRST_DAY, FIRST_DAY + DAY, "gap")
    assert "3 records that began on 2026-04-25 UTC, Onhook has 2" in gap.reason


async def test_compare_days_difference_is_a_gap_and_an_alarm(state: MemorySyncState) -> None:
    await compare_days(DAYS, SystemFacts(), source=MemoryBackfillSource([10, 11]), state=state)
    assert [interval.since for interval in state.saved_intervals] == [FIRST_DAY + DAY]
    assert "2026-04-26" in state.alarms["difference"]


async def test_compare_days_equal_counts_end_the_alarm(state: MemorySyncState) -> None:
    await state.raise_alarm("difference", "some", "do something")
    await compare_days(DAYS, SystemFacts(), source=MemoryBackfillSource([10, None]), state=state)
    assert state.alarms == {}


async def test_compare_days_failing_source_keeps_what_was_compared(state: MemorySyncState) -> None:
    with pytest.raises(Unavailable):
        await compare_days(DAYS, SystemFacts(), source=MemoryBackfillSource([11]), state=state)
    assert [interval.since for interval in state.saved_intervals] == [FIRST_DAY]
