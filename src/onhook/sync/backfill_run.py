"""One back-fill of a PBX: read its list of calls, store what is missing, claim the coverage, report what was wrong.

Invariants: back-fills of one PBX run one after another. Progress is stored after each page, so that the next back-fill
resumes. Coverage is claimed only after the whole window was read.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime

import msgspec

from onhook.cdr.sync_types import BackfillProgress, BackfillRequest, BackfillResult
from onhook.lib.messages import _
from onhook.pbx.client import SystemFacts
from onhook.sync.alarms import AlarmText, set_alarm
from onhook.sync.backfill_plan import BackfillPlan, plan_backfill
from onhook.sync.clock_check import check_clock
from onhook.sync.contract import BackfillSource, BackfillState, BackfillTotals, SyncProgressCallback
from onhook.sync.coverage_claims import claim_coverage
from onhook.sync.day_comparison import compare_days, whole_days


class BackfillRunner:
    """Runs the back-fills of one PBX, whose push channel should deliver all calls from `registered_at` on.

    `registered_at` and the result of `now` are Unix seconds. `on_resumed` is called after a back-fill that was resumed:
    calls that ended since it began are fetched by the next one.
    """

    def __init__(
        self,
        *,
        source: BackfillSource,
        state: BackfillState,
        registered_at: float,
        now: Callable[[], float],
        on_resumed: Callable[[], None],
    ) -> None:
        self._source = source
        self._state = state
        self._registered_at = registered_at
        self._now = now
        self._on_resumed = on_resumed
        self._lock = asyncio.Lock()

    async def run(
        self, since: datetime, until: datetime | None, *, compares_days: bool, on_progress: SyncProgressCallback
    ) -> BackfillTotals:
        """Read the calls that began from `since` on, up to `until` or now. Raises `OnhookError`."""
        async with self._lock:
            facts = await self._source.get_facts()
            plan = await self._begin(since, until, facts)
            totals = await self._read_list(plan, facts, on_progress)
            await self._store_result(plan.progress, totals)
            if compares_days:
                await compare_days(whole_days(plan.progress), facts, source=self._source, state=self._state)
            if plan.is_resumed:
                self._on_resumed()
            return totals

    async def _begin(self, since: datetime, until: datetime | None, facts: SystemFacts) -> BackfillPlan:
        """Return the plan; store the PBX's status and the progress."""
        previous_status = await self._state.pbx_status()
        plan = plan_backfill(
            since,
            until,
            unfinished_progress=await self._state.backfill_progress(),
            status=await check_clock(self._state, facts, self._now()),
            previous_status=previous_status,
            registered_at=self._registered_at,
        )
        await self._state.save_backfill_progress(plan.progress)
        return plan

    async def _read_list(
        self, plan: BackfillPlan, facts: SystemFacts, on_progress: SyncProgressCallback
    ) -> BackfillTotals:
        """Store the calls of the window; store the progress after each page, and none once all are stored."""

        async def save_progress(totals: BackfillTotals) -> None:
            await self._state.save_backfill_progress(
                msgspec.structs.replace(plan.progress, done_until=totals.done_until)
            )
            on_progress(totals, plan.window)

        totals = await self._source.backfill(
            plan.window, facts, missed_window=plan.missed_window, on_progress=save_progress
        )
        await self._state.save_backfill_progress(None)
        return totals

    async def _store_result(self, progress: BackfillProgress, totals: BackfillTotals) -> None:
        """Store the coverage that was compared, and raise or end the alarms about the result."""
        await set_alarm(self._state, "missed", missed_alarm(totals.missed))
        await set_alarm(self._state, "unreadable", unreadable_alarm(totals.unreadable))
        await self._state.change_intervals(lambda intervals: claim_coverage(intervals, progress, totals))


def missed_alarm(count: int) -> AlarmText | None:
    """Return the alarm for calls that the push channel has missed, None if there are none."""
    if not count:
        return None
    return AlarmText(
        _("records of ended calls that the push channel did not deliver: {count}", count=count),
        _("they have been back-filled; check whether the PBX can reach the intake; see `onhook coverage`"),
    )


def unreadable_alarm(count: int) -> AlarmText | None:
    """Return the alarm for rows that could not be parsed, None if there are none."""
    if not count:
        return None
    return AlarmText(
        _("rows of the PBX's list that could not be parsed: {count}", count=count),
        _("they are stored: `onhook quarantine list` shows the reasons"),
    )


def build_backfill_result(request: BackfillRequest, totals: BackfillTotals) -> BackfillResult:
    """Return the result of a requested back-fill."""
    return BackfillResult(
        requested_at=request.requested_at,
        rows=totals.rows,
        new=totals.new,
        changed=totals.changed,
        same=totals.same,
        unreadable=totals.unreadable,
        incomplete_reason=totals.incomplete_reason,
    )
