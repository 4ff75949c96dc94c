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
from onhook.lib.sockets import listening_socket, raise_open_files_limit
from onhook.runtime.client_addresses import ClientAddresses
from onhook.runtime.proxy_relay import BACKLOG, CONNECTIONS_MAX, LOOPBACK, ProxyRelay

OPEN_FILES_MAX = 3 * CONNECTIONS_MAX + 3_500
"""Each connection has a socket, two between relay and Granian; the rest is for the PBX API and files."""

STOP_SECONDS_MAX = 3.0
"""Time for open responses, such as an export, at a stop; then they are aborted."""


class _OwnSocketServer(Server):
    """Granian opens its socket with SO_REUSEPORT, so that two servers would silently share a port, and does not return
    the port for 0. With Onhook's own socket a port in use is an error, and the port is known.
    """

    def __init__(self, app: Any, server_socket: socket.socket) -> None:
        # The relay limits connections: Granian accepts each that it passes on.
        super().__init__(
            app, interface=Interfaces.ASGI, log_enabled=False, websockets=False, backpressure=CONNECTIONS_MAX
        )
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
        proxies = trusted_proxies or TrustedProxies()
        self._relay = ProxyRelay(proxies, lambda: self._backend_port)
        self._relay_task: asyncio.Task[None] | None = None
        self._app = ClientAddresses(app, proxies, self._relay.find_client)
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
        if any(task.done() for task in self._tasks()):
            await self._stop()
            self._listen()
        try:
            ended_tasks, _running_tasks = await asyncio.wait(self._tasks(), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._stop()
            raise
        for task in ended_tasks:
            task.result()

    def _tasks(self) -> list[asyncio.Task[None]]:
        """Return the tasks that run while the server does: its own, and that of the relay."""
        return [task for task in (self._task, self._relay_task) if task is not None]

    async def _stop(self) -> None:
        """Stop listening; wait for open responses, and abort them when the time is over."""
        stop_at = asyncio.get_running_loop().time() + STOP_SECONDS_MAX
        await self._stop_relay()
        try:
            await self._stop_server()
        finally:
            # What Granian has sent may still be on its way through the relay.
            await self._relay.close(stop_at - asyncio.get_running_loop().time())

    async def _stop_server(self) -> None:
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
        raise_open_files_limit(OPEN_FILES_MAX)
        self._relay_task = asyncio.create_task(self._relay.run(server_socket), name="console relay")
        backend_socket = listening_socket(LOOPBACK, 0, backlog=BACKLOG, option="console")
        self._backend_port = int(backend_socket.getsockname()[1])
        self._server = _OwnSocketServer(self._app, backend_socket)
        self._task = asyncio.create_task(self._server.serve(), name="console server")

    async def _stop_relay(self) -> None:
        """Close the socket of the relay, so that its port can be used again. Open responses go on."""
        if self._relay_task is not None:
            self._relay_task.cancel()
            await asyncio.wait([self._relay_task])
            self._relay_task = None
