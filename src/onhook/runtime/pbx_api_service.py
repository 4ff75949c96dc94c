"""The exchange in the hub: open while an application has credentials, and closed while none has.

Law: nothing that befalls the exchange ends the hub: a port that is taken, a certificate that cannot be read are told in
the log, and tried again.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.config import Address, Config
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.pbx_api.applications import AppRegistry
from onhook.pbx_api.calls import CallSource
from onhook.pbx_api.certificate import create_tls_context, ensure_certificate
from onhook.pbx_api.connection_limiter import listen
from onhook.pbx_api.fault_injection import FaultPolicy
from onhook.pbx_api.pushing import AppWebhookStore
from onhook.pbx_api.server import PbxApiServer
from onhook.runtime.child import ObservableAddress, Tasks

POLL_SECONDS = 0.5
"""How soon the first application finds somebody listening. To look costs microseconds."""

RESTART_SECONDS = 10.0
"""After a failure."""


class PbxApiManager:
    """Opens and closes the exchange as applications come and go."""

    def __init__(
        self, config: Config, settings: AppDb, calls: CallSource, clock: Clock, webhooks: AppWebhookStore | None = None
    ) -> None:
        self._config = config
        self._webhooks = webhooks
        self._settings = settings
        self._calls = calls
        self._clock = clock
        self._log = logging.getLogger("exchange")
        self._open = AsyncExitStack()
        self._tasks: Tasks = ()
        self.whereabouts = ObservableAddress()

    async def begin(self) -> None:
        """Open it before anybody is told where we listen, if it can be."""
        try:
            await self.look()
        except (OnhookError, OSError) as error:
            self._tell_trouble(error)

    async def look(self) -> None:
        """Open it where it is wanted and not open, close it where it is open and not wanted. Raises `OnhookError`."""
        is_wanted = bool(self._settings.apps.all())
        if is_wanted and not self.whereabouts.address:
            address, self._tasks = await self._open.enter_async_context(
                open_pbx_api(self._config, self._calls, self._settings.apps, self._clock, webhooks=self._webhooks)
            )
            # Should it be closed and opened again, then where it was.
            self._config = msgspec.structs.replace(self._config, exchange=address)
            self.whereabouts.is_now(str(address))
            self._log.info("applications may come", extra={"address": str(address)})
        elif self.whereabouts.address and not is_wanted:
            await self.close()

    async def keep(self) -> None:
        """Look again whenever somebody has changed the settings, until cancelled."""
        version: tuple[int, int] | None = None
        while True:
            delay_seconds = POLL_SECONDS
            try:
                if version != (version := self._settings.version()):
                    await self.look()
                await self._reopen_broken()
            except (OnhookError, OSError) as error:
                self._tell_trouble(error)
                version, delay_seconds = None, RESTART_SECONDS
            await asyncio.sleep(delay_seconds)

    async def close(self) -> None:
        """Let everybody go."""
        await self._open.aclose()
        self._tasks = ()
        if self.whereabouts.address:
            self.whereabouts.is_now("")

    def _tell_trouble(self, error: OnhookError | OSError) -> None:
        self._log.error("applications cannot come", extra={"error": str(error)})

    async def _reopen_broken(self) -> None:
        for task in self._tasks:
            if task.done():
                error = task.exception()
                self._log.error("the exchange has stopped and is opened again", extra={"error": repr(error)})
                await self.close()
                await self.look()
                return


@asynccontextmanager
async def open_pbx_api(
    config: Config,
    calls: CallSource,
    applications: AppRegistry,
    clock: Clock,
    *,
    trouble: FaultPolicy | None = None,
    webhooks: AppWebhookStore | None = None,
) -> AsyncIterator[tuple[Address, Tasks]]:
    """The exchange at its configured address; yields where it listens, and what runs. Raises `OnhookError`."""
    tls = _create_tls_context(config, clock)
    server_socket = listen(config.exchange.host, config.exchange.port)
    address = Address(config.exchange.host, int(server_socket.getsockname()[1]))
    server = PbxApiServer(calls=calls, applications=applications, clock=clock, trouble=trouble, webhooks=webhooks)
    async with server.opened(server_socket, tls) as tasks:
        yield address, tasks


def _create_tls_context(config: Config, clock: Clock) -> ssl.SSLContext | None:
    if config.exchange_plain:
        return None
    if not config.exchange_certificate:
        ensure_certificate(config.certificate_file, config.certificate_key_file, config.exchange.host, clock.now())
    return create_tls_context(config.certificate_file, config.certificate_key_file)
