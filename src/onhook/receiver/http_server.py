"""Webhook server: HTTP/1.1 for PBXs on llhttp and the event loop, without a task or a future per request.

Invariants: what was accepted before `stop` is committed and answered; a new connection never closes one that is in the
middle of a request.
"""

import asyncio
import socket
import time
from contextlib import suppress
from typing import Protocol

from onhook.lib.clock import Clock
from onhook.lib.proxies import TrustedProxies
from onhook.lib.sockets import listening_socket, raise_open_files_limit
from onhook.receiver.http_connection import HttpConnection
from onhook.receiver.ingest import Ingestor
from onhook.receiver.responses import Responses

CONNECTIONS_MAX = 10_000
"""Open connections; each costs some 5 KiB while it is idle."""

FILES_RESERVED = 64
"""Open files of the process that are not connections: the ledger, the registry, logs."""

BACKLOG = 1_024
"""Connections that the kernel queues: a burst of a thousand PBXs."""

BATCH_SECONDS = 0.004
"""Length of a round: under load, everything that arrives in a round is parsed, checked and committed together.

One round of forty costs half of forty rounds of one: fewer commits, and code that stays in the processor's cache. A
chunk that arrives after a pause does not wait.
"""

BATCH_CHUNKS_MAX = 32
"""A round ends early at this many bytes: a larger one gains nothing, and memory stays bounded."""

TICK_SECONDS = 1.0
"""How often deadlines are checked and the `Date` of responses is renewed."""

STOP_SECONDS_MAX = 10.0
"""Time that `stop` leaves for a commit that waits for a lock and for slow readers, before connections are aborted."""


class ListenAddress(Protocol):
    """Address to listen on: a host name or address, and a port (0: any free one)."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...


class WebhookServer:
    """Accepts connections and submits their requests to the ingestor. Must be used inside a running event loop."""

    def __init__(self, *, ingestor: Ingestor, clock: Clock, trusted_proxies: TrustedProxies | None = None) -> None:
        self.trusted_proxies = trusted_proxies or TrustedProxies()
        self.ingestor = ingestor
        self.responses = Responses(clock.now())
        self.time = time.monotonic
        self._clock = clock
        self._connections: set[HttpConnection] = set()
        self._idle: dict[HttpConnection, None] = {}
        """In the order in which they became idle, the longest first."""
        self._connections_max = CONNECTIONS_MAX
        self._server: asyncio.Server | None = None
        self._all_closed: asyncio.Event | None = None
        self._chunks: list[tuple[HttpConnection, bytes]] = []
        self._batch_handle: asyncio.Handle | None = None
        self._batch_at = 0.0
        self._loop = asyncio.get_running_loop()
        self._tick_handle: asyncio.TimerHandle | None = None

    async def start(self, address: ListenAddress, listening: socket.socket | None = None) -> int:
        """Listen and return the port; `listening` is a socket that listens already, in place of the address. Raises
        `UsageError` when the address cannot be used.
        """
        self._connections_max = raise_open_files_limit(CONNECTIONS_MAX + FILES_RESERVED) - FILES_RESERVED
        server_socket = listening or listening_socket(address.host, address.port, backlog=BACKLOG, option="intake")
        self._server = await self._loop.create_server(lambda: HttpConnection(self), sock=server_socket, backlog=BACKLOG)
        return int(server_socket.getsockname()[1])

    async def stop(self) -> None:
        """Accept no new connections, commit and answer what was accepted, close the others."""
        if self._server is not None:
            self._server.close()
        self._process_batch()
        for connection in list(self._connections):
            connection.finish()
        if self._connections:
            self._all_closed = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS_MAX):
                    await self._all_closed.wait()
        for connection in list(self._connections):
            connection.abort()
        if self._tick_handle is not None:
            self._tick_handle.cancel()

    # Called by connections

    def enqueue_chunk(self, connection: HttpConnection, chunk: bytes) -> None:
        """Queue a chunk; all chunks of a round are processed at its end."""
        self._chunks.append((connection, chunk))
        if len(self._chunks) == 1:
            delay_seconds = self._batch_at + BATCH_SECONDS - self.time()
            self._batch_handle = (
                self._loop.call_later(delay_seconds, self._process_batch)
                if delay_seconds > 0
                else self._loop.call_soon(self._process_batch)
            )
        elif len(self._chunks) == BATCH_CHUNKS_MAX and self._batch_handle is not None:
            self._batch_handle.cancel()
            self._batch_handle = self._loop.call_soon(self._process_batch)

    def register(self, connection: HttpConnection) -> bool:
        """Add a new connection. Return False when there are too many and none is idle."""
        if len(self._connections) >= self._connections_max and not self._evict_idle():
            self._connections.add(connection)
            return False
        self._connections.add(connection)
        self._idle[connection] = None
        if self._tick_handle is None:
            self._on_tick()
        return True

    def set_idle(self, connection: HttpConnection) -> None:
        """Mark a connection as idle: it may be closed to make space."""
        self._idle[connection] = None

    def set_busy(self, connection: HttpConnection) -> None:
        """Mark a connection as busy: a request has begun."""
        self._idle.pop(connection, None)

    def unregister(self, connection: HttpConnection) -> None:
        """Remove a closed connection."""
        self._connections.discard(connection)
        self._idle.pop(connection, None)
        if self._all_closed is not None and not self._connections:
            self._all_closed.set()

    def _process_batch(self) -> None:
        self._batch_at = self.time()
        chunks, self._chunks = self._chunks, []
        for connection, chunk in chunks:
            try:
                connection.process_chunk(chunk)
            except Exception as error:  # noqa: BLE001 - one connection's error must not disturb the others of its round
                self._loop.call_exception_handler({"message": "a connection failed", "exception": error})
                connection.abort()

    def _evict_idle(self) -> bool:
        """Close the connection that has been idle for longest. Return False when there is none."""
        longest_idle = next(iter(self._idle), None)
        if longest_idle is None:
            return False
        self.unregister(longest_idle)
        longest_idle.abort()
        return True

    def _on_tick(self) -> None:
        """Update the responses and close what is overdue, each second while there are connections."""
        self._tick_handle = self._loop.call_later(TICK_SECONDS, self._on_tick) if self._connections else None
        self.responses.rebuild(self._clock.now())
        now = self.time()
        for connection in [candidate for candidate in self._connections if candidate.deadline < now]:
            connection.on_deadline()
