"""Limits of connections: their number, the time of a request, and TLS.

Invariants: an unknown client occupies one connection for some seconds and nothing else; where connections run short,
the oldest one without a request makes way for a new one. A connection counts from its beginning, the handshake
included; behind a trusted proxy it counts for the client that the PROXY protocol names. Every connection except a
socket has a time limit, however slowly the client sends or reads.
"""

import asyncio
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, cast

from onhook.lib.proxies import TrustedProxies, owner_network
from onhook.lib.proxy_protocol import InvalidProxyHeader, read_proxy_header
from onhook.lib.sockets import listening_socket, raise_open_files_limit
from onhook.pbx_api.waiting_connections import WaitingConnections

CONNECTIONS_MAX = 2_500
"""Sockets, and some hundred concurrent requests; each connection is one request."""

CONNECTIONS_OF_ADDRESS_MAX = 1_500
"""One app with all its sockets, and the share of requests that have not arrived, so that one address cannot block all
others.
"""

HANDSHAKE_SECONDS_MAX = 10.0
REQUEST_SECONDS_MAX = 15.0
"""Time to send a whole request."""

RESPONSE_SECONDS_MAX = 120.0
"""Time to compute the response and to read it: ten thousand rows are some 5 MB."""

ACCEPT_RETRY_SECONDS = 0.05
"""Wait after a connection could not be accepted."""

SEND_BUFFER_BYTES = 128 * 1024
"""Kernel buffer of one connection (Linux doubles it). The default grows to 4 MB and would delay the detection of a
client that does not read.
"""

BACKLOG = 512
"""Connections that the kernel queues until they are accepted."""

OTHER_FILES_MAX = 512
"""Open files of the process in addition to connections."""

ProtocolFactory = Callable[[], asyncio.Protocol]


