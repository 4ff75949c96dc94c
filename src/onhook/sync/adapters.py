"""What intake is handed of one PBX in place of the settings and the store."""

import asyncio
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbx_credentials import PbxCredentials
from onhook.cdr.coverage import Interval
from onhook.cdr.record import Record
from onhook.cdr.record_filter import RecordFilter
from onhook.cdr.sync_types import AlarmKind, BackfillProgress, BackfillRequest, BackfillResult, PbxStatus
from onhook.config import SECRET_FILE_MODE
from onhook.lib.clock import Clock
from onhook.lib.errors import Unavailable
from onhook.pbx.client import Window
from onhook.store.contract import PAGE_MAX, Store

LOCK_POLL_SECONDS = 0.05
"""How often we look whether another process still asks for a token: that takes as long as the PBX takes."""

UID_MARGIN = timedelta(days=1)
"""A call is looked for by its `uid` in the stretch that was asked for and around it: no zone is farther from UTC."""


class AppDbSyncState:
    """See the contract, `intake.caretaker.Notes`. Whoever compares days with the PBX hands in the store."""

    def __init__(self, *, settings: AppDb, store: Store | None, clock: Clock, sn: str) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._sn = sn

    def stretches(self) -> list[Interval]:
        return self._settings.receiving.stretches(self._sn)

    def keep_stretches(self, stretches: Sequence[Interval]) -> None:
        self._settings.receiving.keep_stretches(self._sn, stretches)

    def contact(self) -> PbxStatus | None:
        return self._settings.receiving.contact(self._sn)

    def keep_contact(self, contact: PbxStatus) -> None:
        self._settings.receiving.keep_contact(self._sn, contact)

    def progress(self) -> BackfillProgress | None:
        return self._settings.receiving.progress(self._sn)

    def keep_progress(self, progress: BackfillProgress | None) -> None:
        self._settings.receiving.keep_progress(self._sn, progress)

    def wish(self) -> BackfillRequest | None:
        return self._settings.receiving.wish(self._sn)

    def end_wish(self, outcome: BackfillResult) -> None:
        self._settings.receiving.keep_outcome(self._sn, outcome)
        request = self.wish()
        if request is not None and request.asked_at == outcome.asked_at:
            self._settings.receiving.keep_wish(self._sn, None)

    def sound(self, kind: AlarmKind, what: str, todo: str) -> None:
        self._settings.alarms.sound(self._sn, kind, what, todo=todo, at=self._clock.microseconds())

    def end(self, kind: AlarmKind) -> None:
        self._settings.alarms.end(self._sn, kind, at=self._clock.microseconds())

    def expected_offset_seconds(self, at: datetime) -> int | None:
        pbx = self._settings.pbx_of(self._sn)
        zone = None if pbx is None else pbx.zone_info
        offset = None if zone is None else at.astimezone(zone).utcoffset()
        return None if offset is None else round(offset.total_seconds())

    async def count(self, since: datetime, until: datetime) -> int:
        assert self._store is not None, "whoever compares days has a store"
        return (await self._store.extent(RecordFilter(sn=self._sn, since=since, until=until))).count


class ManualSyncState(AppDbSyncState):
    """Of a back-fill by hand, beside a server that may run: it is no affair of the server's how far it has come."""

    def progress(self) -> BackfillProgress | None:
        return None

    def keep_progress(self, progress: BackfillProgress | None) -> None:
        return


class AppDbTokenStore:
    """See the contract, `intake.account.Keeping`: the tokens in `onhook.db`, a lock in the data directory."""

    def __init__(self, *, settings: AppDb, data: Path, sn: str, api: PbxCredentials) -> None:
        self._settings = settings
        self._sn = sn
        self._api = api
        # A serial number may have characters that a file's name may not.
        self._lock = data / f"api-{hashlib.sha256(sn.encode()).hexdigest()[:16]}.lock"

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until no other process has the lock; it falls with the process, however it ends."""
        descriptor = os.open(self._lock, os.O_CREAT | os.O_RDWR, SECRET_FILE_MODE)
        try:
            while not _try_lock(descriptor):  # noqa: ASYNC110 - another process cannot set an event here
                await asyncio.sleep(LOCK_POLL_SECONDS)
            yield
        finally:
            os.close(descriptor)

    def tokens(self) -> str:
        tokens = self._settings.apis.tokens(self._sn, self._api)
        if tokens is None:
            raise Unavailable("the PBX is reached otherwise now", where=self._api.url, todo="nothing: it is begun anew")
        return tokens

    def keep_tokens(self, text: str) -> None:
        self._settings.apis.keep_tokens(self._sn, self._api, text)


class StoreCallLookup:
    """See the contract, `intake.backfill.Known`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def legs(self, keys: Sequence[tuple[str, str]]) -> Sequence[Record]:
        return await self._store.legs(keys)

    async def call_ids(self, sn: str, uids: Sequence[str], window: Window) -> Mapping[str, str]:
        since, until = (datetime.fromtimestamp(seconds, UTC) for seconds in (window.since, window.until))
        record_filter = RecordFilter(sn=sn, since=since - UID_MARGIN, until=until + UID_MARGIN)
        requested_uids, call_id_by_uid, cursor = set(uids), dict[str, str](), None
        while requested_uids - call_id_by_uid.keys():
            page = await self._store.records(record_filter, PAGE_MAX, cursor)
            call_id_by_uid |= {
                record.uid: record.call_id for record in page.data if _has_call_id(record, requested_uids)
            }
            cursor = page.next
            if cursor is None:
                break
        return call_id_by_uid


class EmptyCallLookup:
    """See the contract, `intake.backfill.Known`: where a server has the store, the ledger alone says what is new."""

    async def legs(self, keys: Sequence[tuple[str, str]]) -> Sequence[Record]:
        return ()

    async def call_ids(self, sn: str, uids: Sequence[str], window: Window) -> Mapping[str, str]:
        return {}


def _has_call_id(record: Record, uids: set[str]) -> bool:
    """Whether a record tells the id of one of these calls: one that was itself fetched without has its uid for one."""
    return record.uid in uids and record.call_id != record.uid


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
