"""Retention: expired calls are deleted, with all their events.

Invariants: off by default. A call is deleted when its newest event has expired, and nothing of it is pending for a
destination; an event is deleted when none of its calls stays. So `onhook rebuild` gives the same calls before and
after. The ledger deletes last, and keeps a fingerprint: an interrupted cycle is completed by the next one, which finds
by the events what else to delete, and a deleted event that is received again is not kept.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from onhook.appdb.alarms import Alarm
from onhook.appdb.appdb import AppDb
from onhook.appdb.retention_overrides import FOR_EVER
from onhook.appdb.stored_json import RowUnreadable
from onhook.cdr.identity import CallKey, fold_sn
from onhook.cdr.merge import ROW_CHANNELS
from onhook.cdr.record import Record
from onhook.config import Config
from onhook.ledger.contract import CONTROL_DIALECT, Ledger, RawEvent
from onhook.lib.clock import Clock
from onhook.lib.file_lock import file_lock_soon
from onhook.lib.messages import _
from onhook.lib.periodic_job import run_periodically
from onhook.lib.timestamps import to_datetime
from onhook.lib.transition_log import TransitionLog
from onhook.ops.event_deletion import EventDeletion, store_name
from onhook.ops.rebuild import LOCK_NAME, rebuilt_store_path
from onhook.projector.projector import Projector
from onhook.store.contract import Store

CYCLE_SECONDS = 6 * 3600.0
"""Retention is in days, so hours of delay do not matter; a cycle reads all expired events."""

INITIAL_DELAY_SECONDS = 60.0
"""After a start other work is more urgent."""

SLICE_RAW_EVENTS = 500
"""Events whose calls leave the store in one transaction; the ledger deletes them in smaller parts."""

DAY_MICROSECONDS = 86_400 * 1_000_000

WRONG_CLOCK_KINDS = frozenset({"clock", "skew"})
"""Alarms of a wrong clock, by the times of calls and by what the PBX's API reports."""

WRONG_CLOCK_MARGIN = timedelta(days=1)
"""Before such an alarm and after it: it begins after some calls, and a PBX's list is read once a night at least."""


class RetentionTotals(msgspec.Struct, frozen=True):
    """Deletions of one cycle."""

    raw_events: int = 0
    calls: int = 0


class Retention:
    """Created once per process."""

    def __init__(
        self, *, config: Config, appdb: AppDb, ledger: Ledger, store: Store, projector: Projector, clock: Clock
    ) -> None:
        self._config = config
        self._appdb = appdb
        self._ledger = ledger
        self._store = store
        self._projector = projector
        self._clock = clock

    async def run(self) -> None:
        """Run cycles until cancelled."""
        await asyncio.sleep(INITIAL_DELAY_SECONDS)
        log = logging.getLogger("retention")
        failure_log = TransitionLog(log, begins="cannot delete old calls", ends="old calls are deleted again")
        await run_periodically(self.run_cycle, CYCLE_SECONDS, failure_log)

    async def run_cycle(self) -> RetentionTotals:
        """Delete everything that has expired, with an entry in the audit log. Not while the store is being rebuilt or a
        rebuilt one is not in use yet: it would bring deleted calls back, without events.
        """
        limits = await self._read_limits()
        if limits.shortest_days is None:
            return RetentionTotals()
        async with file_lock_soon(self._config.data / LOCK_NAME) as has_lock:
            if not has_lock or rebuilt_store_path(self._config).exists():
                return RetentionTotals()
            cycle = _Cycle(
                self._appdb, self._ledger, self._store, self._projector, limits, name=store_name(self._config)
            )
            try:
                await cycle.run()
            finally:
                # Also for an interrupted cycle: deleted is deleted.
                await self._write_audit_entry(cycle.totals)
            return cycle.totals

    async def _check_limits(self) -> None:
        """Check that each row can be read that may keep a call longer. Raises `RowUnreadable`."""
        appdb = self._appdb
        repositories = (appdb.installation_retention, appdb.retention_overrides, appdb.serial_numbers, appdb.alarms)
        for repository in repositories:
            for row in await repository.list_unreadable():
                raise RowUnreadable(
                    _("nothing is deleted: {name} in {table} may keep calls longer", name=row.name, table=row.table),
                    location="onhook.db",
                    hint=row.reason,
                )

    async def _read_limits(self) -> "_Limits":
        await self._check_limits()
        installation_days = await self._appdb.installation_retention.get()
        return _Limits(
            now_us=self._clock.microseconds(),
            days=self._config.keep_days if installation_days is None else installation_days,
            overrides=await self._appdb.retention_overrides.all(),
            owners=await self._appdb.serial_numbers.owners(),
            wrong_clock_periods=_wrong_clock_periods(await self._appdb.alarms.all()),
        )

    async def _write_audit_entry(self, totals: RetentionTotals) -> None:
        if totals != RetentionTotals():
            await self._appdb.audit.add(
                now_us=self._clock.microseconds(),
                actor="onhook",
                credential="retention",
                address="",
                action=f"deleted expired calls: {totals.calls}, raw events: {totals.raw_events}",
                status=200,
            )


