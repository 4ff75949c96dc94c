"""What the exchange asks of its calls, answered from the store and the settings."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from onhook.appdb.appdb import AppDb
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.record import Call
from onhook.cdr.utc_offset import get_zone
from onhook.config import Config
from onhook.pbx.yeastar.rest import offset_of
from onhook.pbx_api.calls import NewRecord
from onhook.store.contract import CallListing, CallListResult, RecordListing, RecordListResult, Store
from onhook.store.position_notifier import PositionNotifier

WAIT_SECONDS = 3_600.0
"""Asked for again then: nobody waits for ever on one question."""


class StoreCallSource:
    """See the contract, `exchange.calls.Calls`. News are numbered as the ledger numbers their reports."""

    def __init__(self, store: Store, feed: PositionNotifier, settings: AppDb, config: Config) -> None:
        self._store = store
        self._feed = feed
        self._settings = settings
        self._zone = get_zone(config.zone)

    async def listed_records(self, asked: RecordListing) -> RecordListResult:
        return await self._store.listed_records(asked)

    async def listed_calls(self, asked: CallListing) -> CallListResult:
        return await self._store.listed_calls(asked)

    async def call_with_uid(self, uid: str, sns: Sequence[str] = ()) -> Call | None:
        return await self._store.call_with_uid(uid, sns)

    async def newest(self) -> int:
        return self._feed.position or await self._store.position()

    async def news(self, after: int, limit: int) -> Sequence[NewRecord]:
        records = await self._store.records_after(after, limit)
        return [NewRecord(number=record.seq, sn=record.sn, details=record) for record in records]

    async def wait(self, after: int) -> None:
        while not await self._feed.wait(after, WAIT_SECONDS):
            if self._feed.is_closed:
                # The house closes, and whoever waits here is cancelled.
                await asyncio.Event().wait()

    def plan_of(self, sn: str) -> NumberPlan:
        pbx = self._settings.pbx_of(sn)
        return NumberPlan() if pbx is None else pbx.plan

    async def offset_at(self, moment: datetime, sns: Sequence[str]) -> timedelta:
        """By the zone that was set; else as the latest call had it; else the zone in which people read."""
        for pbx in self._settings.pbxs():
            if pbx.zone_info is not None and (not sns or pbx.sn in sns):
                return moment.astimezone(pbx.zone_info).utcoffset() or timedelta()
        latest = await self._store.listed_records(RecordListing(sns=tuple(sns), is_descending=True, limit=1))
        if latest.data and latest.data[0].offset_from == "ids":
            return offset_of(latest.data[0].utc_offset)
        return moment.astimezone(self._zone).utcoffset() or timedelta()
