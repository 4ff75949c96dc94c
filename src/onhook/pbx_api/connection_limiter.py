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

    def __init__(self, new_protocol: ProtocolFactory, tls: ssl.SSLContext | None) -> None:
        self._new_protocol = new_protocol
        self._tls = tls
        self._visits: dict[asyncio.BaseTransport, asyncio.TimerHandle] = {}
        self._of_address: Counter[str] = Counter()
        self._welcomes: set[asyncio.Task[None]] = set()
        self.count = 0

    async def let_in(self, listening: socket.socket) -> None:
        """Let in whoever comes, until cancelled. The socket is listening, and closed at the end."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    connection, peer = await loop.sock_accept(listening)
                except OSError:
                    # It has gone again, or there are too many files open: the others go on.
                    await asyncio.sleep(ACCEPT_RETRY_SECONDS)
                    continue
                self._admit(connection, str(peer[0]))
        finally:
            listening.close()

    def asked(self, transport: asyncio.BaseTransport) -> None:
        """The whole request is there: from now on the time to take the answer counts."""
        if transport in self._visits:
            self.limit(transport, RESPONSE_SECONDS_MAX)

    def stay(self, transport: asyncio.BaseTransport) -> None:
        """Let a connection stay for as long as it likes: it has become a socket."""
        timer = self._visits.pop(transport, None)
        if timer is not None:
            timer.cancel()

    def limit(self, transport: asyncio.BaseTransport, seconds: float) -> None:
        """Cut a connection off when that time is over."""
        self.stay(transport)
        self._visits[transport] = asyncio.get_running_loop().call_later(seconds, _abort, transport)

    def _admit(self, connection: socket.socket, address: str) -> None:
        """Let a connection in, or cut it off where there are too many."""
        if self.count >= CONNECTIONS_MAX or self._of_address[address] >= CONNECTIONS_OF_ADDRESS_MAX:
            connection.close()
            return
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.count += 1
        self._of_address[address] += 1
        task = asyncio.create_task(self._welcome(connection, address))
        self._welcomes.add(task)
        task.add_done_callback(self._welcomes.discard)

    async def _welcome(self, connection: socket.socket, address: str) -> None:
        """See a connection through TLS to its protocol, and count it out when it is gone."""
        protocol = _LimitedProtocol(self, self._new_protocol())
        seconds = None if self._tls is None else HANDSHAKE_SECONDS_MAX
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol, connection, ssl=self._tls, ssl_handshake_timeout=seconds
            )
            await protocol.gone.wait()
        except (OSError, TimeoutError):
            # No TLS, or none in time: nothing that a stranger does to his own connection is a fault of ours.
            connection.close()
        finally:
            self.count -= 1
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]


class _LimitedProtocol(asyncio.Protocol):
    """Hands all on to the protocol that was made for the connection, and tells when it is over."""

    def __init__(self, door: ConnectionLimiter, inner: asyncio.Protocol) -> None:
        self._door = door
        self._inner = inner
        self._transport: asyncio.BaseTransport | None = None
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._door.limit(transport, REQUEST_SECONDS_MAX)
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
        self.gone.set()
        if self._transport is not None:
            self._door.stay(self._transport)
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
            f"cannot listen on {host}:{port}: {'another program does' if is_in_use else error.strerror or error}",
            where="exchange",
            todo="stop that program, or choose another address with --exchange"
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
