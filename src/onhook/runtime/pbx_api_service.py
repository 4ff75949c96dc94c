"""The PBX API in the hub: open while an app has credentials, else closed.

Invariant: an error of the PBX API never ends the hub: a port in use or an unreadable certificate is logged, and
retried.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.config import Address, Config
from onhook.lib.change_watcher import ChangeWatcher
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError, UsageError
from onhook.lib.proxies import TrustedProxies
from onhook.lib.transition_log import TransitionLog
from onhook.pbx_api.calls import CallSource
from onhook.pbx_api.certificate import RenewableTlsContext, ensure_certificate
from onhook.pbx_api.connection_limiter import listen
from onhook.pbx_api.logins import SharedLoginFailures
from onhook.pbx_api.pass_through import PbxGateway
from onhook.pbx_api.pushing import AppWebhookStore
from onhook.pbx_api.server import PbxApiServer
from onhook.pbx_api.state import create_api_state
from onhook.runtime.adapters.node import prepare_certificate
from onhook.runtime.child import ObservableAddress, Tasks

POLL_SECONDS = 0.5
"""Time between two checks of the apps while the application database changes all the time."""

CHECK_SECONDS = 30.0
"""Time after which the apps are checked without a notification of a change."""

RESTART_SECONDS = 10.0
"""Wait after a failure."""


class PbxApiManager:
    """Opens and closes the PBX API when apps are added and removed."""

    def __init__(
        self,
        config: Config,
        appdb: AppDb,
        calls: CallSource,
        clock: Clock,
        *,
        webhooks: AppWebhookStore | None = None,
        gateway: PbxGateway | None = None,
        on_flood: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        self._on_flood = on_flood
        self._webhooks = webhooks
        self._gateway = gateway
        self._appdb = appdb
        self._apps = ChangeWatcher(appdb, appdb.apps.all)
        self._calls = calls
        self._clock = clock
        self._log = logging.getLogger("pbx_api")
        self._tls: RenewableTlsContext | None = None
        self._renewal_failure = TransitionLog(
            self._log, begins="the renewed certificate cannot be used", ends="the certificate can be used again"
        )
        self._exit_stack = AsyncExitStack()
        self._tasks: Tasks = ()
        self.listen_address = ObservableAddress()

    async def start(self) -> None:
        """Open it, if possible, before the address is reported."""
        try:
            await self.reconcile()
        except (OnhookError, OSError) as error:
            self._log_error(error)

    async def reconcile(self) -> None:
        """Open or close it to match the apps. Raises `OnhookError`."""
        is_wanted = bool(await self._apps.current())
        if is_wanted and not self.listen_address.address:
            state = create_api_state(
                calls=self._calls,
                apps=self._appdb.apps,
                grants=self._appdb.app_tokens,
                login_failures=SharedLoginFailures(self._appdb.failed_logins),
                clock=self._clock,
                webhooks=self._webhooks,
                gateway=self._gateway,
                trusted_proxies=TrustedProxies(self._config.trusted_proxy_networks),
                on_flood=self._on_flood,
            )
            if _generates_certificate(self._config):
                await prepare_certificate(self._config, self._appdb, self._clock)
            self._tls = _create_tls_context(self._config)
            address, self._tasks = await self._exit_stack.enter_async_context(
                _open_pbx_api(self._config, PbxApiServer(state), self._tls)
            )
            # The same port, should it be closed and opened again.
            self._config = msgspec.structs.replace(self._config, pbx_api=address)
            self.listen_address.update(str(address))
            self._log.info("PBX API is listening", extra={"address": str(address)})
        elif self.listen_address.address and not is_wanted:
            await self.close()

    async def run(self) -> None:
        """Check after each change of the settings, until cancelled; then close it."""
        try:
            while True:
                if await self._run_check():
                    await self._wait_for_change()
                else:
                    await asyncio.sleep(RESTART_SECONDS)
        finally:
            await self.close()

    async def _wait_for_change(self) -> None:
        """Wait until the apps may have changed, or the API has stopped by itself."""
        waiting = asyncio.create_task(self._apps.wait(POLL_SECONDS, CHECK_SECONDS))
        try:
            await asyncio.wait([waiting, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()

    async def _run_check(self) -> bool:
        """Open, close or restart the API; return False after a failure."""
        try:
            await self.reconcile()
            await self._restart_failed()
            self._reload_certificate()
        except (OnhookError, OSError) as error:
            self._log_error(error)
            return False
        return True

    def _reload_certificate(self) -> None:
        """Use a certificate that was renewed; keep the earlier one where it cannot be used."""
        try:
            if self._tls is not None and self._tls.reload():
                self._log.info("PBX API uses the renewed certificate")
            self._renewal_failure.end()
        except UsageError as error:
            self._renewal_failure.begin(error=str(error))

    async def close(self) -> None:
        """Close all connections."""
        await self._exit_stack.aclose()
        self._tasks = ()
        self._tls = None
        if self.listen_address.address:
            self.listen_address.update("")

    def _log_error(self, error: OnhookError | OSError) -> None:
        self._log.error("PBX API cannot start", extra={"error": str(error)})

    async def _restart_failed(self) -> None:
        for task in self._tasks:
            if task.done():
                error = task.exception()
                self._log.error("PBX API stopped, restarting", extra={"error": repr(error)})
                await self.close()
                await self.reconcile()
                return


@asynccontextmanager
async def open_pbx_api(config: Config, server: PbxApiServer) -> AsyncIterator[tuple[Address, Tasks]]:
    """Yield the address of the PBX API and its tasks. Raises `OnhookError`."""
    if _generates_certificate(config):
        certificate, key = config.pbx_api_certificate_file, config.pbx_api_key_file
        ensure_certificate(certificate, key, config.pbx_api.host, server.state.clock.now())
    tls = _create_tls_context(config)
    async with _open_pbx_api(config, server, tls) as opened:
        yield opened


@asynccontextmanager
async def _open_pbx_api(
    config: Config, server: PbxApiServer, tls: RenewableTlsContext | None
) -> AsyncIterator[tuple[Address, Tasks]]:
    server_socket = listen(config.pbx_api.host, config.pbx_api.port)
    address = Address(config.pbx_api.host, int(server_socket.getsockname()[1]))
    async with server.serve(server_socket, None if tls is None else tls.context) as tasks:
        yield address, tasks


def _generates_certificate(config: Config) -> bool:
    return not config.pbx_api_plain and not config.pbx_api_certificate


def _create_tls_context(config: Config) -> RenewableTlsContext | None:
    if config.pbx_api_plain:
        return None
    return RenewableTlsContext(config.pbx_api_certificate_file, config.pbx_api_key_file)
