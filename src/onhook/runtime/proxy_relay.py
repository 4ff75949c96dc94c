"""Front of the console's web server, which has no limits of connections and does not know the PROXY protocol.

Invariants: each connection is passed on over a connection of its own to the loopback, byte by byte, from its first byte
on; the port of that connection identifies the client. A connection on which nothing is sent, or only a little in a long
time, ends; no address has all connections, and where all addresses together have them, the oldest one without an open
request makes way for a new one. A stream that the server keeps alive stays.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from onhook.lib.proxies import TrustedProxies, owner_network
from onhook.lib.proxy_protocol import InvalidProxyHeader, ProxyHeader, parse_proxy_header

CONNECTIONS_MAX = 1_000
"""People, their programs and listeners of the live feed; each connection takes three sockets and two buffers."""

CONNECTIONS_OF_ADDRESS_MAX = CONNECTIONS_MAX // 4

FIRST_BYTE_SECONDS_MAX = 10.0
"""Time for the first byte of the first request, after the header of a trusted proxy."""

IDLE_SECONDS_MAX = 90.0
"""Longest time without progress: a byte of a response, the beginning of a request, or some more kilobytes of it. The
live feed sends some bytes every 15 seconds.
"""

PROGRESS_BYTES_MIN = 16 * 1024
"""Bytes of a request that count as progress: a client that sends them one by one does not hold its connection."""

GRACE_SECONDS = 2.0
"""Time without an open request up to which no connection makes way for another one: a request arrives meanwhile."""

CHECK_SECONDS = 0.5
"""Interval at which idle connections are looked for: for a thousand some 100 microseconds."""

BACKLOG = 256
"""Connections that the kernel queues until they are accepted: of people and their programs, not of PBXs."""

BUFFER_BYTES = 256 * 1024
"""Bytes that a side has not read before the other one has to wait: in the process, and in each socket's own buffer. The
kernel would keep megabytes of a response there, and a slow reader would look like a fast one.
"""

LOOPBACK = "127.0.0.1"


class ProxyRelay:
    """Passes connections on to the port that `backend_port` returns."""

    def __init__(self, trusted_proxies: TrustedProxies, backend_port: Callable[[], int]) -> None:
        self.trusted_proxies = trusted_proxies
        self._backend_port = backend_port
        self._client_by_port: dict[int, _ClientSide] = {}
        self._count_by_owner: Counter[str] = Counter()
        self._clients: set[_ClientSide] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_clients = asyncio.Event()
        self._has_no_clients = asyncio.Event()

    def find_client(self, relay_port: int) -> "_ClientSide | None":
        """Return the client of the connection that came to the backend from this port; None for another one."""
        return self._client_by_port.get(relay_port)

    async def run(self, server_socket: socket.socket) -> None:
        """Accept connections until cancelled; those that are open stay until `close`. The socket is listening, and is
        closed at the end.
        """
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(lambda: _ClientSide(self), sock=server_socket, backlog=BACKLOG)
            try:
                while await self._has_clients.wait():
                    await asyncio.sleep(CHECK_SECONDS)
                    self._abort_idle(loop.time())
            finally:
                server.close()
        finally:
            server_socket.close()

    async def close(self, seconds: float) -> None:
        """Close all connections, after the server has ended: those with a response as soon as all of it was sent, or
        the seconds are over.
        """
        for client in [client for client in self._clients if client.other is None]:
            client.abort()
        try:
            if self._clients:
                self._has_no_clients.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._has_no_clients.wait()
        finally:
            for client in list(self._clients):
                client.abort()

    def add(self, client: "_ClientSide") -> bool:
        """Add a connection that was accepted; return False where there are too many and none of them makes way."""
        if len(self._clients) >= CONNECTIONS_MAX and not self._abort_oldest(client.waiting_since):
            return False
        self._clients.add(client)
        self._has_clients.set()
        return True

    def remove(self, client: "_ClientSide") -> None:
        """Remove a connection that has ended."""
        self._clients.discard(client)
        if not self._clients:
            self._has_clients.clear()
            self._has_no_clients.set()

    def take_share(self, owner: str) -> bool:
        """Count a connection of an owner; return False where the owner has too many."""
        if self._count_by_owner[owner] >= CONNECTIONS_OF_ADDRESS_MAX:
            return False
        self._count_by_owner[owner] += 1
        return True

    def return_share(self, owner: str) -> None:
        """Subtract a connection of an owner."""
        self._count_by_owner[owner] -= 1
        if not self._count_by_owner[owner]:
            del self._count_by_owner[owner]

    def connect(self, client: "_ClientSide") -> None:
        """Begin to connect a client, whose first bytes have arrived, to the backend."""
        task = asyncio.create_task(self._connect(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def backend_connected(self, relay_port: int, client: "_ClientSide") -> None:
        """Store the client of a connection to the backend."""
        self._client_by_port[relay_port] = client

    def backend_disconnected(self, relay_port: int) -> None:
        """Forget the client of a connection to the backend."""
        self._client_by_port.pop(relay_port, None)

    async def _connect(self, client: "_ClientSide") -> None:
        loop = asyncio.get_running_loop()
        backend = socket.socket()
        try:
            backend.setblocking(False)
            backend.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            await loop.sock_connect(backend, (LOOPBACK, self._backend_port()))
            await loop.create_connection(lambda: _BackendSide(self, client), sock=backend)
        except BaseException as error:
            backend.close()
            client.abort()
            if not isinstance(error, OSError):
                raise

    def _abort_oldest(self, now: float) -> bool:
        """Abort the connection that has had no open request for the longest time; return whether there was one beyond
        the grace time.
        """
        waiting_clients = [client for client in self._clients if not client.open_requests]
        oldest = min(waiting_clients, key=lambda client: client.waiting_since, default=None)
        if oldest is None or now - oldest.waiting_since <= GRACE_SECONDS:
            return False
        self.remove(oldest)
        oldest.abort()
        return True

    def _abort_idle(self, now: float) -> None:
        for client in [client for client in self._clients if client.deadline < now]:
            client.abort()


class _Side(asyncio.Protocol):
    """One of the two connections."""

    transport: asyncio.Transport
    other: "_Side | None" = None

    def pause_writing(self) -> None:
        """Pause reading from the other side while this one does not read."""
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Read from the other side again."""
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()


