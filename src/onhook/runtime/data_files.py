"""The rooms opened by a command, when no server has them: the same files, read and filled in the same way."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbx_facts import SettingsFacts
from onhook.config import Config
from onhook.ledger.contract import Ledger
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.ops.instance_lock import check_rights, nothing_kept
from onhook.ops.quarantine_retry import Rereading
from onhook.ops.rebuild import adopt_rebuilt
from onhook.pbx.registry import all_dialects
from onhook.projector import Projector
from onhook.runtime.engines import store_at
from onhook.store.contract import Store


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """All three files of a data directory, open, and the store caught up with the ledger."""

    settings: AppDb
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
    settings = AppDb(config.settings_file)
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
