"""Connections over which PBXs write lines: those that PBXs open, and those that Onhook opens.

Invariants: a line is of the PBX whose connection it comes from; from an address that none of them has, nothing is read.
Connections are limited, also those of one address; a new one never closes one that is in the middle of a line. A PBX
that is removed or changed has no connection afterwards. Of several intakes, one at a time connects to a PBX.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, Literal, Protocol

import msgspec

from onhook.config import is_loopback
from onhook.lib.backoff import Backoff
from onhook.lib.change_watcher import ChangeWatcher, VersionSource, appdb_failure_log
from onhook.lib.errors import OnhookError
from onhook.lib.leased_work import RunLeased, run_without_lease
from onhook.lib.sockets import listening_socket
from onhook.lib.task_reconciler import TaskReconciler, raise_if_cancelled
from onhook.lib.transition_log import TransitionLog
from onhook.pbx.dialect import Dialects, LineDialect
from onhook.receiver.ingest import Ingestor
from onhook.receiver.line_stream import LineStream
from onhook.receiver.pbx_registry import RegisteredPbx, is_in_networks

CONNECTIONS_MAX: Final = 500
"""Open connections; a PBX has one, or one for each line."""

CONNECTIONS_PER_ADDRESS_MAX: Final = 20
"""A PBX that opens a connection for each line has some at a time; behind one router there may be several PBXs."""

BACKLOG: Final = 128

BUFFER_BYTES: Final = 64 * 1024
"""Received bytes of a connection that are not read yet; beyond twice as many the other side has to wait."""

CONNECT_SECONDS_MAX: Final = 10.0
RETRY_SECONDS_FIRST: Final = 0.5
RETRY_SECONDS_MAX: Final = 30.0
"""A line that is written while there is no connection is lost: a PBX that was restarted does not wait for minutes."""

STEADY_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.2
"""Least time between two looks at the settings: a removed PBX has no connection a second later."""

CHECK_SECONDS: Final = 30.0
CLOSE_SECONDS_MAX: Final = 2.0

_KEEPALIVE_OPTIONS: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 4))
"""A connection whose other side is gone ends after two minutes: lines may be hours apart."""

ListenPlace = tuple[str, int]
"""Host and port of this machine."""


class LineEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where a PBX writes lines: it connects to `host` and `port` (`listen`), or is connected to there (`connect`). Its
    `networks` are those that may connect; without any, those that reach a loopback address.
    """

    pbx: RegisteredPbx
    mode: Literal["listen", "connect"]
    host: str
    port: int

    def admits(self, peer: str) -> bool:
        """Return whether an address may connect and write lines of this PBX."""
        return is_in_networks(peer, self.pbx.networks) if self.pbx.networks else is_loopback(self.host)

    @property
    def address(self) -> ListenPlace:
        """Return its host and port."""
        return self.host, self.port

    @property
    def place(self) -> tuple[str, str, str, int]:
        """Return what a connection depends on, besides the addresses that may connect."""
        return self.pbx.sn, self.pbx.dialect, self.host, self.port


class LineEndpointSource(VersionSource, Protocol):
    """The endpoints of all PBXs; the version changes when they may have changed."""

    async def list_endpoints(self) -> Sequence[LineEndpoint]:
        """Return the endpoint of each PBX that has one. Raises `OnhookError`."""
        ...

    async def list_stored_endpoints(self) -> Sequence[LineEndpoint]:
        """Return those that were last read, also by the process before this one: they are used until the first read."""
        ...


