"""The process that must never stop: verify, append, commit, answer. It imports nothing that only reading needs."""

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from onhook.clock import Clock
from onhook.config import Address, Config
from onhook.errors import OnhookError
from onhook.hub.child import Opened, run_child
from onhook.hub.dialects import all_dialects
from onhook.hub.door import SettingsDoor
from onhook.hub.running import receiving
from onhook.intake.accept import Accept
from onhook.intake.webhook import WebhookServer
from onhook.ledger.sqlite import SqliteLedger
from onhook.settings.settings import Settings


@asynccontextmanager
async def open_intake(config: Config, clock: Clock) -> AsyncIterator[Opened]:
    """The intake, listening. Raises `OnhookError` where it cannot."""
    with receiving(config):
        async with _open_intake(config, clock) as opened:
            yield opened


@asynccontextmanager
async def _open_intake(config: Config, clock: Clock) -> AsyncIterator[Opened]:
    settings = Settings(config.settings_file)
    try:
        ledger = SqliteLedger(config.ledger_file)
        try:
            door = SettingsDoor(settings, tell_trouble=_tell_settings_trouble)
            accept = Accept(
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
