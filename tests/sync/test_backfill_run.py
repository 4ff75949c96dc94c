"""One back-fill: progress, coverage and alarms, with a source in memory."""

from datetime import UTC, datetime

import pytest

from onhook.cdr.sync_types import BackfillProgress, BackfillRequest, BackfillResult
from onhook.lib.errors import Unavailable
from onhook.pbx.client import SystemFacts
from onhook.sync.backfill_run import BackfillRunner, build_backfill_result, missed_alarm, unreadable_alarm
from onhook.sync.contract import BackfillTotals
from tests.pbx.yeastar.lists import NOON
from tests.sync.harness import MemoryBackfillSource, MemorySyncState

HOUR = 3600
DAY = 24 * HOUR
SINCE = datetime.fromtimestamp(NOON - 3 * DAY, UTC)


class RunnerHarness:
    """Back-fills of one PBX at noon; `resumed_count` counts the resumed ones."""

    def __init__(self) -> None:
        self.state = MemorySyncState()
        self.source = MemoryBackfillSource()
        self.progress_seen: list[BackfillTotals] = []
        self.resumed_count = 0
        self._runner = BackfillRunner(
            source=self.source,
            state=self.state,
            registered_at=NOON,
            now=lambda: float(NOON),
            on_resumed=self._count_resumed,
        )

    def _count_resumed(self) -> None:
        self.resumed_count += 1

    async def run(self) -> BackfillTotals:
        return await self._runner.run(
            SINCE, None, compares_days=False, on_progress=lambda totals, window: self.progress_seen.append(totals)
        )


@pytest.fixture
async def harness() -> RunnerHarness:
    return RunnerHarness()


async def test_backfill_runner_complete_list_is_claimed(harness: RunnerHarness) -> None:
    harness.source.totals = BackfillTotals(new=3, done_until=NOON)
    assert await harness.run() == harness.source.totals
    assert harness.progress_seen == [harness.source.totals]
    assert [interval.state for interval in harness.state.saved_intervals] == ["complete"]
    assert harness.state.saved_progress is None


async def test_backfill_runner_failing_source_claims_nothing_and_resumes(harness: RunnerHarness) -> None:
    harness.source.error = Unavailable("the PBX is unreachable")
    with pytest.raises(Unavailable):
        await harness.run()
    assert harness.state.saved_intervals == []
    assert harness.resumed_count == 0
    await harness.run()
    assert harness.resumed_count == 1


async def test_backfill_runner_page_saves_how_far_it_came(
    harness: RunnerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved_progress: list[BackfillProgress | None] = []

    async def record_progress(progress: BackfillProgress | None) -> None:
        saved_progress.append(progress)

    monkeypatch.setattr(harness.state, "save_backfill_progress", record_progress)
    harness.source.totals = BackfillTotals(done_until=NOON - HOUR)
    await harness.run()
    assert [progress and progress.done_until for progress in saved_progress] == [NOON - 3 * DAY, NOON - HOUR, None]


async def test_backfill_runner_changed_clock_reads_by_both_times(harness: RunnerHarness) -> None:
    """The first back-fill after the change includes calls of the time before."""
    for clock in (NOON - 2 * HOUR, NOON):
        harness.source.facts = SystemFacts(clock=clock)
        await harness.run()
    assert harness.source.windows[1].since == NOON - 3 * DAY - 2 * HOUR
    await harness.run()
    assert harness.source.windows[2].since == NOON - 3 * DAY


async def test_backfill_runner_result_sets_its_alarms(harness: RunnerHarness) -> None:
    harness.source.totals = BackfillTotals(missed=1, unreadable=2)
    await harness.run()
    assert set(harness.state.alarms) == {"missed", "unreadable"}
    harness.source.totals = BackfillTotals()
    await harness.run()
    assert harness.state.alarms == {}


def test_missed_alarm_count_is_in_the_text() -> None:
    text = missed_alarm(3)
    assert missed_alarm(0) is None
    assert text is not None
    assert "deliver: 3" in text.detail


def test_unreadable_alarm_count_is_in_the_text() -> None:
    text = unreadable_alarm(3)
    assert unreadable_alarm(0) is None
    assert text is not None
    assert "parsed: 3" in text.detail


def test_build_backfill_result_totals_are_those_of_the_request() -> None:
    request = BackfillRequest(since=0, until=None, requested_at=7)
    totals = BackfillTotals(rows=9, new=3, changed=2, same=4, unreadable=1, incomplete_reason="a row is missing")
    assert build_backfill_result(request, totals) == BackfillResult(
        requested_at=7, rows=9, new=3, changed=2, same=4, unreadable=1, incomplete_reason="a row is missing"
    )
