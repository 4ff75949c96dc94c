"""Retention: expired calls are deleted, with all their events.

Invariants: off by default. A call is deleted when its newest event has expired, and nothing of it is pending for a
destination; an event is deleted when none of its calls stays. So `onhook rebuild` gives the same calls before and
after. The ledger deletes last: an interrupted cycle is completed by the next one, which finds by the events what else
to delete.
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
from onhook.lib.file_lock import file_lock
from onhook.lib.timestamps import to_datetime
from onhook.ops.rebuild import LOCK_NAME, rebuilt_store_path
from onhook.projector import DeletionCheck, Projector

CYCLE_SECONDS = 6 * 3600.0
"""Retention is in days, so hours of delay do not matter; a cycle reads all expired events."""

INITIAL_DELAY_SECONDS = 60.0
"""After a start other work is more urgent."""

SLICE_RAW_EVENTS = 500
"""Events deleted at once: the intake waits for a batch, which takes some milliseconds."""

DAY_MICROSECONDS = 86_400 * 1_000_000


class RetentionTotals(msgspec.Struct, frozen=True):
    """Deletions of one cycle."""

    raw_events: int = 0
    calls: int = 0


class Retention:
    """Created once per process."""

    def __init__(self, *, config: Config, appdb: AppDb, ledger: Ledger, projector: Projector, clock: Clock) -> None:
        self._days = config.keep_days
        self._config = config
        self._appdb = appdb
        self._ledger = ledger
        self._projector = projector
        self._clock = clock

    async def run(self) -> None:
        """Run cycles until cancelled."""
        await asyncio.sleep(INITIAL_DELAY_SECONDS)
        while True:
            try:
                await self.run_cycle()
            except OnhookError as error:
                log = logging.getLogger("retention")
                log.error("cannot delete old calls", extra={"error": str(error)})
            await asyncio.sleep(CYCLE_SECONDS)

    async def run_cycle(self) -> RetentionTotals:
        """Delete everything that has expired, with an entry in the audit log. Not while the store is being rebuilt or a
        rebuilt one is not in use yet: it would bring deleted calls back, without events.
        """
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
                # Also for an interrupted cycle: deleted is deleted.
                self._write_audit_entry(totals)
            return totals

    async def _delete_slices(self, overrides: Mapping[str, int], shortest_days: int) -> AsyncIterator[RetentionTotals]:
        """Delete a batch at a time, up to the first event that is younger than the shortest retention."""
        now_us = self._clock.microseconds()
        after = 0
        # The last event stays: the next one is numbered after it, and the store's position is compared with it.
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
        """Return the number up to which no destination has pending events."""
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
    """Return the time before which received events have expired; with FOR_EVER none has."""
    return now_us - days * DAY_MICROSECONDS if days != FOR_EVER else -1
