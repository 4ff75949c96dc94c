"""Process of the intake: verify, append, commit, answer. It imports nothing that only reading needs."""

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from onhook.appdb.appdb import AppDb
from onhook.config import Address, Config
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.ops.instance_lock import shared_intake_lock
from onhook.pbx.registry import dialects
from onhook.receiver.http_server import WebhookServer
from onhook.receiver.ingest import Ingestor
from onhook.runtime.adapters.registry import AppDbPbxRegistry
from onhook.runtime.child import RunningService, run_child


@asynccontextmanager
async def open_intake(config: Config, clock: Clock) -> AsyncIterator[RunningService]:
    """Yield the listening intake. Raises `OnhookError` where it cannot listen."""
    with shared_intake_lock(config):
        async with _open_unlocked_intake(config, clock) as service:
            yield service


@asynccontextmanager
async def _open_unlocked_intake(config: Config, clock: Clock) -> AsyncIterator[RunningService]:
    appdb = AppDb(config.appdb_file)
    try:
        ledger = SqliteLedger(config.ledger_file)
        try:
            registry = AppDbPbxRegistry(appdb, on_error=_log_appdb_error)
            ingestor = Ingestor(
                ledger=ledger, registry=registry, dialects=dialects(), clock=clock, on_ledger_error=_log_ledger_error
            )
            server = WebhookServer(ingestor=ingestor, clock=clock)
            port = await server.start(config.intake)
            try:
                yield RunningService(str(Address(config.intake.host, port)))
            finally:
                await server.stop()
                await ingestor.close()
        finally:
            await ledger.close()
    finally:
        appdb.close()


def _log_ledger_error(error: OnhookError | None) -> None:
    log = logging.getLogger("ledger")
    if error is None:
        log.info("ledger is writable again")
    else:
        log.error("cannot write to the ledger: answering 503", extra={"error": str(error)})


def _log_appdb_error(error: OnhookError) -> None:
    logging.getLogger("appdb").error(
        "cannot read the application database: using the last known values", extra={"error": str(error)}
    )


if __name__ == "__main__":
    sys.exit(run_child("intake", open_intake))
