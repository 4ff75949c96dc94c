"""Front of the console's web server while proxies are trusted: reads the PROXY protocol, which Granian does not know.

Invariants: each connection is passed on over a connection of its own to the loopback, byte by byte; the port of that
connection identifies the client. A connection on which nothing is sent ends, and no address has all of them. Without
trusted proxies there is no relay.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable

from onhook.lib.proxies import TrustedProxies, owner_network
from onhook.lib.proxy_protocol import InvalidProxyHeader, read_proxy_header

CONNECTIONS_MAX = 1_000
"""People, their programs and listeners of the live feed; each connection takes two sockets and two buffers."""

CONNECTIONS_OF_ADDRESS_MAX = CONNECTIONS_MAX // 4

FIRST_BYTE_SECONDS_MAX = 10.0
"""Time for the first byte of a request."""

IDLE_SECONDS_MAX = 90.0
"""Longest time without a byte in either direction; the live feed sends some every 15 seconds."""

HEADER_SECONDS_MAX = 10.0
"""Time for the header of a trusted proxy."""

ACCEPT_RETRY_SECONDS = 0.05
"""Wait after a connection could not be accepted."""

CHUNK_BYTES = 64 * 1024

LOOPBACK = "127.0.0.1"


class ProxyRelay:
    """Passes connections on to the port that `backend_port` returns."""

    def __init__(self, trusted_proxies: TrustedProxies, backend_port: Callable[[], int]) -> None:
        self._trusted_proxies = trusted_proxies
        self._backend_port = backend_port
        self._client_by_port: dict[int, str] = {}
        self._count_by_address: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    def client_address(self, relay_port: int) -> str:
        """Return the client of the connection that came to the backend from this port; empty for another one."""
        return self._client_by_port.get(relay_port, "")

    async def run(self, server_socket: socket.socket) -> None:
        """Accept connections until cancelled, then close all. The socket is listening, and is closed at the end."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    connection, peer = await loop.sock_accept(server_socket)
                except OSError:
                    await asyncio.sleep(ACCEPT_RETRY_SECONDS)
                    continue
                if len(self._tasks) >= CONNECTIONS_MAX:
                    connection.close()
                    continue
                task = asyncio.create_task(self._serve(connection, str(peer[0])))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        finally:
            server_socket.close()
            for task in list(self._tasks):
                task.cancel()

    async def _serve(self, connection: socket.socket, peer: str) -> None:
        """Pass one connection on. Errors that an unknown client causes on its own connection are not logged."""
        try:
            address = peer
            if self._trusted_proxies.trusts(peer):
                address = await read_proxy_header(connection, HEADER_SECONDS_MAX) or peer
            await self._pass_on(connection, address)
        except (OSError, TimeoutError, InvalidProxyHeader):
            return
        finally:
            connection.close()

    async def _pass_on(self, connection: socket.socket, address: str) -> None:
        owner = owner_network(address)
        if self._count_by_address[owner] >= CONNECTIONS_OF_ADDRESS_MAX:
            return
        self._count_by_address[owner] += 1
        try:
            await self._connect(connection, address)
        finally:
            self._count_by_address[owner] -= 1
            if not self._count_by_address[owner]:
                del self._count_by_address[owner]

    async def _connect(self, connection: socket.socket, address: str) -> None:
        backend_reader, backend_writer = await asyncio.open_connection(LOOPBACK, self._backend_port())
        relay_port = int(backend_writer.get_extra_info("sockname")[1])
        self._client_by_port[relay_port] = address
        try:
            reader, writer = await asyncio.open_connection(sock=connection)
            try:
                await _copy_both_ways((reader, writer), (backend_reader, backend_writer))
            finally:
                writer.transport.abort()
        finally:
            backend_writer.transport.abort()
            del self._client_by_port[relay_port]


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _copy_both_ways(client: Stream, backend: Stream) -> None:
    """Copy until the backend has ended the connection, an error ends one of the two, or nothing is sent. Raises
    `TimeoutError`.
    """
    loop = asyncio.get_running_loop()
    idle_limit = asyncio.timeout(FIRST_BYTE_SECONDS_MAX)

    def on_chunk() -> None:
        idle_limit.reschedule(loop.time() + IDLE_SECONDS_MAX)

    requests = asyncio.create_task(_copy(client[0], backend[1], on_chunk))
    responses = asyncio.create_task(_copy(backend[0], client[1], on_chunk))
    try:
        async with idle_limit:
            await responses
    finally:
        requests.cancel()
        responses.cancel()
        await asyncio.gather(requests, responses, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_chunk: Callable[[], None]) -> None:
    try:
        while chunk := await reader.read(CHUNK_BYTES):
            on_chunk()
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
        await writer.drain()
    except OSError:
        # One side has disconnected: the backend notices the end of its connection.
        writer.transport.abort()
