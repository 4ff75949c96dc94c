"""What the sync of one PBX keeps in the application database: its state and its tokens."""

import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from onhook.appdb.appdb import AppDb
from onhook.appdb.fence import Lease
from onhook.appdb.pbx_credentials import PbxCredentials
from onhook.cdr.coverage import Interval
from onhook.cdr.record_filter import RecordFilter
from onhook.cdr.sync_types import (
    AlarmKind,
    BackfillProgress,
    BackfillRequest,
    BackfillResult,
    PbxStatus,
    PushChannelStatus,
)
from onhook.lib.clock import Clock
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _
from onhook.store.contract import Store
from onhook.sync.contract import IntervalChange


class AppDbSyncState:
    """See the contract, `sync.contract.SyncState`. The store is needed only for comparing days."""

    def __init__(self, *, appdb: AppDb, store: Store | None, clock: Clock, sn: str) -> None:
        self._appdb = appdb
        self._store = store
        self._clock = clock
        self._sn = sn

    async def intervals(self) -> list[Interval]:
        return await self._appdb.sync_states.intervals(self._sn)

    async def change_intervals(self, change: IntervalChange) -> None:
        await self._appdb.sync_states.change_intervals(self._sn, change)

    async def pbx_status(self) -> PbxStatus | None:
        return await self._appdb.sync_states.pbx_status(self._sn)

    async def save_pbx_status(self, pbx_status: PbxStatus) -> None:
        await self._appdb.sync_states.save_pbx_status(self._sn, pbx_status)

    async def backfill_progress(self) -> BackfillProgress | None:
        return await self._appdb.sync_states.backfill_progress(self._sn)

    async def save_backfill_progress(self, progress: BackfillProgress | None) -> None:
        await self._appdb.sync_states.save_backfill_progress(self._sn, progress)

    async def backfill_request(self) -> BackfillRequest | None:
        return await self._appdb.sync_states.backfill_request(self._sn)

    async def finish_backfill_request(self, result: BackfillResult) -> None:
        await self._appdb.sync_states.finish_backfill_request(self._sn, result)

    async def save_push_channel(self, status: PushChannelStatus) -> None:
        await self._appdb.sync_states.save_push_channel(self._sn, status)

    async def pbx_argument(self) -> str:
        pbx = await self._appdb.find_pbx_by_sn(self._sn)
        return shlex.quote(self._sn if pbx is None else pbx.name)

    async def raise_alarm(self, kind: AlarmKind, detail: str, hint: str) -> None:
        await self._appdb.alarms.raise_alarm(self._sn, kind, detail, hint=hint, now_us=self._clock.microseconds())

    async def end_alarm(self, kind: AlarmKind) -> None:
        await self._appdb.alarms.end(self._sn, kind, now_us=self._clock.microseconds())

    async def expected_offset_seconds(self, time: datetime) -> int | None:
        pbx = await self._appdb.find_pbx_by_sn(self._sn)
        zone = None if pbx is None else pbx.zone_info
        offset = None if zone is None else time.astimezone(zone).utcoffset()
        return None if offset is None else round(offset.total_seconds())

    async def count_records(self, since: datetime, until: datetime) -> int:
        assert self._store is not None, "comparing days needs a store"
        return (await self._store.extent(RecordFilter(sn=self._sn, since=since, until=until))).count


class ManualSyncState(AppDbSyncState):
    """State of a manual back-fill while a server may be running: its progress is not stored."""

    async def backfill_progress(self) -> BackfillProgress | None:
        return None

    async def save_backfill_progress(self, progress: BackfillProgress | None) -> None:
        return


class AppDbTokenStore:
    """See the contract, `sync.pbx_session.TokenStore`: tokens in `onhook.db`, and a turn for changing them."""

    def __init__(self, *, appdb: AppDb, clock: Clock, sn: str, credentials: PbxCredentials) -> None:
        self._appdb = appdb
        self._clock = clock
        self._sn = sn
        self._credentials = credentials
        self._turn: Lease | None = None

    @asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        async with self._appdb.leases.turn(f"tokens:{self._sn}", self._clock) as self._turn:
            yield

    async def load_tokens(self) -> str:
        tokens = await self._appdb.pbx_credentials.tokens(self._sn, self._credentials)
        if tokens is None:
            raise Unavailable(
                _("the API address of the PBX has changed"),
                location=self._credentials.url,
                hint=_("nothing to do: the sync restarts"),
            )
        return tokens

    async def save_tokens(self, text: str) -> None:
        assert self._turn is not None, "tokens are changed under the lock"
        async with self._appdb.transaction():
            if not await self._appdb.leases.has_turn(self._turn):
                raise Unavailable(
                    _("another process changes the tokens of the PBX by now"),
                    location=self._credentials.url,
                    hint=_("Onhook retries automatically"),
                )
            await self._appdb.pbx_credentials.save_tokens(self._sn, self._credentials, text)
