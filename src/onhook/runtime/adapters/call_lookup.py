"""Calls of the PBX API, from the store and the application database."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbxs import Pbx
from onhook.appdb.recordings import find_recording_file
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.cdr.utc_offset import get_zone
from onhook.config import Config
from onhook.lib.shared_read import SharedReads
from onhook.pbx.yeastar.rest import parse_utc_offset
from onhook.pbx_api.calls import NewRecord
from onhook.store.contract import (
    CallListing,
    CallListResult,
    MissedCalls,
    RecordListing,
    RecordListResult,
    Store,
)
from onhook.store.position_notifier import PositionNotifier
from onhook.store.seen_parties import SeenParty, SeenTrunk

LIST_SECONDS = 30.0
"""Age of a list of numbers: an app that polls it reads all calls this often at most."""

LISTS_MAX = 30
"""Lists in memory: those of ten apps. Each has some 2 MB at most."""

WAIT_SECONDS = 3_600.0
"""Time-out of one wait, which is then repeated."""


CLOCKS_MAX = 20
"""PBXs of one app whose clocks are compared; more are rarely in one zone."""


class StoreCallSource:
    """See the contract, `pbx_api.calls.CallSource`. New records have the numbers of their raw events."""

    def __init__(self, store: Store, position_notifier: PositionNotifier, appdb: AppDb, config: Config) -> None:
        self._store = store
        self._position_notifier = position_notifier
        self._appdb = appdb
        self._zone = get_zone(config.zone)
        self._shared_reads = SharedReads(entries_max=LISTS_MAX)

    async def list_records(self, listing: RecordListing) -> RecordListResult:
        return await self._store.list_records(listing)

    async def list_calls(self, listing: CallListing) -> CallListResult:
        return await self._store.list_calls(listing)

    async def find_call_by_uid(self, uid: str, sns: Sequence[str] = ()) -> Call | None:
        return await self._store.find_call_by_uid(uid, sns)

    async def list_parties(self, sns: Sequence[str], *, is_external: bool) -> Sequence[SeenParty]:
        return await self._shared_reads.get(
            ("parties", tuple(sns), is_external),
            lambda: self._store.list_parties(sns, is_external=is_external),
            max_age_seconds=LIST_SECONDS,
        )

    async def list_trunks(self, sns: Sequence[str]) -> Sequence[SeenTrunk]:
        return await self._shared_reads.get(
            ("trunks", tuple(sns)), lambda: self._store.list_trunks(sns), max_age_seconds=LIST_SECONDS
        )

    async def missed_calls(self, record_filter: RecordFilter, limit: int) -> MissedCalls:
        return await self._store.missed_calls(record_filter, limit)

    async def latest_sequence(self) -> int:
        return self._position_notifier.position or await self._store.position()

    async def list_new_records(self, after: int, limit: int) -> Sequence[NewRecord]:
        records = await self._store.records_after(after, limit)
        return [NewRecord(sequence=record.seq, sn=record.sn, details=record) for record in records]

    async def wait(self, after: int) -> None:
        while not await self._position_notifier.wait(after, WAIT_SECONDS):
            if self._position_notifier.is_closed:
                # The process stops, and the waiting task is cancelled.
                await asyncio.Event().wait()

    async def number_plan(self, sn: str) -> NumberPlan:
        pbx = await self._appdb.find_pbx_by_sn(sn)
        return NumberPlan() if pbx is None else pbx.number_plan

    async def recording_file(self, sn: str, name: str) -> Path | None:
        directory = await self._appdb.recordings.get(sn)
        return None if directory is None else await asyncio.to_thread(find_recording_file, directory, name)

    async def sns(self) -> Sequence[str]:
        return [pbx.sn for pbx in await self._appdb.pbxs()]

    async def utc_offset(self, time: datetime, sns: Sequence[str]) -> timedelta:
        """Return the offset that all these PBXs have; where they have several, that of the display zone: no clock is
        that of all of them.
        """
        pbxs = [pbx for pbx in await self._appdb.pbxs() if not sns or pbx.sn in sns]
        if len(pbxs) <= CLOCKS_MAX:
            offsets = [await self._offset_of(pbx, time) for pbx in pbxs] or [await self._latest_offset(sns)]
            known_offsets = {offset for offset in offsets if offset is not None}
            if len(known_offsets) == 1:
                return known_offsets.pop()
        return time.astimezone(self._zone).utcoffset() or timedelta()

    async def _offset_of(self, pbx: Pbx, time: datetime) -> timedelta | None:
        """Return the offset of the configured zone, else that of the latest call; None where neither is known."""
        if pbx.zone_info is not None:
            return time.astimezone(pbx.zone_info).utcoffset()
        return await self._latest_offset((pbx.sn,))

    async def _latest_offset(self, sns: Sequence[str]) -> timedelta | None:
        """Return the offset of the latest call of these PBXs, removed ones too, by its ids."""
        latest = await self._store.list_records(RecordListing(sns=tuple(sns), is_descending=True, limit=1))
        if latest.data and latest.data[0].offset_from == "ids":
            return parse_utc_offset(latest.data[0].utc_offset)
        return None