class _Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What has expired at one moment: by the time when it was received; and a row of the PBX's list, which may be old
    when it is received, by the time of its call too, unless the PBX's clock was wrong when it was received.

    `owners` are the registered serial numbers of PBXs by their further ones, folded; `wrong_clock_periods` are begin
    and end (None: not yet) of the periods in which the clock of a PBX was wrong, by its serial number.
    """

    now_us: int
    days: int
    overrides: Mapping[str, int]
    owners: Mapping[str, str]
    wrong_clock_periods: Mapping[str, Sequence[tuple[datetime, datetime | None]]]

    @property
    def shortest_days(self) -> int | None:
        """Return the shortest retention; None where nothing is ever deleted."""
        return min((days for days in (self.days, *self.overrides.values()) if days != FOR_EVER), default=None)

    @property
    def shortest_cutoff_us(self) -> int:
        """Return the time before which something may have expired."""
        return _cutoff_us(self.now_us, FOR_EVER if self.shortest_days is None else self.shortest_days)

    def cutoff_us(self, sn: str) -> int:
        """Return the time before which events of the PBX with this serial number have expired."""
        return _cutoff_us(self.now_us, self.overrides.get(self.owners.get(fold_sn(sn), sn), self.days))

    def is_expired(self, record: Record) -> bool:
        """Return whether a leg has expired."""
        cutoff = to_datetime(self.cutoff_us(record.sn))
        return record.received_at < cutoff or (
            record.via in ROW_CHANNELS
            and (record.ended_at or record.started_at) < cutoff
            and not self._had_wrong_clock(record)
        )

    def _had_wrong_clock(self, record: Record) -> bool:
        """Return whether the clock of the PBX was wrong about when a record was received."""
        return any(
            record.received_at >= began_at - WRONG_CLOCK_MARGIN
            and (ended_at is None or record.received_at < ended_at + WRONG_CLOCK_MARGIN)
            for began_at, ended_at in self.wrong_clock_periods.get(record.sn, ())
        )


class _Cycle:
    """One cycle, and what it has deleted so far."""

    def __init__(
        self, appdb: AppDb, ledger: Ledger, store: Store, projector: Projector, limits: _Limits, *, name: str
    ) -> None:
        self.totals = RetentionTotals()
        self._appdb = appdb
        self._ledger = ledger
        self._store = store
        self._projector = projector
        self._limits = limits
        self._deletion = EventDeletion(appdb, ledger, store, projector, name)

    async def run(self) -> None:
        """Delete a batch at a time, up to the position of every destination."""
        await self._deletion.load()
        # What an interrupted cycle has entered is applied first.
        await self._projector.catch_up_to(await self._ledger.last_control_seq())
        await self._delete_forgotten()
        # The last event stays: the next one is numbered after it, and the store's position is compared with it.
        end = min(await self._ledger.last_seq() - 1, await self._min_destination_cursor())
        # Rows first: earlier events of their calls are then found expired, and deleted in the same cycle.
        await self._delete_old_rows(end)
        await self._delete_received(end)

    async def _delete_old_rows(self, end: int) -> None:
        """Delete the calls that were old when they were received: filled gaps and imported files."""
        before = to_datetime(self._limits.shortest_cutoff_us)
        channels, after = sorted(ROW_CHANNELS), 0
        while records := await self._store.records_by_channel(channels, before, after, SLICE_RAW_EVENTS):
            after = records[-1].seq
            expired_keys = {(record.sn, record.call_id) for record in records if self._limits.is_expired(record)}
            seqs = {leg.seq for leg in await self._store.legs(sorted(expired_keys)) if leg.seq <= end}
            await self._delete(await self._ledger.get(sorted(seqs)), end)

    async def _delete_received(self, end: int) -> None:
        """Delete in the order of events, up to the first that is younger than the shortest retention."""
        after = 0
        while after < end:
            raw_events = [
                raw_event for raw_event in await self._ledger.read(after, SLICE_RAW_EVENTS) if raw_event.seq <= end
            ]
            if not raw_events or raw_events[0].received_at >= self._limits.shortest_cutoff_us:
                break
            after = raw_events[-1].seq
            await self._delete(
                [
                    event
                    for event in raw_events
                    if event.dialect != CONTROL_DIALECT and event.received_at < self._limits.cutoff_us(event.sn)
                ],
                end,
            )

    async def _delete(self, raw_events: Sequence[RawEvent], end: int) -> None:
        async def find_remaining(calls: Mapping[CallKey, Sequence[Record]]) -> set[CallKey]:
            expired_keys = [
                key
                for key, legs in calls.items()
                if all(leg.seq <= end and self._limits.is_expired(leg) for leg in legs)
            ]
            return calls.keys() - set(expired_keys) | await self._appdb.deliveries.find_undelivered(expired_keys)

        pending_seqs = self._deletion.list_pending()
        new_events = [event for event in raw_events if event.seq not in pending_seqs]
        result = await self._projector.forget(new_events, find_remaining) if new_events else None
        if result is not None:
            self.totals = RetentionTotals(self.totals.raw_events, self.totals.calls + result.call_count)
            self._deletion.add(result.seq, result.entry)
        await self._delete_forgotten()

    async def _delete_forgotten(self) -> None:
        count = await self._deletion.delete_events(now_us=self._limits.now_us)
        self.totals = RetentionTotals(self.totals.raw_events + count, self.totals.calls)

    async def _min_destination_cursor(self) -> int:
        """Return the number up to which no destination has pending events."""
        min_cursor = await self._appdb.destinations.min_cursor()
        return 2**63 - 1 if min_cursor is None else min_cursor


def _wrong_clock_periods(alarms: Iterable[Alarm]) -> Mapping[str, Sequence[tuple[datetime, datetime | None]]]:
    """Return begin and end of the alarms of a wrong clock, also of those that have ended, by PBX."""
    periods: dict[str, list[tuple[datetime, datetime | None]]] = {}
    for alarm in alarms:
        if alarm.kind in WRONG_CLOCK_KINDS:
            periods.setdefault(alarm.sn, []).append((alarm.began_at, alarm.ended_at))
    return periods


def _cutoff_us(now_us: int, days: int) -> int:
    """Return the time before which received events have expired; with FOR_EVER none has."""
    return now_us - days * DAY_MICROSECONDS if days != FOR_EVER else -1
