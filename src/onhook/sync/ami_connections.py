"""AMI connections: an open connection to each Asterisk PBX.

Invariants: an error of one PBX affects no other. Received events are stored before more is read, so that a ledger that
cannot be written slows the PBX and does not fill the memory. The time up to which all events are stored is saved, and
advances only when they are.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

import msgspec

from onhook.cdr.queue_states import QueueState
from onhook.lib.backoff import Backoff
from onhook.lib.certificates import create_trust
from onhook.lib.change_watcher import ChangeWatcher, VersionSource, appdb_failure_log
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.lib.leased_work import RunLeased, run_without_lease
from onhook.lib.messages import _
from onhook.lib.task_reconciler import TaskReconciler, raise_if_cancelled
from onhook.pbx.client import NumberName
from onhook.pbx.connection import ClockReading, ConnectionProtocol, ConnectionUpdate
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.receiver.verdict import Verdict
from onhook.sync.ingest_retry import ingest_with_retry

POLL_SECONDS = 1.0
"""Time between two checks of the settings while the application database changes all the time."""

CHECK_SECONDS = 30.0
"""Time after which the settings are checked without a notification of a change."""

TICK_SECONDS = 0.5
"""Interval at which a protocol receives the time."""

READ_BYTES = 64 * 1024

CONNECT_SECONDS_MAX = 10.0
CLOSE_SECONDS_MAX = 2.0

RETRY_SECONDS_FIRST = 0.5
RETRY_SECONDS_MAX = 60.0
"""The wait before the next attempt doubles up to this: soon enough for a PBX that was restarted."""

REFUSED_RETRY_SECONDS = 60.0
"""Wait after a rejected login, because a PBX may block an address after several."""

STEADY_SECONDS = 60.0
"""After a connection of this duration the waits start again from the first."""

COVERAGE_SAVE_SECONDS = 5.0
"""Precision of the begin of a gap after a crash."""

TLS_ON, TLS_OFF = "on", "off"


class ConnectionSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A PBX to connect to. `tls` is `off`, `on`, or the trusted certificates, as PEM.

    `protocol_factory` returns a new protocol. `config_hash` is equal as long as the settings are.
    """

    pbx: RegisteredPbx
    name: str
    host: str
    port: int
    tls: str
    protocol_factory: Callable[[], Awaitable[ConnectionProtocol]]
    config_hash: Hashable


class ConnectionState(VersionSource, Protocol):
    """The PBXs to connect to, and the state of their connections; its version changes when the PBXs may have changed.
    Times: microseconds, UTC.
    """

    async def list_specs(self) -> Sequence[ConnectionSpec]:
        """Return every PBX to connect to. Raises `OnhookError`."""
        ...

    async def record_starting(self, sn: str) -> None:
        """Save that no connection is open yet, whatever the last process with this PBX has saved."""
        ...

    async def record_opened(self, sn: str, now_us: int) -> None:
        """Save that the PBX reports every call from now on."""
        ...

    async def record_covered(self, sn: str, until: int) -> None:
        """Save the time up to which every reported call is stored."""
        ...

    async def record_closed(self, sn: str, reason: str, *, is_refused: bool) -> None:
        """Save that a PBX is disconnected; `is_refused` means that it rejected the login."""
        ...

    async def save_detected_config(self, sn: str, text: str) -> None:
        """Save a configuration for the next protocol."""
        ...

    async def save_names(self, sn: str, names: Sequence[NumberName]) -> None:
        """Save the names of all numbers of a PBX, in place of earlier ones."""
        ...


class LiveQueues:
    """The queues of the PBXs that are connected and report them, by serial number. They are in no file: after a start
    each connection reads them from its PBX.
    """

    def __init__(self) -> None:
        self._readers: dict[str, Callable[[], Sequence[QueueState] | None]] = {}

    def connect(self, sn: str, read_states: Callable[[], Sequence[QueueState] | None]) -> None:
        """Add a PBX, whose connection is open."""
        self._readers[sn] = read_states

    def disconnect(self, sn: str) -> None:
        """Remove a PBX, if it is there."""
        self._readers.pop(sn, None)

    def read(self) -> Mapping[str, Sequence[QueueState]]:
        """Return the queues at this moment, of each PBX that reports them."""
        states_by_sn = {sn: read_states() for sn, read_states in self._readers.items()}
        return {sn: states for sn, states in states_by_sn.items() if states is not None}