class ConnectionLimiter:
    """Accepts connections for protocols that a factory creates."""

    def __init__(
        self,
        protocol_factory: ProtocolFactory,
        tls: ssl.SSLContext | None,
        trusted_proxies: TrustedProxies = TrustedProxies(),  # noqa: B008 - never changed
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._protocol_factory = protocol_factory
        self._tls = tls
        self._trusted_proxies = trusted_proxies
        self._clients: dict[asyncio.BaseTransport, _Client] = {}
        self._waiting = WaitingConnections(monotonic)
        self._timeouts: dict[asyncio.BaseTransport, asyncio.TimerHandle] = {}
        self._count_by_address: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self.count = 0

    async def accept_connections(self, server_socket: socket.socket) -> None:
        """Accept connections until cancelled. The socket is listening, and is closed at the end."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    connection, peer = await loop.sock_accept(server_socket)
                except OSError:
                    # The client has disconnected, or too many files are open: continue with the other clients.
                    await asyncio.sleep(ACCEPT_RETRY_SECONDS)
                    continue
                self._accept(connection, str(peer[0]))
        finally:
            server_socket.close()

    def request_received(self, transport: asyncio.BaseTransport) -> None:
        """Start the time limit for reading the response, after the whole request has arrived."""
        if transport in self._timeouts:
            self._end_waiting(transport)
            self.set_timeout(transport, RESPONSE_SECONDS_MAX)

    def socket_opened(self, transport: asyncio.BaseTransport) -> None:
        """Remove the time limit of a connection that has become a socket."""
        self._end_waiting(transport)
        self._clear_timeout(transport)

    def client_address(self, transport: asyncio.BaseTransport | None) -> str:
        """Return the address of the client of a connection: the peer, or the one that a trusted proxy names."""
        client = None if transport is None else self._clients.get(transport)
        return "" if client is None else client.address

    def connection_opened(self, transport: asyncio.BaseTransport, client: "_Client") -> None:
        """Store the client of a connection, and start the time limit of its request."""
        self._clients[transport] = client
        self.set_timeout(transport, REQUEST_SECONDS_MAX)

    def connection_closed(self, transport: asyncio.BaseTransport) -> None:
        """Forget a connection."""
        self._clients.pop(transport, None)
        self._clear_timeout(transport)

    def set_timeout(self, transport: asyncio.BaseTransport, seconds: float) -> None:
        """Abort a connection after this time."""
        self._clear_timeout(transport)
        self._timeouts[transport] = asyncio.get_running_loop().call_later(seconds, _abort, transport)

    def _clear_timeout(self, transport: asyncio.BaseTransport) -> None:
        timer = self._timeouts.pop(transport, None)
        if timer is not None:
            timer.cancel()

    def _end_waiting(self, transport: asyncio.BaseTransport) -> None:
        if transport in self._clients:
            self._waiting.remove(self._clients[transport].connection)

    def _accept(self, connection: socket.socket, address: str) -> None:
        """Accept a connection, or abort it when there are too many and none of them makes way."""
        if self.count >= CONNECTIONS_MAX and not self._waiting.close_oldest():
            connection.close()
            return
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.count += 1
        self._waiting.add(connection, address)
        task = asyncio.create_task(self._serve_connection(connection, address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_connection(self, connection: socket.socket, address: str) -> None:
        """Serve a connection through TLS to its protocol, and count it until it is closed."""
        client_address = address
        try:
            if self._trusted_proxies.trusts(address):
                client_address = await read_proxy_header(connection, HANDSHAKE_SECONDS_MAX) or address
                self._waiting.add(connection, client_address)
            if self._admits(client_address):
                await self._serve_client(connection, client_address)
            else:
                connection.close()
        except (OSError, TimeoutError, InvalidProxyHeader):
            # No TLS, or not in time. Errors that an unknown client causes on its own connection are not logged.
            connection.close()
        finally:
            self._waiting.remove(connection)
            self.count -= 1

    async def _serve_client(self, connection: socket.socket, client_address: str) -> None:
        protocol = _LimitedProtocol(self, self._protocol_factory(), _Client(connection, client_address))
        seconds = None if self._tls is None else HANDSHAKE_SECONDS_MAX
        owner = owner_network(client_address)
        self._count_by_address[owner] += 1
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol, connection, ssl=self._tls, ssl_handshake_timeout=seconds
            )
            await protocol.closed.wait()
        finally:
            self._count_by_address[owner] -= 1
            if not self._count_by_address[owner]:
                del self._count_by_address[owner]

    def _admits(self, address: str) -> bool:
        """Return whether an address may have one more connection: where it has too many, the oldest without a request
        makes way. A trusted proxy has those of all its clients.
        """
        if self._trusted_proxies.trusts(address):
            return True
        while self._waiting.is_over_share(address) and self._waiting.close_oldest_of(address):
            pass
        is_full = self._count_by_address[owner_network(address)] >= CONNECTIONS_OF_ADDRESS_MAX
        return not is_full or self._waiting.close_oldest_of(address)


class _Client(NamedTuple):
    """A connection, and the address of its client: the peer, or the one that a trusted proxy names."""

    connection: socket.socket
    address: str


class _LimitedProtocol(asyncio.Protocol):
    """Forwards everything to the protocol of the connection, and reports its end."""

    def __init__(self, limiter: ConnectionLimiter, inner: asyncio.Protocol, client: _Client) -> None:
        self._limiter = limiter
        self._inner = inner
        self._client = client
        self._transport: asyncio.BaseTransport | None = None
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._limiter.connection_opened(transport, self._client)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()
        if self._transport is not None:
            self._limiter.connection_closed(self._transport)
            self._inner.connection_lost(exc)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, after raising the limit of open files. Raises `UsageError`."""
    raise_open_files_limit(CONNECTIONS_MAX + OTHER_FILES_MAX)
    return listening_socket(host, port, backlog=BACKLOG, option="pbx-api")


def _abort(transport: asyncio.BaseTransport) -> None:
    cast("asyncio.Transport", transport).abort()
