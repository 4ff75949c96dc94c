"""Synchronisation with one PBX: the loop that fills gaps and runs requested back-fills.

Invariants: gaps are filled at the start, after each reconnect, every hour, and every night for the last three days.
Only compared times are claimed as complete. An error of this PBX affects no other, and raises one alarm.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from onhook.cdr.sync_types import BackfillRequest, BackfillResult, PushChannelStatus
from onhook.lib.errors import OnhookError
from onhook.lib.task_reconciler import raise_if_cancelled
from onhook.sync.alarms import ConnectionAlarms, lasting_text
from onhook.sync.backfill_run import BackfillRunner, build_backfill_result
from onhook.sync.contract import BackfillSource, BackfillTotals, PbxAccess, SyncProgressCallback, SyncState
from onhook.sync.coverage_claims import ConnectedTime, has_open_gap
from onhook.sync.sync_schedule import SyncSchedule, cycle_start


class PbxSync:
    """Sync cycles of one PBX. From `registered_at` (Unix seconds) on its push channel should deliver everything.

    See the contract of the push channel, `sync.push_channel.ChannelObserver`.
    """

    def __init__(
        self,
        *,
        access: PbxAccess,
        backfill_source: BackfillSource,
        state: SyncState,
        registered_at: float,
        jitter: Callable[[], float],
    ) -> None:
        self._access = access
        self._state = state
        self._jitter = jitter
        self._wake = asyncio.Event()
        self._connection_alarms = ConnectionAlarms(access=access, alarms=state)
        self._connected_time = ConnectedTime(state, access.now)
        self._backfill_runner = BackfillRunner(
            source=backfill_source,
            state=state,
            registered_at=registered_at,
            now=access.now,
            on_resumed=self._wake.set,
        )

    async def run(self) -> None:
        """Run cycles until cancelled; then store the connected time."""
        schedule = SyncSchedule(nightly_at=self._access.now())
        try:
            while True:
                self._wake.clear()
                await self._run_due_work(schedule)
                await self._wait_for_wake(schedule.pause_seconds(self._jitter()))
        finally:
            await self._connected_time.save()

    async def _run_due_work(self, schedule: SyncSchedule) -> None:
        """Run a requested back-fill and a cycle; an error is an alarm and plans the next attempt."""
        now = self._access.now()
        try:
            await self.run_requested_backfill()
            totals = await self.run_cycle(is_nightly=schedule.is_nightly(now))
            schedule.end_cycle(now, has_open_gap=has_open_gap(await self._state.intervals(), totals))
            await self._connection_alarms.on_succeeded()
        except OnhookError as error:
            raise_if_cancelled()
            await self.on_failed(error)
            schedule.fail_cycle()

    async def _wait_for_wake(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def run_cycle(self, *, is_nightly: bool) -> BackfillTotals:
        """Fill the gaps of the last days and compare days. Raises `OnhookError`; results up to then are stored."""
        now = datetime.fromtimestamp(self._access.now(), UTC)
        since = cycle_start(await self._state.intervals(), now, is_nightly=is_nightly)
        return await self.backfill(since, compares_days=is_nightly)

    async def backfill(
        self,
        since: datetime,
        until: datetime | None = None,
        *,
        compares_days: bool,
        on_progress: SyncProgressCallback = lambda totals, window: None,
    ) -> BackfillTotals:
        """Read the PBX's list of calls that began from `since` on, up to `until` or now. Raises `OnhookError`.

        Resumes an unfinished back-fill that covers the same time. `on_progress` receives the progress.
        """
        return await self._backfill_runner.run(since, until, compares_days=compares_days, on_progress=on_progress)

    # Requested back-fills

    async def check_backfill_request(self) -> None:
        """Start a requested back-fill soon; called after a change of the settings."""
        if await self._state.backfill_request() is not None:
            self._wake.set()

    async def run_requested_backfill(
        self, on_progress: SyncProgressCallback = lambda totals, window: None
    ) -> BackfillResult | None:
        """Run the back-fill that a user requested, if any, and store its result."""
        request = await self._state.backfill_request()
        if request is None:
            return None
        result = await self._run_request(request, on_progress)
        await self._state.finish_backfill_request(result)
        return result

    async def _run_request(self, request: BackfillRequest, on_progress: SyncProgressCallback) -> BackfillResult:
        since = datetime.fromtimestamp(request.since, UTC)
        until = None if request.until is None else datetime.fromtimestamp(request.until, UTC)
        try:
            totals = await self.backfill(since, until, compares_days=True, on_progress=on_progress)
        except OnhookError as error:
            return BackfillResult(requested_at=request.requested_at, error=lasting_text(error))
        return build_backfill_result(request, totals)

    # Called by the push channel

    async def on_alive(self, since: float, until: float) -> None:
        """Store that the channel was connected between these times."""
        await self._connected_time.extend(since, until)

    async def on_connected(self) -> None:
        """Start a cycle soon, because a channel is connected again."""
        await self._connection_alarms.on_succeeded()
        self._wake.set()

    async def on_failed(self, error: OnhookError) -> None:
        """Raise the alarm at once if only an operator can help, otherwise when the problem lasts."""
        await self._connection_alarms.on_failed(error)

    async def on_status(self, status: PushChannelStatus) -> None:
        """Store the state of the channel."""
        await self._state.save_push_channel(status)
