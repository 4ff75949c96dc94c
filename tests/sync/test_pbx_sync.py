"""The loop of a sync: cycles, requested back-fills, reconnects."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Literal

import pytest

from onhook.cdr.coverage import Interval
from onhook.cdr.sync_types import AlarmKind, BackfillProgress, BackfillRequest
from onhook.lib.errors import NotAllowed, Unavailable
from onhook.sync.contract import BackfillTotals
from onhook.sync.pbx_sync import PbxSync
from tests.pbx.yeastar.lists import NOON
from tests.sync.harness import MemoryBackfillSource, MemorySyncState
from tests.waiting import wait_until

HOUR = 3600
DAY = 24 * HOUR
REQUEST = BackfillRequest(since=NOON - 9 * DAY, until=NOON - 8 * DAY, requested_at=7)


class NoonAccess:
    """Access to a PBX at noon."""

    alarm_kinds: Sequence[AlarmKind] = ("unreachable", "credentials")
    error_kind: AlarmKind | Literal[""] = ""

    def now(self) -> float:
        return float(NOON)


class LoopHarness:
    """A sync with a source and a state in memory. Days are compared with a source that cannot count."""

    def __init__(self) -> None:
        self.state = MemorySyncState()
        self.source = MemoryBackfillSource(counts=[None] * 1000)
        self.pbx_sync = PbxSync(
            access=NoonAccess(),
            backfill_source=self.source,
            state=self.state,
            registered_at=NOON,
            jitter=lambda: 1.0,
        )

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Run the loop while the context is open, from the end of its first cycle on."""
        task = asyncio.create_task(self.pbx_sync.run())
        try:
            await self.wait_for_backfills(1)
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    def request_backfill(self) -> None:
        self.state.pending_request = REQUEST

    async def wait_for_backfills(self, count: int) -> None:
        await wait_until(lambda: len(self.source.windows) >= count)


@pytest.fixture
async def harness() -> LoopHarness:
    return LoopHarness()


async def test_pbx_sync_first_cycle_reads_a_month_and_compares_days(harness: LoopHarness) -> None:
    await harness.state.raise_alarm("difference", "an older one", "todo")
    async with harness.run():
        await wait_until(lambda: not harness.state.alarms)
    (window,) = harness.source.windows
    assert window.since == NOON - 32 * DAY


async def test_pbx_sync_reconnect_starts_an_hourly_cycle(harness: LoopHarness) -> None:
    async with harness.run():
        await harness.pbx_sync.on_connected()
        await harness.wait_for_backfills(2)
    assert NOON - 2 * DAY < harness.source.windows[1].since < NOON - DAY


async def test_pbx_sync_rejected_login_raises_an_alarm_until_a_cycle_succeeds(harness: LoopHarness) -> None:
    harness.source.error = NotAllowed("the client id is unknown")
    async with harness.run():
        await wait_until(lambda: "credentials" in harness.state.alarms)
        harness.pbx_sync._wake.set()
        await wait_until(lambda: not harness.state.alarms)
    assert [window.since for window in harness.source.windows[:2]] == [NOON - 32 * DAY] * 2, "the whole cycle again"


async def test_pbx_sync_stop_stores_the_connected_time(harness: LoopHarness) -> None:
    async with harness.run():
        await harness.pbx_sync.on_alive(NOON, NOON + 30)
        await harness.pbx_sync.on_alive(NOON, NOON + 60)
    connected = [interval for interval in harness.state.saved_intervals if interval.state == "connected"]
    assert [interval.until.timestamp() for interval in connected] == [NOON + 60]


async def test_pbx_sync_requested_backfill_starts_soon(harness: LoopHarness) -> None:
    async with harness.run():
        await harness.pbx_sync.check_backfill_request()
        assert not harness.pbx_sync._wake.is_set()
        harness.request_backfill()
        harness.source.totals = BackfillTotals(rows=3, new=2, same=1)
        await harness.pbx_sync.check_backfill_request()
        await wait_until(lambda: harness.state.backfill_result is not None)
    result = harness.state.backfill_result
    assert result is not None
    assert (result.requested_at, result.rows, result.new, result.same, result.error) == (7, 3, 2, 1, "")
    assert harness.source.windows[1].until == NOON - 8 * DAY


async def test_run_requested_backfill_without_a_request_does_nothing(harness: LoopHarness) -> None:
    assert await harness.pbx_sync.run_requested_backfill() is None
    assert harness.source.windows == []


async def test_run_requested_backfill_failing_stores_the_error(harness: LoopHarness) -> None:
    harness.request_backfill()
    harness.source.error = Unavailable("the PBX is unreachable")
    result = await harness.pbx_sync.run_requested_backfill()
    assert result is not None
    assert (result.requested_at, result.error) == (7, "the PBX is unreachable")
    assert harness.state.pending_request is None
    assert harness.state.saved_progress is not None


async def test_backfill_resumed_is_followed_by_a_cycle(harness: LoopHarness) -> None:
    """Calls that ended since the begin of the first one are still missing."""
    since = NOON - 2 * DAY
    harness.state.saved_progress = BackfillProgress(
        since=since, until=NOON, done_until=NOON - HOUR, started_at=NOON - 60, requested_since=since
    )
    await harness.pbx_sync.backfill(datetime.fromtimestamp(since, UTC), compares_days=False)
    assert harness.source.windows[0].since == NOON - HOUR
    assert harness.pbx_sync._wake.is_set()
    assert harness.state.saved_progress is None


async def test_backfill_new_is_not_followed_by_a_cycle(harness: LoopHarness) -> None:
    await harness.pbx_sync.backfill(datetime.fromtimestamp(NOON - 2 * DAY, UTC), compares_days=False)
    assert not harness.pbx_sync._wake.is_set()


async def test_pbx_sync_gap_after_the_last_call_of_a_source_is_retried_soon(harness: LoopHarness) -> None:
    gap = Interval(datetime.fromtimestamp(NOON - HOUR, UTC), datetime.fromtimestamp(NOON - 60, UTC), "gap", "stopped")
    harness.state.saved_intervals = [gap]
    harness.source.totals = BackfillTotals(reach_since=NOON - 9 * DAY, reach_until=NOON - 2 * HOUR)
    pauses: list[float] = []

    async def stop(seconds: float) -> None:
        pauses.append(seconds)
        raise asyncio.CancelledError

    harness.pbx_sync._wait_for_wake = stop  # type: ignore[method-assign] # ends the loop
    with pytest.raises(asyncio.CancelledError):
        await harness.pbx_sync.run()
    assert pauses == [30.0]
