"""Ingestor for events that Onhook fetches, or that a command imports."""

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


def create_ingestor(*, appdb: AppDb, ledger: Ledger, clock: Clock) -> Ingestor:
    """Return the ingestor of a process that fetches events."""
    registry = AppDbPbxRegistry(appdb, on_error=_log_appdb_error)
    return Ingestor(ledger=ledger, registry=registry, dialects=dialects(), clock=clock)


@asynccontextmanager
async def open_ingestor(config: Config) -> AsyncIterator[Ingestor]:
    """Yield an ingestor for a command that imports events, also while a server runs."""
    appdb = AppDb(config.appdb_file)
    try:
        ledger = SqliteLedger(config.ledger_file)
        ingestor = create_ingestor(appdb=appdb, ledger=ledger, clock=SystemClock())
        try:
            yield ingestor
        finally:
            await ingestor.close()
            await ledger.close()
    finally:
        appdb.close()


def _log_appdb_error(error: OnhookError) -> None:
    logging.getLogger("appdb").error(
        "cannot read the application database: using the last known values", extra={"error": str(error)}
    )
