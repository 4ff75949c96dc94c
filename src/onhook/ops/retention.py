"""Calls that are older than they are to be kept are forgotten, with all reports that said them.

Laws: off unless somebody sets it. A call goes when the newest report that it was read from is too old, and nothing of
it is owed to a subscription; a report goes when no call that it speaks of stays. So `onhook rebuild` makes the same
calls before and after. The ledger forgets last: what is cut short in between is done by the next round, which finds by
the reports what else is to go.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.retention_overrides import FOR_EVER
from onhook.cdr.record import Record
from onhook.config import Config
from onhook.ledger.contract import Ledger
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.lib.timestamps import to_datetime
from onhook.ops.instance_lock import file_lock
from onhook.ops.rebuild import LOCK_NAME, rebuilt_store_path
from onhook.projector import DeletionCheck, Projector

CYCLE_SECONDS = 6 * 3600.0
"""Days are what is counted, so hours of delay do not matter; a round reads all reports that are older than the rule."""

INITIAL_DELAY_SECONDS = 60.0
"""After a start there are more urgent things."""

SLICE_RAW_EVENTS = 500
"""At once: the intake waits for a slice to be deleted, which takes some milliseconds."""

DAY_MICROSECONDS = 86_400 * 1_000_000


class RetentionTotals(msgspec.Struct, frozen=True):
    """What one round has deleted."""

    raw_events: int = 0
    calls: int = 0


class Retention:
    """Made once per process."""

    def __init__(self, *, config: Config, appdb: AppDb, ledger: Ledger, projector: Projector, clock: Clock) -> None:
        self._days = config.keep_days
        self._config = config
        self._appdb = appdb
        self._ledger = ledger
        self._projector = projector
        self._clock = clock

    async def run(self) -> None:
        """A round now and then, for ever. Ends by cancellation only."""
        await asyncio.sleep(INITIAL_DELAY_SECONDS)
        while True:
            try:
                await self.run_cycle()
            except OnhookError as error:
                log = logging.getLogger("retention")
                log.error("cannot delete old calls", extra={"error": str(error)})
            await asyncio.sleep(CYCLE_SECONDS)

    async def run_cycle(self) -> RetentionTotals:
        """Forget all that is too old now, noted in the audit log. Not while the store is made again, or one that
        was waits to take its place: what was read for that would be back afterwards, with no report behind it."""
        overrides = self._appdb.retention_overrides.all()
        limits = [days for days in (self._days, *overrides.values()) if days != FOR_EVER]
        if not limits:
            return RetentionTotals()
        with file_lock(self._config.data / LOCK_NAME) as has_lock:
            if not has_lock or rebuilt_store_path(self._config).exists():
                return RetentionTotals()
            totals = RetentionTotals()
            try:
                async for slice_totals in self._delete_slices(overrides, min(limits)):
                    totals = RetentionTotals(
                        totals.raw_events + slice_totals.raw_events, totals.calls + slice_totals.calls
                    )
            finally:
                # Also of a round that was cut short: what is gone is gone.
                self._write_audit_entry(totals)
            return totals

    async def _delete_slices(self, overrides: Mapping[str, int], shortest_days: int) -> AsyncIterator[RetentionTotals]:
        """Forget a slice at a time, up to the first that is younger than the shortest rule."""
        now_us = self._clock.microseconds()
        after = 0
        # The last report stays: from its number the next one is told, and the store's position is compared with it.
        end = min(await self._ledger.last_seq() - 1, self._min_destination_cursor())
        while after < end:
            raw_events = [
                raw_event for raw_event in await self._ledger.read(after, SLICE_RAW_EVENTS) if raw_event.seq <= end
            ]
            if not raw_events or raw_events[0].received_at >= _cutoff_us(now_us, shortest_days):
                break
            after = raw_events[-1].seq
            expired = [
                raw_event
                for raw_event in raw_events
                if raw_event.received_at < _cutoff_us(now_us, overrides.get(raw_event.sn, self._days))
            ]
            deleted = await self._projector.delete_calls(expired, self._build_deletion_check(now_us, overrides, end))
            self._appdb.notes.delete_for_calls(deleted.calls)
            await self._ledger.delete(deleted.seqs)
            yield RetentionTotals(len(deleted.seqs), len(deleted.calls))

    def _min_destination_cursor(self) -> int:
        """Up to where nothing is owed to any subscription that reads by number."""
        min_cursor = self._appdb.destinations.min_cursor()
        return 2**63 - 1 if min_cursor is None else min_cursor

    def _build_deletion_check(self, now_us: int, overrides: Mapping[str, int], end: int) -> DeletionCheck:
        def may_delete(legs: Sequence[Record]) -> bool:
            sn, call_id = legs[0].sn, legs[0].call_id
            cutoff = to_datetime(_cutoff_us(now_us, overrides.get(sn, self._days)))
            if any(leg.received_at >= cutoff or leg.seq > end for leg in legs):
                return False
            return not self._appdb.deliveries.has_undelivered(sn, call_id)

        return may_delete

    def _write_audit_entry(self, totals: RetentionTotals) -> None:
        if totals.raw_events:
            self._appdb.audit.add(
                now_us=self._clock.microseconds(),
                actor="onhook",
                credential="retention",
                address="",
                action=f"deleted expired calls: {totals.calls}, raw events: {totals.raw_events}",
                status=200,
            )


def _cutoff_us(now_us: int, days: int) -> int:
    """What was received before this moment is too old; with FOR_EVER nothing is."""
    return now_us - days * DAY_MICROSECONDS if days != FOR_EVER else -1