class ConnectionManager:
    """All connections. Created once per process, inside its event loop."""

    def __init__(
        self,
        *,
        state: ConnectionState,
        ingestor: Ingestor,
        clock: Clock,
        run_leased: RunLeased = run_without_lease,
        live_queues: LiveQueues | None = None,
    ) -> None:
        self._state = state
        self._live_queues = live_queues or LiveQueues()
        self._run_leased = run_leased
        self._ingestor = ingestor
        self._clock = clock
        self._log = logging.getLogger("ami_connections")
        self._failure_log = appdb_failure_log(self._log, consequence="keeping the current connections")

    async def run(self) -> None:
        """Keep a connection to every PBX until cancelled."""
        watcher = ChangeWatcher(self._state, self._specs_by_sn)
        connections = TaskReconciler[str, ConnectionSpec](
            self._keep_leased, name="connection", compare_by=lambda spec: spec.config_hash
        )
        try:
            while True:
                specs = await watcher.poll_or_log(self._failure_log)
                if specs is not None:
                    await connections.reconcile(specs)
                await watcher.wait(POLL_SECONDS, CHECK_SECONDS)
        finally:
            await connections.close()

    async def _specs_by_sn(self) -> Mapping[str, ConnectionSpec]:
        return {spec.pbx.sn: spec for spec in await self._state.list_specs()}

    async def _keep_leased(self, sn: str, spec: ConnectionSpec) -> None:
        """Keep a connection while this process has the lease of it."""
        await self._run_leased(f"ami:{sn}", partial(self._keep_connected, sn, spec))

    async def _keep_connected(self, sn: str, spec: ConnectionSpec) -> None:
        """Connect, receive, and connect again after a wait."""
        backoff = Backoff(
            first=RETRY_SECONDS_FIRST,
            maximum=RETRY_SECONDS_MAX,
            steady_seconds=STEADY_SECONDS,
            failures=1,  # A PBX that was never connected waits longer than one that was connected until now.
        )
        last_reason = ""
        with suppress(OnhookError):
            # The connection that follows saves more than this.
            await self._state.record_starting(sn)
        while True:
            started_at = time.monotonic()
            reason, is_refused = await self._run_connection(spec)
            raise_if_cancelled()
            ran_seconds = time.monotonic() - started_at
            if reason != last_reason or ran_seconds >= STEADY_SECONDS:
                self._log.warning("PBX disconnected", extra={"pbx": spec.name, "detail": reason})
            last_reason = reason
            with suppress(OnhookError):
                # If this write fails too, the next connection saves that there was a gap.
                await self._state.record_closed(sn, reason, is_refused=is_refused)
            delay_seconds = backoff.after_run(ran_seconds)
            await asyncio.sleep(REFUSED_RETRY_SECONDS if is_refused else delay_seconds)

    async def _run_connection(self, spec: ConnectionSpec) -> tuple[str, bool]:
        """Run one connection; return why it ended, and whether the PBX rejected the login."""
        try:
            return await self._connect_and_run(spec)
        except TimeoutError:
            return _("no response within {seconds:.0f} seconds", seconds=CONNECT_SECONDS_MAX), False
        except OSError as error:
            return _("no connection: {error}", error=error.strerror or error), False
        except OnhookError as error:
            return str(error), False
        except Exception as error:  # noqa: BLE001 - an error of one PBX must not stop the others
            self._log.exception("connection failed unexpectedly", extra={"pbx": spec.name})
            return _("internal error ({kind}: {error})", kind=type(error).__name__, error=error), False

    async def _connect_and_run(self, spec: ConnectionSpec) -> tuple[str, bool]:
        # Before there is a connection, which nothing would close where this fails.
        protocol = await spec.protocol_factory()
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            context = create_tls_context(spec.tls)
            reader, writer = await asyncio.open_connection(spec.host, spec.port, ssl=context)
        connection = _Connection(
            spec=spec,
            protocol=protocol,
            state=self._state,
            ingestor=self._ingestor,
            clock=self._clock,
            log=self._log,
            live_queues=self._live_queues,
        )
        try:
            return await connection.run(reader, writer)
        finally:
            writer.close()
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS_MAX):
                    await writer.wait_closed()


