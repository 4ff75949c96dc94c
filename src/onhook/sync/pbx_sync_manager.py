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
from onhook.pbx.registry import all_dialects, all_links
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.store.contract import Store
from onhook.sync.access import caretaker_of_archive, with_rotated
from onhook.sync.adapters import SettingsKeeping, SettingsNotes, StoreKnown
from onhook.sync.api_backfill import ApiBackfill
from onhook.sync.pbx_session import PbxEndpoint, PbxSession
from onhook.sync.pbx_sync import PbxSync
from onhook.sync.push_channel import PushReceiver

LOOK_SECONDS = 0.5
"""How often we look whether the settings have changed; a look costs microseconds."""

AGAIN_SECONDS = 10.0
"""The wait before a PBX whose care failed by a fault of ours is looked after again."""

Wanted = tuple[str, str, float, PbxCredentials]
"""Serial number, dialect, when it was declared (Unix seconds), and how it is reached: another one is a new care."""


class WantedArchive(msgspec.Struct, frozen=True):
    """A PBX that we connect to, and where it keeps its CDRs."""

    sn: str
    source: CdrSource


class House(msgspec.Struct, frozen=True, kw_only=True):
    """What looking after a PBX takes."""

    data: Path
    settings: AppDb
    store: Store
    clock: Clock
    accept: Ingestor
    chance: Callable[[], float] = random.SystemRandom().random


class Cared(msgspec.Struct, frozen=True, kw_only=True):
    """One PBX that is looked after."""

    account: PbxSession
    filler: ApiBackfill
    caretaker: PbxSync
    push: PushReceiver


def account_at(wanted: Wanted, *, settings: AppDb, data: Path, clock: Clock, chance: Callable[[], float]) -> PbxSession:
    """What we are at one PBX; its tokens are shared with all others who ask it."""
    sn, dialect, _, api = wanted
    return PbxSession(
        link=all_links()[dialect],
        reached=PbxEndpoint(url=api.url, login=Login(api.client_id, api.client_secret), fingerprint=api.fingerprint),
        keeping=SettingsKeeping(settings=settings, data=data, sn=sn, api=api),
        clock=clock,
        chance=chance,
    )


@asynccontextmanager
async def cared_for(house: House, wanted: Wanted) -> AsyncIterator[Cared]:
    """Everything for one PBX, ready to be used."""
    sn, dialect, declared_at, _ = wanted
    sender = RegisteredPbx(sn=sn, dialect=dialect)
    account = account_at(wanted, settings=house.settings, data=house.data, clock=house.clock, chance=house.chance)
    filler = ApiBackfill(
        account=account,
        accept=house.accept,
        sender=sender,
        dialect=all_dialects()[dialect],
        known=StoreKnown(house.store),
    )
    notes = SettingsNotes(settings=house.settings, store=house.store, clock=house.clock, sn=sn)
    caretaker = PbxSync(account=account, filler=filler, notes=notes, declared_at=declared_at, chance=house.chance)
    push = PushReceiver(account=account, accept=house.accept, sender=sender, watch=caretaker, chance=house.chance)
    async with account:
        yield Cared(account=account, filler=filler, caretaker=caretaker, push=push)


def archive_cared_for(house: House, wanted: WantedArchive) -> PbxSync:
    """Whoever fills the gaps of one PBX from where it keeps its CDRs."""
    notes = SettingsNotes(settings=house.settings, store=house.store, clock=house.clock, sn=wanted.sn)
    return caretaker_of_archive(
        wanted.sn,
        lambda: with_rotated(wanted.source),
        settings=house.settings,
        notes=notes,
        heard=notes.stretches,
        known=StoreKnown(house.store),
        accept=house.accept,
        clock=house.clock,
        chance=house.chance,
    )


def wanted_for(pbx: Pbx, api: PbxCredentials) -> Wanted:
    """What care of a PBX depends on: its name and number plan do not count."""
    return pbx.sn, pbx.dialect, pbx.created_at.timestamp(), api


class Care:
    """Made once per process, inside its event loop."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._seen: tuple[int, int] | None = None
        self._tasks: dict[str, tuple[Wanted | WantedArchive, asyncio.Task[None]]] = {}
        self._caretakers: dict[str, PbxSync] = {}

    async def run(self) -> None:
        """Look after all of them for ever. Ends by cancellation only, and then takes leave of each."""
        try:
            while True:
                await self._look()
                await asyncio.sleep(LOOK_SECONDS)
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
            wanted, self._seen = self._wanted(), version
        except OnhookError as error:
            _tell_settings_trouble(error)
            return
        await self._end([sn for sn, (before, _) in self._tasks.items() if wanted.get(sn) != before])
        for caretaker in self._caretakers.values():
            caretaker.look_for_wish()
        for sn, one in wanted.items():
            if sn not in self._tasks:
                self._tasks[sn] = (one, asyncio.create_task(self._look_after(sn, one), name=f"care of {sn}"))

    def _wanted(self) -> Mapping[str, Wanted | WantedArchive]:
        apis, links = self._house.settings.apis.all(), all_links()
        pbxs = self._house.settings.pbxs() if apis else []
        asked = {pbx.sn: wanted_for(pbx, apis[pbx.sn]) for pbx in pbxs if pbx.sn in apis and pbx.dialect in links}
        return asked | {sn: WantedArchive(sn, source) for sn, source in self._house.settings.sources.all().items()}

    async def _end(self, sns: list[str]) -> None:
        tasks = [self._tasks.pop(sn)[1] for sn in sns]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _look_after(self, sn: str, wanted: Wanted | WantedArchive) -> None:
        """For ever; again after a fault of ours, which stays with this PBX."""
        while True:
            try:
                if isinstance(wanted, WantedArchive):
                    await self._run(sn, archive_cared_for(self._house, wanted))
                else:
                    await self._ask(wanted)
            except Exception:
                logging.getLogger("care").exception("a PBX cannot be looked after now", extra={"sn": sn})
            await asyncio.sleep(AGAIN_SECONDS)

    async def _ask(self, wanted: Wanted) -> None:
        """The push channel and the rounds of a PBX that can be asked; where one fails, both end."""
        async with cared_for(self._house, wanted) as cared:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(cared.push.run())
                    group.create_task(self._run(wanted[0], cared.caretaker))
            finally:
                await cared.account.farewell()

    async def _run(self, sn: str, caretaker: PbxSync) -> None:
        self._caretakers[sn] = caretaker
        try:
            await caretaker.run()
        finally:
            self._caretakers.pop(sn, None)


def _tell_settings_trouble(error: OnhookError) -> None:
    logging.getLogger("settings").error(
        "the settings cannot be read: what was known counts", extra={"error": str(error)}
    )
