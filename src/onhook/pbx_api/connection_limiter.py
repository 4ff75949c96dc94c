"""Connections: how many there may be, how long each may take to ask, and TLS.

Law: a stranger costs a connection for some seconds and nothing more. Every connection is counted from its beginning,
half a handshake too; all but sockets end within a time, however slowly somebody sends or takes.
"""

import asyncio
import errno
import resource
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from typing import cast

from onhook.lib.errors import UsageError

CONNECTIONS_MAX = 2_500
"""Sockets, and some hundred requests at once; each connection is one request."""

CONNECTIONS_OF_ADDRESS_MAX = 1_500
"""One application with all its sockets; so that one address cannot keep all others out."""

HANDSHAKE_SECONDS_MAX = 10.0
REQUEST_SECONDS_MAX = 15.0
"""To send a whole request."""

RESPONSE_SECONDS_MAX = 120.0
"""To have it answered and to take the answer: ten thousand rows are some 5 MB."""

ACCEPT_RETRY_SECONDS = 0.05
"""After a connection could not be taken."""

SEND_BUFFER_BYTES = 128 * 1024
"""What the kernel is asked to hold for one connection (Linux doubles it): left to itself it holds up to 4 MB, and a
reader that takes nothing would be noticed that much later."""

BACKLOG = 512
"""Connections that the kernel holds until they are accepted."""

OTHER_FILES_MAX = 512
"""What the rest of the process may have open besides connections."""

ProtocolFactory = Callable[[], asyncio.Protocol]


class ConnectionLimiter:
    """Lets connections in, to protocols that somebody else makes."""

    def __init__(self, protocol_factory: ProtocolFactory, tls: ssl.SSLContext | None) -> None:
        self._protocol_factory = protocol_factory
        self._tls = tls
        self._timeouts: dict[asyncio.BaseTransport, asyncio.TimerHandle] = {}
        self._count_by_address: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self.count = 0

    async def accept_connections(self, server_socket: socket.socket) -> None:
        """Let in whoever comes, until cancelled. The socket is listening, and closed at the end."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    connection, peer = await loop.sock_accept(server_socket)
                except OSError:
                    # It has gone again, or there are too many files open: the others go on.
                    await asyncio.sleep(ACCEPT_RETRY_SECONDS)
                    continue
                self._accept(connection, str(peer[0]))
        finally:
            server_socket.close()

    def request_received(self, transport: asyncio.BaseTransport) -> None:
        """The whole request is there: from now on the time to take the answer counts."""
        if transport in self._timeouts:
            self.set_timeout(transport, RESPONSE_SECONDS_MAX)

    def clear_timeout(self, transport: asyncio.BaseTransport) -> None:
        """Let a connection stay for as long as it likes: it has become a socket."""
        timer = self._timeouts.pop(transport, None)
        if timer is not None:
            timer.cancel()

    def set_timeout(self, transport: asyncio.BaseTransport, seconds: float) -> None:
        """Cut a connection off when that time is over."""
        self.clear_timeout(transport)
        self._timeouts[transport] = asyncio.get_running_loop().call_later(seconds, _abort, transport)

    def _accept(self, connection: socket.socket, address: str) -> None:
        """Let a connection in, or cut it off where there are too many."""
        if self.count >= CONNECTIONS_MAX or self._count_by_address[address] >= CONNECTIONS_OF_ADDRESS_MAX:
            connection.close()
            return
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.count += 1
        self._count_by_address[address] += 1
        task = asyncio.create_task(self._serve_connection(connection, address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_connection(self, connection: socket.socket, address: str) -> None:
        """See a connection through TLS to its protocol, and count it out when it is gone."""
        protocol = _LimitedProtocol(self, self._protocol_factory())
        seconds = None if self._tls is None else HANDSHAKE_SECONDS_MAX
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol, connection, ssl=self._tls, ssl_handshake_timeout=seconds
            )
            await protocol.closed.wait()
        except (OSError, TimeoutError):
            # No TLS, or none in time: nothing that a stranger does to his own connection is a fault of ours.
            connection.close()
        finally:
            self.count -= 1
            self._count_by_address[address] -= 1
            if not self._count_by_address[address]:
                del self._count_by_address[address]


class _LimitedProtocol(asyncio.Protocol):
    """Hands all on to the protocol that was made for the connection, and tells when it is over."""

    def __init__(self, limiter: ConnectionLimiter, inner: asyncio.Protocol) -> None:
        self._limiter = limiter
        self._inner = inner
        self._transport: asyncio.BaseTransport | None = None
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._limiter.set_timeout(transport, REQUEST_SECONDS_MAX)
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
            self._limiter.clear_timeout(self._transport)
            self._inner.connection_lost(exc)


def listen(host: str, port: int) -> socket.socket:
    """A socket on which the exchange listens. Raises `UsageError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # `[::]` means IPv4 too, as everywhere else.
        server_socket = socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=host == "::")
    except OSError as error:
        is_in_use = error.errno == errno.EADDRINUSE
        raise UsageError(
            f"cannot listen on {host}:{port}: {'the port is in use' if is_in_use else error.strerror or error}",
            location="pbx_api",
            hint="stop that program, or choose another address with --pbx-api"
            if is_in_use
            else "choose another address",
        ) from error
    server_socket.setblocking(False)
    return server_socket


def raise_file_limit() -> None:
    """Let this process have as many files open as there may be connections, where the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = CONNECTIONS_MAX + OTHER_FILES_MAX
    if soft != resource.RLIM_INFINITY and soft < needed:
        new_soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (new_soft, hard))


def _abort(transport: asyncio.BaseTransport) -> None:
    cast("asyncio.Transport", transport).abort()
