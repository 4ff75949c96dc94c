"""The rooms opened by a command, when no server has them: the same files, read and filled in the same way."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from onhook.clock import SystemClock
from onhook.config import Config
from onhook.hub.dialects import all_dialects
from onhook.hub.facts import SettingsFacts
from onhook.hub.rebuild import adopt_rebuilt
from onhook.hub.rereading import Rereading
from onhook.hub.running import check_rights, nothing_kept
from onhook.hub.storing import store_at
from onhook.ledger.ledger import Ledger
from onhook.ledger.sqlite import SqliteLedger
from onhook.projector import Projector
from onhook.settings.settings import Settings
from onhook.store.store import Store


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """All three files of a data directory, open, and the store caught up with the ledger."""

    settings: Settings
    ledger: Ledger
    store: Store
    rereading: Rereading


@asynccontextmanager
async def open_files(config: Config, *, makes: bool = False) -> AsyncIterator[Files]:
    """Open what is there. Raises `NotFound` for a directory without a ledger, unless it `makes` one, and `OnhookError`
    where it cannot."""
    check_rights(config)
    if not makes and not config.ledger_file.exists():
        raise nothing_kept(config)
    settings = Settings(config.settings_file)
    ledger = SqliteLedger(config.ledger_file)
    try:
        await adopt_rebuilt(config, settings, SystemClock())
        store = await store_at(config.store_file)
        try:
            facts_of = SettingsFacts(settings)
            projector = Projector(ledger=ledger, store=store, dialects=all_dialects(), facts_of=facts_of)
            await projector.catch_up()
            rereading = Rereading(projector, settings, SystemClock())
            yield Files(settings=settings, ledger=ledger, store=store, rereading=rereading)
        finally:
            await store.close()
    finally:
        await ledger.close()
        settings.close()


async def last_number(config: Config) -> int:
    """The number of the last report that was kept; 0 where none was."""
    if not config.ledger_file.exists():
        return 0
    ledger = SqliteLedger(config.ledger_file)
    try:
        return await ledger.last()
    finally:
        await ledger.close()
