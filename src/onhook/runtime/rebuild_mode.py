"""The hub while its store must be rebuilt: it rebuilds, shows how far it is, and is restarted with the new store. A hub
that finds damage later is restarted to do so.

Invariants: the intake is not touched; the old file is replaced when the new one is complete; a rebuild that fails is
tried again.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from onhook.config import Address, Config
from onhook.console.rebuild_page import RebuildProgress, rebuild_app
from onhook.lib.errors import OnhookError
from onhook.lib.proxies import TrustedProxies
from onhook.ops.rebuild import RebuildProgressCallback, rebuild
from onhook.runtime.child import RunningService
from onhook.runtime.engines import ENGINES
from onhook.runtime.http_server import HttpServer
from onhook.runtime.services import Service, running
from onhook.store.contract import Store

LOG_INTERVAL_SECONDS = 5.0
RETRY_SECONDS = 30.0


@asynccontextmanager
async def open_rebuild_mode(config: Config, reason: OnhookError) -> AsyncIterator[RunningService]:
    """Rebuild the store while the context is open; `reason` says why it cannot be used."""
    progress = RebuildProgress(reason.message)
    async with (
        HttpServer(rebuild_app(progress), config.console, TrustedProxies(config.trusted_proxy_networks)) as console,
        running(Service("console", console.run), Service("rebuild", lambda: _rebuild(config, progress))),
    ):
        yield RunningService(str(Address(config.console.host, console.port)))


async def restart_when_damaged(store: Store) -> None:
    """Stop this process once its store is found damaged, so that it starts again in this mode."""
    await store.wait_for_damage()
    logging.getLogger("store").error("the store is damaged: restarting to rebuild it")
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.Event().wait()


async def _rebuild(config: Config, progress: RebuildProgress) -> None:
    """Rebuild, then stop this process, so that it starts with the new store."""
    log = logging.getLogger("rebuild")
    log.warning("rebuilding the store", extra={"reason": progress.reason})
    logged_at = time.monotonic()

    def on_progress(position: int, last_seq: int) -> None:
        nonlocal logged_at
        progress.position, progress.last_seq = position, last_seq
        if time.monotonic() - logged_at >= LOG_INTERVAL_SECONDS:
            logged_at = time.monotonic()
            log.info("rebuilding the store", extra={"position": position, "last_seq": last_seq})

    while True:
        progress.failure = await _try_rebuild(config, on_progress)
        if not progress.failure:
            break
        await asyncio.sleep(RETRY_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.Event().wait()


async def _try_rebuild(config: Config, on_progress: RebuildProgressCallback) -> str:
    """Rebuild the store; return why that failed, or an empty text."""
    log = logging.getLogger("rebuild")
    try:
        position = await rebuild(config, on_progress, ENGINES)
    except OnhookError as error:
        log.error("cannot rebuild the store", extra={"error": str(error), "retry_seconds": RETRY_SECONDS})
        return str(error)
    log.info("rebuilt the store", extra={"events": position})
    return ""
