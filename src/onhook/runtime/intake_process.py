"""The process that must never stop: verify, append, commit, answer. It imports nothing that only reading needs."""

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from onhook.appdb.appdb import AppDb
from onhook.config import Address, Config
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.ops.instance_lock import receiving
from onhook.pbx.registry import all_dialects
from onhook.receiver.http_server import WebhookServer
from onhook.receiver.ingest import Ingestor
from onhook.runtime.adapters.registry import SettingsDoor
from onhook.runtime.child import Opened, run_child


@asynccontextmanager
async def open_intake(config: Config, clock: Clock) -> AsyncIterator[Opened]:
    """The intake, listening. Raises `OnhookError` where it cannot."""
    with receiving(config):
        async with _open_intake(config, clock) as opened:
            yield opened


@asynccontextmanager
async def _open_intake(config: Config, clock: Clock) -> AsyncIterator[Opened]:
    settings = AppDb(config.settings_file)
    try:
        ledger = SqliteLedger(config.ledger_file)
        try:
            door = SettingsDoor(settings, tell_trouble=_tell_settings_trouble)
            accept = Ingestor(
                ledger=ledger, door=door, dialects=all_dialects(), clock=clock, tell_trouble=_tell_ledger_trouble
            )
            server = WebhookServer(accept=accept, clock=clock)
            port = await server.start(config.intake)
            try:
                yield Opened(str(Address(config.intake.host, port)))
            finally:
                await server.stop()
                await accept.close()
        finally:
            await ledger.close()
    finally:
        settings.close()


def _tell_ledger_trouble(error: OnhookError | None) -> None:
    log = logging.getLogger("ledger")
    if error is None:
        log.info("the ledger can be written again")
    else:
        log.error("the ledger cannot be written: reports are answered 503", extra={"error": str(error)})


def _tell_settings_trouble(error: OnhookError) -> None:
    logging.getLogger("settings").error(
        "the settings cannot be read: what was known counts", extra={"error": str(error)}
    )


if __name__ == "__main__":
    sys.exit(run_child("intake", open_intake))
