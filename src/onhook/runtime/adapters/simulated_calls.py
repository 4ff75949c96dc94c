"""Calls of a simulated PBX for its API: queries from a temporary store, events for the sockets from memory.

Invariants: the simulator never waits; a background task stores its calls. A query sees every call that was added before
it, whatever the faults of its events. The number of calls is bounded: the oldest ones are removed first, as on a PBX.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call, to_reported_leg
from onhook.cdr.call_details import CallDetails
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.record import Call, Record
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.clock import Clock
from onhook.lib.errors import Unavailable
from onhook.pbx_api.calls import NewRecord
from onhook.runtime.engines import open_store_file
from onhook.store.contract import (
    CallListing,
    CallListResult,
    MissedCalls,
    RecordListing,
    RecordListResult,
    Store,
    StoreBatch,
)
from onhook.store.position_notifier import PositionNotifier
from onhook.store.seen_parties import SeenParty, SeenTrunk

CALLS_MAX = 50_000
"""Most of a year of the simulated office: at most some 100 MB on disk. Calls that wait for a slow disk have the same
limit, some 140 MB in memory.
"""

NEW_RECORDS_MAX = 10_000
"""Events in memory. A reader that is further behind has already lost its connection."""

CALLS_PER_TRANSACTION = 5_000
"""Some 10,000 legs: large enough to amortise a transaction, small enough to stay within some 50 MB."""

RETRY_SECONDS = 1.0
"""Wait after the disk was unavailable."""

WAIT_SECONDS = 3_600.0
"""Time-out of one wait, which is then repeated. The server limits the time of each request."""


class MalformedRecord(NewRecord, frozen=True, kw_only=True):
    """New record whose event is a corrupted body."""

    body: bytes


class SimulatedCalls:
    """See the contracts, `pbx_api.calls.CallSource` and `simulator.observer.SimulationObserver`."""

    def __init__(self, store: Store, sn: str, zone: ZoneInfo, clock: Clock, *, calls_max: int = CALLS_MAX) -> None:
        self._store = store
        self._sn = sn
        self._zone = zone
        self._facts = PbxFacts(name=sn, zone=zone)
        self._clock = clock
        self._calls_max = calls_max
        self._stored_call_ids: dict[str, None] = {}
        self._pending_legs: dict[str, list[ReportedLeg]] = {}
        self._leg_count = 0
        self._leg_added = asyncio.Event()
        self._stored_position = PositionNotifier()
        self._new_records: deque[NewRecord] = deque(maxlen=NEW_RECORDS_MAX)
        self._new_record_position = PositionNotifier()
        self._log = logging.getLogger("simulated_pbx")

    # The simulator

    def record_made(self, details: CallDetails) -> None:
        self._leg_count += 1
        leg = ReportedLeg(details=details, seq=self._leg_count, via="simulated", received_at=self._clock.now())
        self._pending_legs.setdefault(details.call_id, []).append(leg)
        if len(self._pending_legs) > self._calls_max:
            del self._pending_legs[next(iter(self._pending_legs))]
        self._leg_added.set()

    def record_sent(self, details: CallDetails, body: bytes) -> None:
        sequence = self._new_record_position.position + 1
        self._new_records.append(
            MalformedRecord(sequence=sequence, sn=self._sn, details=details, body=body)
            if body
            else NewRecord(sequence=sequence, sn=self._sn, details=details)
        )
        self._new_record_position.announce(sequence)

    async def run(self) -> None:
        """Store the calls of the simulator until cancelled."""
        while True:
            await self._leg_added.wait()
            self._leg_added.clear()
            legs, self._pending_legs, position = self._pending_legs, {}, self._leg_count
            while legs:
                batch = {call_id: legs[call_id] for call_id in islice(legs, CALLS_PER_TRANSACTION)}
                await self._store_until_it_succeeds(batch, position)
                for call_id in batch:
                    del legs[call_id]
            self._stored_position.announce(position)

    # The API

    async def list_records(self, listing: RecordListing) -> RecordListResult:
        await self._wait_until_stored()
        return await self._store.list_records(listing)

    async def list_calls(self, listing: CallListing) -> CallListResult:
        await self._wait_until_stored()
        return await self._store.list_calls(listing)

    async def find_call_by_uid(self, uid: str, sns: Sequence[str] = ()) -> Call | None:
        await self._wait_until_stored()
        return await self._store.find_call_by_uid(uid, sns)

    async def list_parties(self, sns: Sequence[str], *, is_external: bool) -> Sequence[SeenParty]:
        await self._wait_until_stored()
        return await self._store.list_parties(sns, is_external=is_external)

    async def list_trunks(self, sns: Sequence[str]) -> Sequence[SeenTrunk]:
        await self._wait_until_stored()
        return await self._store.list_trunks(sns)

    async def missed_calls(self, record_filter: RecordFilter, limit: int) -> MissedCalls:
        await self._wait_until_stored()
        return await self._store.missed_calls(record_filter, limit)

    async def latest_sequence(self) -> int:
        return self._new_record_position.position

    async def list_new_records(self, after: int, limit: int) -> Sequence[NewRecord]:
        # Numbers are consecutive, so the index of the next one is known.
        begin = max(0, after - self._new_record_position.position + len(self._new_records))
        return list(islice(self._new_records, begin, begin + limit))

    async def wait(self, after: int) -> None:
        await _wait_for(self._new_record_position, after)

    async def number_plan(self, sn: str) -> NumberPlan:
        return self._facts.number_plan

    async def recording_file(self, sn: str, name: str) -> Path | None:
        """Return None: a simulated call has no audio."""
        return None

    async def sns(self) -> Sequence[str]:
        return [self._sn]

    async def utc_offset(self, time: datetime, sns: Sequence[str]) -> timedelta:
        return time.astimezone(self._zone).utcoffset() or timedelta()

    # The store

    async def _wait_until_stored(self) -> None:
        """Wait until all calls that were added before are in the store."""
        await _wait_for(self._stored_position, self._leg_count - 1)

    async def _store_until_it_succeeds(self, legs: Mapping[str, list[ReportedLeg]], position: int) -> None:
        """Store a batch; log a failure, and try again."""
        while True:
            try:
                await self._store_batch(legs, position)
            except Unavailable as error:
                self._log.error("cannot store simulated calls, retrying", extra={"error": str(error)})
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def _store_batch(self, legs: Mapping[str, list[ReportedLeg]], position: int) -> None:
        """Store the calls of new legs, then delete the oldest calls above the limit."""
        stored_legs = await self._store.legs([(self._sn, call_id) for call_id in legs])
        calls = await asyncio.to_thread(self._assemble_calls, legs, stored_legs)
        await self._store.put(StoreBatch(calls=calls, quarantined=(), reparsed_seqs=(), position=position))
        self._stored_call_ids |= dict.fromkeys(legs)
        oldest_ids = list(islice(self._stored_call_ids, max(0, len(self._stored_call_ids) - self._calls_max)))
        if oldest_ids:
            await self._store.delete([(self._sn, call_id) for call_id in oldest_ids], ())
            for call_id in oldest_ids:
                del self._stored_call_ids[call_id]

    def _assemble_calls(self, legs: Mapping[str, list[ReportedLeg]], stored_legs: Sequence[Record]) -> list[Call]:
        """Assemble the calls from their new and their stored legs."""
        legs_by_call = {call_id: list(new_legs) for call_id, new_legs in legs.items()}
        for record in stored_legs:
            legs_by_call[record.call_id].append(to_reported_leg(record))
        return [assemble_call(self._sn, call_legs, self._facts) for call_legs in legs_by_call.values()]


@asynccontextmanager
async def open_simulated_calls(
    sn: str, zone: ZoneInfo, clock: Clock, *, calls_max: int = CALLS_MAX
) -> AsyncIterator[tuple[SimulatedCalls, asyncio.Task[None]]]:
    """Yield the calls of a simulated PBX, without calls yet, and the task that stores them; at the end remove the
    store.
    """
    with TemporaryDirectory(prefix="onhook-simulated-") as directory:
        store = await open_store_file(Path(directory) / "calls.duckdb")
        try:
            calls = SimulatedCalls(store, sn, zone, clock, calls_max=calls_max)
            task = asyncio.create_task(calls.run(), name="store simulated calls")
            try:
                yield calls, task
            finally:
                task.cancel()
                await asyncio.wait([task])
        finally:
            await store.close()


async def _wait_for(position_notifier: PositionNotifier, after: int) -> None:
    """Return when the position is past `after`."""
    while not await position_notifier.wait(after, WAIT_SECONDS):
        pass