class LineServer:
    """All connections with lines. Created once per process, inside its event loop."""

    def __init__(
        self,
        *,
        source: LineEndpointSource,
        ingestor: Ingestor,
        dialects: Dialects,
        run_leased: RunLeased = run_without_lease,
    ) -> None:
        self._source = source
        self._run_leased = run_leased
        self._ingestor = ingestor
        self._dialects: Mapping[str, LineDialect] = {
            name: dialect for name, dialect in dialects.items() if isinstance(dialect, LineDialect)
        }
        self._endpoints: Sequence[LineEndpoint] = ()
        self._streams: dict[asyncio.Task[None], tuple[LineStream, LineEndpoint]] = {}
        self.listen_ports: dict[ListenPlace, int] = {}
        """The ports of the sockets that listen; they differ from the set ones where any free port was set."""
        self._log = logging.getLogger("lines")

    async def run(self) -> None:
        """Listen and connect as the settings say, until cancelled."""
        watcher = ChangeWatcher(self._source, self._source.list_endpoints)
        failure_log = appdb_failure_log(self._log, consequence="keeping the current line connections")
        listeners = TaskReconciler[ListenPlace, ListenPlace](self._listen, name="line listener")
        connectors = TaskReconciler[str, LineEndpoint](
            self._run_connection, name="line connection", compare_by=lambda endpoint: endpoint.place
        )
        is_first_read = True
        try:
            while True:
                endpoints = await watcher.poll_or_log(failure_log)
                if endpoints is None and is_first_read:
                    endpoints = await self._source.list_stored_endpoints()
                if endpoints is not None:
                    await self._apply(endpoints, listeners, connectors)
                is_first_read = False
                await watcher.wait(POLL_SECONDS, CHECK_SECONDS)
        finally:
            await listeners.close()
            await connectors.close()
            await _cancel(list(self._streams))

    async def _apply(
        self,
        endpoints: Sequence[LineEndpoint],
        listeners: TaskReconciler[ListenPlace, ListenPlace],
        connectors: TaskReconciler[str, LineEndpoint],
    ) -> None:
        self._endpoints = [endpoint for endpoint in endpoints if endpoint.pbx.dialect in self._dialects]
        await _cancel([task for task, (stream, used) in self._streams.items() if not self._admits(stream, used)])
        listening = [endpoint for endpoint in self._endpoints if endpoint.mode == "listen"]
        await listeners.reconcile({endpoint.address: endpoint.address for endpoint in listening})
        await connectors.reconcile(
            {endpoint.pbx.sn: endpoint for endpoint in self._endpoints if endpoint.mode == "connect"}
        )

    def _admits(self, stream: LineStream, used: LineEndpoint) -> bool:
        """Return whether a connection may stay open by the current settings."""
        return any(
            endpoint.mode == "listen" and endpoint.place == used.place and endpoint.admits(stream.peer)
            for endpoint in self._endpoints
        )

    # Connections that PBXs open

    async def _listen(self, place: ListenPlace, _spec: ListenPlace) -> None:
        """Listen until cancelled; where the address is in use, try again."""
        address = f"{place[0]}:{place[1]}"
        failure_log = TransitionLog(
            self._log, begins=f"cannot listen for lines on {address}", ends=f"listening for lines on {address}"
        )
        backoff = Backoff(first=RETRY_SECONDS_FIRST, maximum=RETRY_SECONDS_MAX, steady_seconds=STEADY_SECONDS)
        while True:
            try:
                server_socket = listening_socket(*place, backlog=BACKLOG, option="listen")
            except OnhookError as error:
                failure_log.begin(error=str(error))
                await asyncio.sleep(backoff.after_run(0.0))
                continue
            failure_log.end()
            await self._serve(place, server_socket)

    async def _serve(self, place: ListenPlace, server_socket: socket.socket) -> None:
        server = await asyncio.start_server(
            partial(self._on_connection, place), sock=server_socket, limit=BUFFER_BYTES, backlog=BACKLOG
        )
        self.listen_ports[place] = int(server_socket.getsockname()[1])
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            del self.listen_ports[place]
            server.close()

    async def _on_connection(
        self, place: ListenPlace, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Receive the lines of a connection of an allowed address, and close it."""
        peer = str((writer.get_extra_info("peername") or ("",))[0])
        endpoint = self._find_endpoint(place, peer)
        try:
            if endpoint is None:
                self._reject_address(place, peer)
            elif not self._make_space(peer):
                self._ingestor.count_verdict("too_many", sn=endpoint.pbx.sn, peer=peer)
            else:
                await self._receive(endpoint, peer, reader, writer)
        except asyncio.CancelledError:
            # Of this connection alone: it was evicted, its PBX was removed, or the server stops.
            writer.transport.abort()
        finally:
            await _close(writer)

    def _find_endpoint(self, place: ListenPlace, peer: str) -> LineEndpoint | None:
        """Return the endpoint of the one PBX that this address may be of."""
        endpoints = [endpoint for endpoint in self._endpoints_at(place) if endpoint.admits(peer)]
        return endpoints[0] if len(endpoints) == 1 else None

    def _endpoints_at(self, place: ListenPlace) -> list[LineEndpoint]:
        return [endpoint for endpoint in self._endpoints if endpoint.mode == "listen" and endpoint.address == place]

    def _reject_address(self, place: ListenPlace, peer: str) -> None:
        endpoints = self._endpoints_at(place)
        self._ingestor.count_verdict(
            "unexpected_source", sn=endpoints[0].pbx.sn if len(endpoints) == 1 else "", peer=peer
        )

    def _make_space(self, peer: str) -> bool:
        """Return whether there is space for a connection of this address; the connection that was idle for longest is
        closed for it.
        """
        own_tasks = [task for task, (stream, _endpoint) in self._streams.items() if stream.peer == peer]
        if len(own_tasks) < CONNECTIONS_PER_ADDRESS_MAX and len(self._streams) < CONNECTIONS_MAX:
            return True
        idle_tasks = [task for task in own_tasks if self._streams[task][0].is_idle and not task.cancelling()]
        if not idle_tasks:
            return False
        min(idle_tasks, key=lambda task: self._streams[task][0].used_at).cancel()
        return True

    # Connections that Onhook opens

    async def _run_connection(self, sn: str, endpoint: LineEndpoint) -> None:
        await self._run_leased(f"line:{sn}", partial(self._keep_connected, endpoint))

    async def _keep_connected(self, endpoint: LineEndpoint) -> None:
        """Connect, receive, and connect again after a wait, until cancelled."""
        log = TransitionLog(
            self._log, begins="no line connection to the PBX", ends="line connection to the PBX", level=logging.WARNING
        )
        backoff = Backoff(first=RETRY_SECONDS_FIRST, maximum=RETRY_SECONDS_MAX, steady_seconds=STEADY_SECONDS)
        while True:
            started_at = time.monotonic()
            try:
                async with asyncio.timeout(CONNECT_SECONDS_MAX):
                    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, limit=BUFFER_BYTES)
            except (OSError, TimeoutError) as error:
                log.begin(sn=endpoint.pbx.sn, error=str(error) or "no answer in time")
            else:
                log.end(sn=endpoint.pbx.sn)
                try:
                    await self._receive(endpoint, endpoint.host, reader, writer)
                except Exception:  # noqa: BLE001 - an error of one PBX must not stop the others
                    self._log.exception("a line connection failed", extra={"sn": endpoint.pbx.sn})
                finally:
                    await _close(writer)
            raise_if_cancelled()
            await asyncio.sleep(backoff.after_run(time.monotonic() - started_at))

    async def _receive(
        self, endpoint: LineEndpoint, peer: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Store the lines of a connection until it ends."""
        _enable_keepalive(writer)
        stream = LineStream(
            pbx=endpoint.pbx, dialect=self._dialects[endpoint.pbx.dialect], ingestor=self._ingestor, peer=peer
        )
        task = asyncio.current_task()
        if task is None or endpoint.mode == "connect":
            await stream.run(reader)
            return
        self._streams[task] = stream, endpoint
        try:
            await stream.run(reader)
        finally:
            del self._streams[task]


def _enable_keepalive(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is None:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE_OPTIONS:
        connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS_MAX):
            await writer.wait_closed()


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
