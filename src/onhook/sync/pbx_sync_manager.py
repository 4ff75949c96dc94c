"""The PBXs that can be asked, each looked after in tasks of its own; who they are is read from the settings.

Laws: no PBX can hold up another one, also not by failing; what people set counts within a second.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.cdr_sources import CdrSource
from onhook.appdb.pbx_credentials import PbxCredentials
from onhook.appdb.pbxs import Pbx
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.pbx.client import Login
from onhook.pbx.registry import dialects, pbx_clients
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.store.contract import Store
from onhook.sync.access import create_cdr_sync, expand_rotated_files
from onhook.sync.adapters import AppDbSyncState, AppDbTokenStore, StoreCallLookup
from onhook.sync.api_backfill import ApiBackfill
from onhook.sync.pbx_session import PbxEndpoint, PbxSession
from onhook.sync.pbx_sync import PbxSync
from onhook.sync.push_channel import PushReceiver

POLL_SECONDS = 0.5
"""How often we look whether the settings have changed; a look costs microseconds."""

RESTART_SECONDS = 10.0
"""The wait before a PBX whose care failed by a fault of ours is looked after again."""

ApiSyncSpec = tuple[str, str, float, PbxCredentials]
"""Serial number, dialect, when it was declared (Unix seconds), and how it is reached: another one is a new care."""


class CdrSourceSyncSpec(msgspec.Struct, frozen=True):
    """A PBX that we connect to, and where it keeps its CDRs."""

    sn: str
    source: CdrSource


class SyncDeps(msgspec.Struct, frozen=True, kw_only=True):
    """What looking after a PBX takes."""

    data: Path
    settings: AppDb
    store: Store
    clock: Clock
    accept: Ingestor
    chance: Callable[[], float] = random.SystemRandom().random


class PbxSyncTasks(msgspec.Struct, frozen=True, kw_only=True):
    """One PBX that is looked after."""

    account: PbxSession
    filler: ApiBackfill
    caretaker: PbxSync
    push: PushReceiver


def create_pbx_session(
    wanted: ApiSyncSpec, *, settings: AppDb, data: Path, clock: Clock, chance: Callable[[], float]
) -> PbxSession:
    """What we are at one PBX; its tokens are shared with all others who ask it."""
    sn, dialect, _, credentials = wanted
    return PbxSession(
        link=pbx_clients()[dialect],
        reached=PbxEndpoint(
            url=credentials.url,
            login=Login(credentials.client_id, credentials.client_secret),
            fingerprint=credentials.fingerprint,
        ),
        keeping=AppDbTokenStore(settings=settings, data=data, sn=sn, api=credentials),
        clock=clock,
        chance=chance,
    )


@asynccontextmanager
async def open_pbx_sync(house: SyncDeps, wanted: ApiSyncSpec) -> AsyncIterator[PbxSyncTasks]:
    """Everything for one PBX, ready to be used."""
    sn, dialect, registered_at, _ = wanted
    sender = RegisteredPbx(sn=sn, dialect=dialect)
    session = create_pbx_session(
        wanted, settings=house.settings, data=house.data, clock=house.clock, chance=house.chance
    )
    api_backfill = ApiBackfill(
        account=session,
        accept=house.accept,
        sender=sender,
        dialect=dialects()[dialect],
        known=StoreCallLookup(house.store),
    )
    sync_state = AppDbSyncState(settings=house.settings, store=house.store, clock=house.clock, sn=sn)
    pbx_sync = PbxSync(
        account=session, filler=api_backfill, notes=sync_state, declared_at=registered_at, chance=house.chance
    )
    push_receiver = PushReceiver(
        account=session, accept=house.accept, sender=sender, watch=pbx_sync, chance=house.chance
    )
    async with session:
        yield PbxSyncTasks(account=session, filler=api_backfill, caretaker=pbx_sync, push=push_receiver)


def create_cdr_sync_from_spec(house: SyncDeps, wanted: CdrSourceSyncSpec) -> PbxSync:
    """Whoever fills the gaps of one PBX from where it keeps its CDRs."""
    sync_state = AppDbSyncState(settings=house.settings, store=house.store, clock=house.clock, sn=wanted.sn)
    return create_cdr_sync(
        wanted.sn,
        lambda: expand_rotated_files(wanted.source),
        settings=house.settings,
        notes=sync_state,
        heard=sync_state.stretches,
        known=StoreCallLookup(house.store),
        accept=house.accept,
        clock=house.clock,
        chance=house.chance,
    )


def build_api_sync_spec(pbx: Pbx, api: PbxCredentials) -> ApiSyncSpec:
    """What care of a PBX depends on: its name and number plan do not count."""
    return pbx.sn, pbx.dialect, pbx.created_at.timestamp(), api


class PbxSyncManager:
    """Made once per process, inside its event loop."""

    def __init__(self, house: SyncDeps) -> None:
        self._house = house
        self._seen: tuple[int, int] | None = None
        self._tasks: dict[str, tuple[ApiSyncSpec | CdrSourceSyncSpec, asyncio.Task[None]]] = {}
        self._caretakers: dict[str, PbxSync] = {}

    async def run(self) -> None:
        """Look after all of them for ever. Ends by cancellation only, and then takes leave of each."""
        try:
            while True:
                await self._look()
                await asyncio.sleep(POLL_SECONDS)
        finally:
            await self._end(list(self._tasks))

    def is_heard_again(self, sn: str) -> None:
        """A PBX that we connect to is heard again: what was missed meanwhile is read where it keeps it."""
        if sn in self._caretakers:
            self._caretakers[sn].has_connected()

    async def _look(self) -> None:
        """Begin, end and begin again what people asked for."""
        try:
            version = self._house.settings.version()
            if version == self._seen:
                return
            specs, self._seen = self._wanted(), version
        except OnhookError as error:
            _log_appdb_error(error)
            return
        await self._end([sn for sn, (running_spec, _) in self._tasks.items() if specs.get(sn) != running_spec])
        for pbx_sync in self._caretakers.values():
            pbx_sync.look_for_wish()
        for sn, spec in specs.items():
            if sn not in self._tasks:
                self._tasks[sn] = (spec, asyncio.create_task(self._look_after(sn, spec), name=f"care of {sn}"))

    def _wanted(self) -> Mapping[str, ApiSyncSpec | CdrSourceSyncSpec]:
        credentials_by_sn, clients = self._house.settings.apis.all(), pbx_clients()
        pbxs = self._house.settings.pbxs() if credentials_by_sn else []
        api_specs = {
            pbx.sn: build_api_sync_spec(pbx, credentials_by_sn[pbx.sn])
            for pbx in pbxs
            if pbx.sn in credentials_by_sn and pbx.dialect in clients
        }
        return api_specs | {
            sn: CdrSourceSyncSpec(sn, source) for sn, source in self._house.settings.sources.all().items()
        }

    async def _end(self, sns: list[str]) -> None:
        tasks = [self._tasks.pop(sn)[1] for sn in sns]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _look_after(self, sn: str, wanted: ApiSyncSpec | CdrSourceSyncSpec) -> None:
        """For ever; again after a fault of ours, which stays with this PBX."""
        while True:
            try:
                if isinstance(wanted, CdrSourceSyncSpec):
                    await self._run(sn, create_cdr_sync_from_spec(self._house, wanted))
                else:
                    await self._ask(wanted)
            except Exception:
                logging.getLogger("care").exception("a PBX cannot be looked after now", extra={"sn": sn})
            await asyncio.sleep(RESTART_SECONDS)

    async def _ask(self, wanted: ApiSyncSpec) -> None:
        """The push channel and the rounds of a PBX that can be asked; where one fails, both end."""
        async with open_pbx_sync(self._house, wanted) as sync_tasks:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(sync_tasks.push.run())
                    group.create_task(self._run(wanted[0], sync_tasks.caretaker))
            finally:
                await sync_tasks.account.farewell()

    async def _run(self, sn: str, caretaker: PbxSync) -> None:
        self._caretakers[sn] = caretaker
        try:
            await caretaker.run()
        finally:
            self._caretakers.pop(sn, None)


def _log_appdb_error(error: OnhookError) -> None:
    logging.getLogger("settings").error(
        "the settings cannot be read: what was known counts", extra={"error": str(error)}
    )
