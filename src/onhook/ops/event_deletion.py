"""Deletion of the raw events of forgotten calls, once every registered store has applied the entry that names them.

Invariant: notes, the work on missed calls, and what destinations were sent go first and raw events last, so that what
was interrupted is found again by its entry. An entry goes when none of its raw events is left, another one came after
it, and every destination that follows deletions has applied it.
"""

import logging

from onhook.appdb.appdb import AppDb
from onhook.config import Config
from onhook.ledger.contract import Ledger
from onhook.ledger.control_entries import Forgotten, read_control_entries
from onhook.lib.clock import Clock
from onhook.lib.periodic_job import run_periodically
from onhook.lib.transition_log import TransitionLog
from onhook.projector.projector import Projector
from onhook.store.contract import Store

STORE_NAME = "hub"
"""The name of the one store of an installation on one machine; among several each is named for its machine."""

REPORT_SECONDS = 60.0
"""Between two reports of a store: raw events are deleted hours apart."""


def store_name(config: Config) -> str:
    """Return the name of the store of a hub."""
    return f"{STORE_NAME}@{config.node_name}" if config.ledger else STORE_NAME


class EventDeletion:
    """The entries whose raw events are to be deleted. `load` comes first."""

    def __init__(
        self, appdb: AppDb, ledger: Ledger, store: Store, projector: Projector, store_name: str = STORE_NAME
    ) -> None:
        self._store_name = store_name
        self._appdb = appdb
        self._ledger = ledger
        self._store = store
        self._projector = projector
        self._pending: dict[int, Forgotten] = {}

    def list_pending(self) -> set[int]:
        """Return the numbers of the raw events that are to be deleted."""
        return {seq for entry in self._pending.values() for seq in entry.seqs}

    async def load(self) -> None:
        """Read the entries of the ledger."""
        self._pending.clear()
        async for raw_event, entry in read_control_entries(self._ledger):
            if isinstance(entry, Forgotten):
                self.add(raw_event.seq, entry)

    def add(self, seq: int, entry: Forgotten) -> None:
        """Add the entry with this number."""
        self._pending[seq] = entry

    async def delete_events(self, *, now_us: int) -> int:
        """Delete the raw events of all entries that every store has applied; return how many. `now_us` is in
        microseconds since 1970, UTC.
        """
        behind = await report_position(self._appdb, self._store, now_us=now_us, name=self._store_name)
        count = 0
        for seq in [seq for seq in self._pending if seq <= behind]:
            count += await self._delete_events_of(seq, self._pending[seq])
            del self._pending[seq]
        return count

    async def _delete_events_of(self, seq: int, entry: Forgotten) -> int:
        settled = await self._projector.settle(seq, entry)
        raw_events = await self._ledger.get(settled.seqs)
        keys = [(call.sn, call.call_id) for call in settled.calls]
        await self._appdb.notes.delete_for_calls(keys)
        await self._appdb.missed_call_work.delete_for_calls(keys)
        await self._appdb.destination_log.delete_for_calls(keys)
        await self._appdb.deliveries.delete_delivered(keys)
        unregistered = await self._projector.count_unregistered(raw_events)
        await self._ledger.delete([raw_event.seq for raw_event in raw_events])
        await self._ledger.subtract_counts(unregistered)
        if not await self._ledger.get(settled.seqs) and await self._may_go(seq):
            await self._ledger.delete([seq])
        return len(raw_events)

    async def _may_go(self, seq: int) -> bool:
        """Return whether the entry with this number is needed no longer. The last one is: who appends the next one
        names its number.
        """
        followed_to = await self._appdb.store_positions.slowest_follower()
        return (followed_to is None or seq <= followed_to) and seq < await self._ledger.last_control_seq()


async def report_positions(appdb: AppDb, store: Store, clock: Clock, name: str) -> None:
    """Register the position of a store again and again, until cancelled: the hub that deletes is on another machine."""
    log = logging.getLogger("retention")
    failure_log = TransitionLog(log, begins="cannot report the position", ends="the position is reported again")

    async def report() -> None:
        await report_position(appdb, store, now_us=clock.microseconds(), name=name)

    await run_periodically(report, REPORT_SECONDS, failure_log)


async def report_position(appdb: AppDb, store: Store, *, now_us: int, name: str = STORE_NAME) -> int:
    """Register the store with its position; return the number that every registered store has applied. `now_us` is in
    microseconds since 1970, UTC.
    """
    position = await store.position()
    await appdb.store_positions.report(name, position, now_us=now_us)
    slowest = await appdb.store_positions.slowest(now_us=now_us)
    return position if slowest is None else min(position, slowest)
