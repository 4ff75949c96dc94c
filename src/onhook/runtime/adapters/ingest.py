"""The door to the ledger for what we fetch ourselves, or what a command brings."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from onhook.appdb.appdb import AppDb
from onhook.config import Config
from onhook.ledger.contract import Ledger
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import Clock, SystemClock
from onhook.lib.errors import OnhookError
from onhook.pbx.registry import dialects
from onhook.receiver.ingest import Ingestor
from onhook.runtime.adapters.registry import AppDbPbxRegistry


def create_ingestor(*, settings: AppDb, ledger: Ledger, clock: Clock) -> Ingestor:
    """The door for what we fetch ourselves."""
    door = AppDbPbxRegistry(settings, tell_trouble=_tell_settings_trouble)
    return Ingestor(ledger=ledger, door=door, dialects=dialects(), clock=clock)


@asynccontextmanager
async def open_ingestor(config: Config) -> AsyncIterator[Ingestor]:
    """The door to the ledger, for a command that brings reports itself, also while a server runs."""
    settings = AppDb(config.settings_file)
    try:
        ledger = SqliteLedger(config.ledger_file)
        accept = create_ingestor(settings=settings, ledger=ledger, clock=SystemClock())
        try:
            yield accept
        finally:
            await accept.close()
            await ledger.close()
    finally:
        settings.close()


def _tell_settings_trouble(error: OnhookError) -> None:
    logging.getLogger("settings").error(
        "the settings cannot be read: what was known counts", extra={"error": str(error)}
    )
