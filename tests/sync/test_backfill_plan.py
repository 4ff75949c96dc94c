"""Plan of a back-fill: window, resumption, and the time in which calls count as missed."""

from datetime import UTC, datetime

import pytest

from onhook.cdr.sync_types import BackfillProgress, PbxStatus
from onhook.pbx.client import TimeWindow
from onhook.sync.backfill_plan import (
    WINDOW_AHEAD_SECONDS,
    missed_window,
    new_progress,
    plan_backfill,
    resumable_progress,
)
from onhook.sync.clock_check import CLOCK_SKEW_SECONDS_MAX

NOW = 1_777_287_600
HOUR = 3600
DAY = 86_400


def time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def unfinished(since: int, until: int | None = None) -> BackfillProgress:
    return BackfillProgress(
        since=since,
        until=NOW,
        done_until=since + HOUR,
        started_at=NOW - HOUR,
        requested_since=since,
        requested_until=until,
    )


@pytest.mark.parametrize(
    ("progress", "until"),
    [
        (unfinished(NOW - 2 * DAY), None),
        (unfinished(NOW - 2 * DAY), NOW),
        (unfinished(NOW - DAY), None),
        (unfinished(NOW - DAY, NOW), NOW),
        (unfinished(NOW - DAY, NOW), NOW - HOUR),
    ],
    ids=["begins earlier", "up to now", "same", "same with end", "ends later"],
)
def test_resumable_progress_covering_range_is_resumed(progress: BackfillProgress, until: int | None) -> None:
    assert resumable_progress(progress, time(NOW - DAY), None if until is None else time(until)) == progress


@pytest.mark.parametrize(
    ("progress", "until"),
    [
        (None, None),
        (unfinished(NOW - HOUR), None),
        (unfinished(NOW - DAY, NOW - HOUR), NOW),
        (unfinished(NOW - DAY, NOW - HOUR), None),
    ],
    ids=["none", "begins later", "ends earlier", "limited"],
)
def test_resumable_progress_smaller_range_is_not_resumed(progress: BackfillProgress | None, until: int | None) -> None:
    assert resumable_progress(progress, time(NOW - DAY), None if until is None else time(until)) is None


def test_new_progress_up_to_now_reads_into_the_future() -> None:
    progress = new_progress(time(NOW - DAY), None, now=NOW, skews=[])
    assert (progress.since, progress.until) == (NOW - DAY, NOW + WINDOW_AHEAD_SECONDS)
    assert (progress.done_until, progress.started_at, progress.requested_until) == (NOW - DAY, NOW, None)


@pytest.mark.parametrize(
    ("skews", "earlier", "later"), [([HOUR], 0, HOUR), ([-HOUR], -HOUR, 0), ([HOUR, -2 * HOUR], -2 * HOUR, HOUR)]
)
def test_new_progress_wrong_clock_extends_the_window(skews: list[int], earlier: int, later: int) -> None:
    progress = new_progress(time(NOW - DAY), time(NOW), now=NOW, skews=skews)
    assert (progress.since, progress.until) == (NOW - DAY + earlier, NOW + later)
    assert (progress.requested_since, progress.requested_until) == (NOW - DAY, NOW)


@pytest.mark.parametrize(("skews", "until"), [([], 0), ([HOUR], 0), ([-HOUR], -HOUR)])
def test_missed_window_clock_behind_ends_earlier(skews: list[int], until: int) -> None:
    progress = new_progress(time(NOW - DAY), None, now=NOW, skews=skews)
    window = TimeWindow(since=NOW - HOUR, until=NOW + until - CLOCK_SKEW_SECONDS_MAX)
    assert missed_window(progress, NOW - HOUR + 0.4, skews) == window


def test_plan_backfill_new_allows_for_both_clocks() -> None:
    """The missed calls are counted by the current clock only."""
    plan = plan_backfill(
        time(NOW - DAY),
        time(NOW),
        unfinished_progress=None,
        status=PbxStatus(checked_at=NOW, skew_seconds=0),
        previous_status=PbxStatus(checked_at=NOW - HOUR, skew_seconds=-HOUR),
        registered_at=NOW - HOUR,
    )
    assert not plan.is_resumed
    assert plan.window == TimeWindow(since=NOW - DAY - HOUR, until=NOW)
    assert plan.missed_window == TimeWindow(since=NOW - HOUR, until=NOW - CLOCK_SKEW_SECONDS_MAX)


def test_plan_backfill_unfinished_is_resumed_where_it_was() -> None:
    progress = unfinished(NOW - 2 * DAY)
    plan = plan_backfill(
        time(NOW - DAY),
        None,
        unfinished_progress=progress,
        status=PbxStatus(checked_at=NOW),
        previous_status=None,
        registered_at=0.0,
    )
    assert (plan.is_resumed, plan.progress) == (True, progress)
    assert plan.window == TimeWindow(since=progress.done_until, until=progress.until)
    assert plan.missed_window.until == progress.started_at - CLOCK_SKEW_SECONDS_MAX