class _ClientSide(_Side):
    """The connection of a client, from its beginning. Errors that an unknown client causes on its own connection are
    not logged.
    """

    def __init__(self, relay: ProxyRelay) -> None:
        self._relay = relay
        self._now = asyncio.get_running_loop().time
        self._first_bytes = b""
        self._owner = ""
        self._is_proxied = False
        self._is_request_open = False
        self._bytes_since_progress = 0
        self.address = ""
        self.deadline = 0.0
        self.open_requests = 0
        self.waiting_since = self._now()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection; behind a trusted proxy, once the proxy has named its client."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(BUFFER_BYTES)
        client_socket: socket.socket = transport.get_extra_info("socket")
        client_socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        self.deadline = self._now() + FIRST_BYTE_SECONDS_MAX
        peer = transport.get_extra_info("peername")
        if peer is None:
            # The client has reset the connection before it was accepted.
            self.abort()
            return
        self.address = str(peer[0])
        self._is_proxied = self._relay.trusted_proxies.trusts(self.address)
        if not self._relay.add(self) or not (self._is_proxied or self._has_share()):
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Pass bytes on; the first ones after the connection to the backend is there."""
        if self.other is None:
            self._receive_first(data)
            return
        self._note_request(len(data))
        self.other.transport.write(data)

    def eof_received(self) -> bool:
        """Pass the end of the requests on; the response may follow."""
        if self.other is None:
            return False
        if not self.other.transport.is_closing():
            self.other.transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """End the connection to the backend, which cancels its request."""
        self._relay.remove(self)
        if self._owner:
            self._relay.return_share(self._owner)
            self._owner = ""
        if self.other is not None:
            self.other.transport.abort()

    def backend_connected(self, backend: "_BackendSide") -> None:
        """Send the first bytes to the backend."""
        self.other = backend
        self._note_request(len(self._first_bytes))
        backend.transport.write(self._first_bytes)
        self._first_bytes = b""
        self.transport.resume_reading()

    def response_received(self, data: bytes) -> None:
        """Send bytes of a response to the client."""
        self.deadline, self._is_request_open, self._bytes_since_progress = self._now() + IDLE_SECONDS_MAX, False, 0
        self.transport.write(data)

    def request_opened(self) -> None:
        """Note that a request has arrived whole: until its end the connection makes no way for another one."""
        self.open_requests += 1

    def request_closed(self) -> None:
        """Note that such a request has been answered."""
        self.open_requests -= 1
        self.waiting_since = self._now()

    def abort(self) -> None:
        """Disconnect the client."""
        self.transport.abort()

    def _receive_first(self, data: bytes) -> None:
        self._first_bytes += data
        if self._is_proxied and not self._read_proxy_header():
            return
        if self._first_bytes:
            self.transport.pause_reading()
            self._relay.connect(self)

    def _read_proxy_header(self) -> bool:
        """Read the header of a trusted proxy; return whether it is complete. Aborts where it is invalid."""
        try:
            header: ProxyHeader | None = parse_proxy_header(self._first_bytes)
        except InvalidProxyHeader:
            self.abort()
            return False
        if header is None:
            return False
        self._first_bytes = self._first_bytes[header.size :]
        self.address = header.address or self.address
        self._is_proxied = False
        self.deadline = self._now() + FIRST_BYTE_SECONDS_MAX
        if self._has_share():
            return True
        self.abort()
        return False

    def _has_share(self) -> bool:
        """Count the connection for the owner of its address; return False where the owner has too many. A trusted proxy
        that named no client has those of all its clients: it is not counted.
        """
        if self._relay.trusted_proxies.trusts(self.address):
            return True
        owner = owner_network(self.address)
        if self._relay.take_share(owner):
            self._owner = owner
        return bool(self._owner)

    def _note_request(self, size: int) -> None:
        """Postpone the deadline at the beginning of a request, and after enough bytes of it."""
        self._bytes_since_progress += size
        if not self._is_request_open or self._bytes_since_progress >= PROGRESS_BYTES_MIN:
            self.deadline, self._bytes_since_progress = self._now() + IDLE_SECONDS_MAX, 0
            self._is_request_open = True


class _BackendSide(_Side):
    """The connection to the backend that belongs to a client's."""

    other: _ClientSide

    def __init__(self, relay: ProxyRelay, client: _ClientSide) -> None:
        self._relay = relay
        self._client = client
        self._port = 0
        self.other = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the client send, unless it has disconnected meanwhile."""
        self.transport = cast(asyncio.Transport, transport)
        if self._client.transport.is_closing():
            self.transport.abort()
            return
        self.transport.set_write_buffer_limits(BUFFER_BYTES)
        self._port = int(transport.get_extra_info("sockname")[1])
        self._relay.backend_connected(self._port, self._client)
        self._client.backend_connected(self)

    def data_received(self, data: bytes) -> None:
        """Pass bytes of the response on."""
        self._client.response_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the connection of the client, after everything was sent."""
        if self._port:
            self._relay.backend_disconnected(self._port)
        with suppress(OSError):
            self._client.transport.close()
