"""Web server of the hub: Granian inside the event loop, on a socket that Onhook opens."""

import asyncio
import logging
import socket
from typing import Any, Self

from granian._granian import SocketHolder
from granian.constants import Interfaces
from granian.server.embed import Server

from onhook.config import Address
from onhook.lib.proxies import TrustedProxies
from onhook.lib.sockets import listening_socket
from onhook.runtime.client_addresses import ClientAddresses
from onhook.runtime.proxy_relay import LOOPBACK, ProxyRelay

BACKLOG = 256
"""Connections that the kernel queues until they are accepted: of people and their programs, not of PBXs."""

STOP_SECONDS_MAX = 3.0
"""Time for open responses, such as an export, at a stop; then they are aborted."""


class _OwnSocketServer(Server):
    """Granian opens its socket with SO_REUSEPORT, so that two servers would silently share a port, and does not return
    the port for 0. With Onhook's own socket a port in use is an error, and the port is known.
    """

    def __init__(self, app: Any, server_socket: socket.socket) -> None:
        super().__init__(app, interface=Interfaces.ASGI, log_enabled=False, websockets=False)
        self._server_socket = server_socket

    def _init_shared_socket(self) -> None:
        # Granian closes the descriptor that it is given.
        socket_holder: Any = SocketHolder
        self._shd = socket_holder(self._server_socket.detach(), False, BACKLOG)
        self._ssp = None


class HttpServer:
    """A web server for an ASGI application; a context manager. `port` is known inside the context."""

    def __init__(self, app: Any, address: Address, trusted_proxies: TrustedProxies | None = None) -> None:
        self._address = address
        self._backend_port = 0
        self._relay: ProxyRelay | None = None
        self._relay_task: asyncio.Task[None] | None = None
        if trusted_proxies:
            self._relay = ProxyRelay(trusted_proxies, lambda: self._backend_port)
            app = ClientAddresses(app, trusted_proxies, self._relay.client_address)
        self._app = app
        self._server: _OwnSocketServer | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """Return the port, which is the same after a restart."""
        return self._address.port

    async def __aenter__(self) -> Self:
        """Listen. Raises `UsageError` where the address cannot be listened on."""
        self._listen()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Stop listening, unless `run` has done so."""
        await self._stop()

    async def run(self) -> None:
        """Wait for the end of the server, which is an error; listen again when called after that. Stops the server when
        cancelled.
        """
        if self._task is None or self._task.done():
            await self._stop_relay()
            self._listen()
        assert self._task is not None
        try:
            await asyncio.shield(self._task)
        except asyncio.CancelledError:
            await self._stop()
            raise

    async def _stop(self) -> None:
        """Wait for open responses; abort them when the time is over."""
        await self._stop_relay()
        if self._server is None or self._task is None:
            return
        self._server.stop()  # type: ignore[no-untyped-call] # as granian writes it
        self._server = None
        _finished_tasks, unfinished_tasks = await asyncio.wait([self._task], timeout=STOP_SECONDS_MAX)
        for unfinished_task in unfinished_tasks:
            logging.getLogger("console").warning("open responses were cancelled at shutdown")
            unfinished_task.cancel()
        if unfinished_tasks:
            await asyncio.wait(unfinished_tasks)

    def _listen(self) -> None:
        server_socket = listening_socket(self._address.host, self._address.port, backlog=BACKLOG, option="console")
        self._address = Address(self._address.host, int(server_socket.getsockname()[1]))
        if self._relay is not None:
            self._start_relay(self._relay, server_socket)
            server_socket = listening_socket(LOOPBACK, 0, backlog=BACKLOG, option="console")
            self._backend_port = int(server_socket.getsockname()[1])
        self._server = _OwnSocketServer(self._app, server_socket)
        self._task = asyncio.create_task(self._server.serve(), name="console server")

    def _start_relay(self, relay: ProxyRelay, server_socket: socket.socket) -> None:
        self._relay_task = asyncio.create_task(relay.run(server_socket), name="console relay")

    async def _stop_relay(self) -> None:
        """Close the socket of the relay, so that its port can be used again, and all its connections."""
        if self._relay_task is not None:
            self._relay_task.cancel()
            await asyncio.wait([self._relay_task])
            self._relay_task = None