class _Connection:
    """One protocol over one connection."""

    def __init__(
        self,
        *,
        spec: ConnectionSpec,
        protocol: ConnectionProtocol,
        state: ConnectionState,
        ingestor: Ingestor,
        clock: Clock,
        log: logging.Logger,
        live_queues: LiveQueues,
    ) -> None:
        self._spec = spec
        self._live_queues = live_queues
        self._state = state
        self._ingestor = ingestor
        self._clock = clock
        self._log = log
        self._protocol = protocol
        self._is_open = False
        self._coverage_saved_at = 0.0
        self._ticked_at = 0.0

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, bool]:
        """Run until the connection ends. Completely received calls are stored, whatever the reason of the end."""
        received_at = self._now()
        try:
            while True:
                data = await _read_chunk(reader)
                now = self._now()
                if data == b"":
                    return _("the PBX closed the connection"), False
                received_at = now if data else received_at
                for update in self._next_updates(data, now):
                    await self._handle(update, received_at, now)
                    if update.end_reason:
                        return update.end_reason, update.is_refused
                await self._send(writer)
        finally:
            self._live_queues.disconnect(self._spec.pbx.sn)
            await self._ingest_all(self._protocol.connection_lost())
            await self._save_coverage(received_at, self._now())

    def _next_updates(self, data: bytes | None, now: ClockReading) -> Iterator[ConnectionUpdate]:
        """Yield the updates from received data and from the time, which advances also while data arrives
        without pause.
        """
        if data:
            yield self._protocol.receive_data(data, now)
        if now.monotonic_seconds - self._ticked_at >= TICK_SECONDS or not data:
            self._ticked_at = now.monotonic_seconds
            yield self._protocol.on_tick(now)

    async def _handle(self, update: ConnectionUpdate, received_at: ClockReading, now: ClockReading) -> None:
        if update.is_ready:
            self._is_open = True
            self._live_queues.connect(self._spec.pbx.sn, lambda: self._protocol.queue_states(self._now()))
            await self._state.record_opened(self._spec.pbx.sn, self._clock.microseconds())
            self._log.info("PBX connected", extra={"pbx": self._spec.name})
        for message in update.log_messages:
            self._log.warning(message, extra={"pbx": self._spec.name})
        if update.detected_config:
            await self._state.save_detected_config(self._spec.pbx.sn, update.detected_config)
        if update.names is not None:
            with suppress(OnhookError):
                # The names are read again after a while.
                await self._state.save_names(self._spec.pbx.sn, update.names)
        await self._ingest_all(update.raw_events)
        if now.monotonic_seconds - self._coverage_saved_at > COVERAGE_SAVE_SECONDS:
            await self._save_coverage(received_at, now)

    async def _save_coverage(self, received_at: ClockReading, now: ClockReading) -> None:
        """Save the time up to which everything is stored: that of the last byte, or before the oldest queued event."""
        if not self._is_open:
            return
        held_since = self._protocol.pending_since()
        until = (
            received_at.unix_seconds if held_since is None else now.unix_seconds - (now.monotonic_seconds - held_since)
        )
        with suppress(OnhookError):
            # A failed write only makes the next gap longer.
            await self._state.record_covered(self._spec.pbx.sn, int(until * 1_000_000))
            self._coverage_saved_at = now.monotonic_seconds

    async def _ingest_all(self, bodies: Sequence[bytes]) -> None:
        """Return when all bodies are stored, however long the ledger takes."""
        peer = f"{self._spec.host}:{self._spec.port}"

        def ingest(body: bytes) -> Awaitable[Verdict]:
            return self._ingestor.ingest(self._spec.pbx, body, self._protocol.via, peer)

        await ingest_with_retry(ingest, bodies)

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        if data := self._protocol.data_to_send():
            writer.write(data)
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                await writer.drain()

    def _now(self) -> ClockReading:
        return ClockReading(monotonic_seconds=time.monotonic(), unix_seconds=self._clock.microseconds() / 1_000_000)


async def _read_chunk(reader: asyncio.StreamReader) -> bytes | None:
    """Return the next bytes, empty at the end, or None after some time without any."""
    try:
        async with asyncio.timeout(TICK_SECONDS):
            return await reader.read(READ_BYTES)
    except TimeoutError:
        return None


def create_tls_context(tls: str) -> ssl.SSLContext | None:
    """Return the TLS context: the system's certificate authorities, or the given certificates, which then replace the
    check of the host name.

    None where TLS is off.
    """
    if tls == TLS_OFF:
        return None
    if tls == TLS_ON:
        return ssl.create_default_context()
    context = create_trust(tls)
    context.check_hostname = False
    return context
