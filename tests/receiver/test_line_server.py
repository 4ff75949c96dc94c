"""Lines of PBXs over real sockets, into a real ledger."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from ipaddress import ip_network
from pathlib import Path

import pytest

from onhook.appdb import leases
from onhook.appdb.appdb import AppDb
from onhook.appdb.leases import LeaseHolder
from onhook.ledger.contract import AppendResult, LedgerEntry
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.lib.errors import Unavailable
from onhook.lib.leased_work import RunLeased, run_without_lease
from onhook.pbx.threecx.payload import ThreeCx
from onhook.receiver.ingest import Ingestor
from onhook.receiver.line_server import CONNECTIONS_PER_ADDRESS_MAX, LineEndpoint, LineServer
from onhook.receiver.line_stream import LineStream
from onhook.receiver.pbx_registry import RegisteredPbx
from tests.receiver.harness import MemoryPbxRegistry
from tests.waiting import polls, wait_until

PAYLOADS = Path(__file__).parents[1] / "payloads" / "lines"
LINE = (PAYLOADS / "3cx_v20_2024_outbound_27_fields.txt").read_bytes()
OTHER_LINE = (PAYLOADS / "3cx_v20_2024_inbound_queue_27_fields.txt").read_bytes()
DIALECTS = {"3cx": ThreeCx()}
SECONDS_MAX = 20.0


class MemoryEndpoints:
    """Endpoints in a list."""

    def __init__(self, endpoints: Sequence[LineEndpoint]) -> None:
        self._endpoints = endpoints
        self._version = 1
        self._changed = asyncio.Event()

    def replace(self, endpoints: Sequence[LineEndpoint]) -> None:
        self._endpoints = endpoints
        self._version += 1
        self._changed.set()

    async def version(self) -> int:
        return self._version

    async def wait_for_change(self, version: int, seconds: float) -> int:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._version == version:
                    self._changed.clear()
                    await self._changed.wait()
        return self._version

    async def list_endpoints(self) -> Sequence[LineEndpoint]:
        return self._endpoints

    async def list_stored_endpoints(self) -> Sequence[LineEndpoint]:
        return []


class LineHarness:
    """A line server and its ledger."""

    def __init__(
        self, path: Path, endpoints: Sequence[LineEndpoint], run_leased: RunLeased = run_without_lease
    ) -> None:
        self.ledger = SqliteLedger(path)
        self.ingestor = Ingestor(
            ledger=self.ledger, registry=MemoryPbxRegistry([]), dialects=DIALECTS, clock=SystemClock()
        )
        self.endpoints = MemoryEndpoints(endpoints)
        self.server = LineServer(
            source=self.endpoints, ingestor=self.ingestor, dialects=DIALECTS, run_leased=run_leased
        )

    async def port(self) -> int:
        await wait_until(lambda: bool(self.server.listen_ports))
        (port,) = self.server.listen_ports.values()
        return port

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", await self.port())

    async def send(self, *chunks: bytes) -> bytes:
        """Send chunks over a connection of their own, end it, and return what came back: nothing."""
        reader, writer = await self.open()
        # uvloop raises a RuntimeError where the other side was faster.
        with suppress(ConnectionError, RuntimeError):
            for chunk in chunks:
                writer.write(chunk)
                await writer.drain()
                await asyncio.sleep(0.01)
            writer.write_eof()
        return await read_end(reader, writer)

    async def bodies(self) -> list[bytes]:
        return [raw_event.body for raw_event in await self.ledger.read(0, 1_000)]

    async def counts(self) -> dict[tuple[str, str], int]:
        await self.ingestor.close()
        return {(counter.kind, counter.label): counter.count for counter in await self.ledger.counters()}


async def read_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Return what the server sent until it closed the connection."""
    try:
        async with asyncio.timeout(SECONDS_MAX):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def endpoint(*networks: str, host: str = "127.0.0.1", port: int = 0, sn: str = "3cx-5015") -> LineEndpoint:
    pbx = RegisteredPbx(sn=sn, dialect="3cx", networks=tuple(map(ip_network, networks)))
    return LineEndpoint(pbx=pbx, mode="listen", host=host, port=port)


@asynccontextmanager
async def running(
    path: Path, *endpoints: LineEndpoint, run_leased: RunLeased = run_without_lease
) -> AsyncIterator[LineHarness]:
    harness = LineHarness(path / "ledger.db", endpoints, run_leased)
    task = asyncio.create_task(harness.server.run())
    try:
        yield harness
    finally:
        task.cancel()
        await asyncio.wait([task])
        await harness.ingestor.close()
        await harness.ledger.close()


async def test_x7_line_on_two_connections_is_one_event(tmp_path: Path) -> None:
    async with running(tmp_path, endpoint("127.0.0.0/8")) as harness:
        assert await harness.send(LINE) == b""
        assert await harness.send(LINE.rstrip()) == b""
        (raw_event,) = await harness.ledger.read(0, 10)
        assert (raw_event.sn, raw_event.dialect, raw_event.via, raw_event.peer) == (
            "3cx-5015",
            "3cx",
            "line",
            "127.0.0.1",
        )
        assert raw_event.body == LINE.rstrip()
        assert await harness.counts() == {("stored", "via:line"): 1, ("duplicate", "via:line"): 1}


async def test_x8_lines_that_are_cut_or_joined_are_stored_whole(tmp_path: Path) -> None:
    third_line = LINE.replace(b"26808", b"26809").rstrip()
    async with running(tmp_path, endpoint()) as harness:
        await harness.send(LINE[:100], LINE[100:] + OTHER_LINE, third_line)
        assert await harness.bodies() == [LINE.rstrip(), OTHER_LINE.rstrip(), third_line]


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (b"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n" + LINE, "not_an_event"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) + b"\n", "not_an_event"),
        (b"x" * 1024 * 1024, "too_large"),
    ],
)
async def test_x9_what_is_no_line_ends_the_connection(tmp_path: Path, data: bytes, verdict: str) -> None:
    async with running(tmp_path, endpoint()) as harness:
        reader, writer = await harness.open()
        writer.write(data)
        assert await read_end(reader, writer) == b""
        assert await harness.bodies() == []
        assert (await harness.counts()) == {(verdict, ""): 1}


async def test_x9_other_address_is_counted_and_not_read(tmp_path: Path) -> None:
    async with running(tmp_path, endpoint("192.0.2.7")) as harness:
        reader, writer = await harness.open()
        assert await read_end(reader, writer) == b""
        with suppress(ConnectionError):
            await harness.send(LINE)
        assert await harness.bodies() == []
        assert (await harness.counts())["unexpected_source", ""] == 2


async def test_line_server_without_an_allow_list_reads_nothing_on_an_address_that_others_reach(tmp_path: Path) -> None:
    async with running(tmp_path, endpoint(host="0.0.0.0")) as harness:  # noqa: S104 - closed at the end of the test
        with suppress(ConnectionError):
            await harness.send(LINE)
        assert await harness.bodies() == []


async def test_line_server_pbx_at_a_shared_port_is_found_by_its_address(tmp_path: Path) -> None:
    endpoints = endpoint("127.0.0.1", sn="local"), endpoint("192.0.2.0/24", sn="other")
    async with running(tmp_path, *endpoints) as harness:
        await harness.send(LINE)
        assert [raw_event.sn for raw_event in await harness.ledger.read(0, 10)] == ["local"]
        harness.endpoints.replace([*endpoints, endpoint("127.0.0.0/8", sn="third")])
        await wait_until(lambda: len(harness.server._endpoints) == 3)
        with suppress(ConnectionError):
            await harness.send(OTHER_LINE)
        assert len(await harness.bodies()) == 1


async def test_line_server_removed_pbx_has_no_connection_and_no_port(tmp_path: Path) -> None:
    async with running(tmp_path, endpoint()) as harness:
        reader, writer = await harness.open()
        writer.write(LINE)
        await wait_until_stored(harness, 1)
        harness.endpoints.replace([])
        assert await read_end(reader, writer) == b""
        await wait_until(lambda: not harness.server.listen_ports)


async def test_line_server_changed_allow_list_ends_the_connections_that_it_no_longer_has(tmp_path: Path) -> None:
    async with running(tmp_path, endpoint("127.0.0.1")) as harness:
        port = await harness.port()
        reader, writer = await harness.open()
        writer.write(LINE)
        await wait_until_stored(harness, 1)
        harness.endpoints.replace([endpoint("192.0.2.7", "127.0.0.1")])
        await wait_until(lambda: len(harness.server._endpoints[0].pbx.networks) == 2)
        writer.write(OTHER_LINE)
        await wait_until_stored(harness, 2)
        harness.endpoints.replace([endpoint("192.0.2.7")])
        assert await read_end(reader, writer) == b""
        assert await harness.port() == port


async def test_line_server_idle_connections_of_an_address_make_space(tmp_path: Path) -> None:
    async with running(tmp_path, endpoint()) as harness:
        connections = [await harness.open() for _number in range(CONNECTIONS_PER_ADDRESS_MAX)]
        await wait_until(lambda: len(harness.server._streams) == CONNECTIONS_PER_ADDRESS_MAX)
        assert await harness.send(LINE) == b""
        assert await harness.bodies() == [LINE.rstrip()]
        assert await read_end(*connections[0]) == b""
        for _reader, writer in connections[1:]:
            writer.close()


async def test_line_server_connections_within_a_line_are_not_closed_for_others(tmp_path: Path) -> None:
    async with running(tmp_path, endpoint()) as harness:
        connections = [await harness.open() for _number in range(CONNECTIONS_PER_ADDRESS_MAX)]
        for number, (_reader, writer) in enumerate(connections):
            writer.write(LINE.replace(b"26808", b"%d" % number)[:100])
        await wait_until(
            lambda: sum(not stream.is_idle for stream, _ in harness.server._streams.values()) == len(connections)
        )
        with suppress(ConnectionError):
            await harness.send(LINE)
        for number, (reader, writer) in enumerate(connections):
            writer.write(LINE.replace(b"26808", b"%d" % number)[100:])
            writer.write_eof()
            await read_end(reader, writer)
        assert len(await harness.bodies()) == len(connections)
        assert (await harness.counts())["too_many", ""] == 1


async def test_line_server_port_in_use_is_used_once_it_is_free(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other_server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = other_server.sockets[0].getsockname()[1]
    async with running(tmp_path, endpoint(port=port)) as harness:
        await wait_until(lambda: "cannot listen for lines" in caplog.text)
        assert not harness.server.listen_ports
        other_server.close()
        await harness.send(LINE)
        assert await harness.bodies() == [LINE.rstrip()]


async def test_line_server_connects_to_a_pbx_that_listens_and_again_after_its_end(tmp_path: Path) -> None:
    lines = [LINE, OTHER_LINE]

    async def write_line(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if lines:
            writer.write(lines.pop(0))
        writer.close()

    pbx_server = await asyncio.start_server(write_line, "127.0.0.1", 0)
    pbx = RegisteredPbx(sn="passive", dialect="3cx")
    port = pbx_server.sockets[0].getsockname()[1]
    spec = LineEndpoint(pbx=pbx, mode="connect", host="127.0.0.1", port=port)
    async with running(tmp_path, spec) as harness:
        await wait_until_stored(harness, 2)
        assert {raw_event.peer for raw_event in await harness.ledger.read(0, 10)} == {"127.0.0.1"}
    pbx_server.close()


async def test_line_server_pbx_that_cannot_be_reached_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pbx_server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = pbx_server.sockets[0].getsockname()[1]
    pbx_server.close()
    await pbx_server.wait_closed()
    spec = LineEndpoint(pbx=RegisteredPbx(sn="p", dialect="3cx"), mode="connect", host="127.0.0.1", port=port)
    async with running(tmp_path, spec) as harness:
        await wait_until(lambda: "no line connection to the PBX" in caplog.text)

        async def write_line(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(LINE)
            writer.close()

        pbx_server = await asyncio.start_server(write_line, "127.0.0.1", port)
        await wait_until_stored(harness, 1)
    pbx_server.close()


class PassivePbx:
    """A PBX that offers its lines: it counts the connections that are open."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []

    async def start(self) -> LineEndpoint:
        self._server = await asyncio.start_server(self._on_connection, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        pbx = RegisteredPbx(sn="passive", dialect="3cx")
        return LineEndpoint(pbx=pbx, mode="connect", host="127.0.0.1", port=port)

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            await reader.read()
        finally:
            self.writers.remove(writer)
            writer.close()

    def write(self, line: bytes) -> None:
        for writer in self.writers:
            writer.write(line)

    def close(self) -> None:
        self._server.close()


async def test_line_server_of_two_intakes_one_connects_to_the_pbx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it stops, the other one connects."""
    monkeypatch.setattr(leases, "ACQUIRE_SECONDS", 0.01)
    pbx = PassivePbx()
    spec = await pbx.start()
    async with AppDb(tmp_path / "onhook.db") as appdb, AsyncExitStack() as stack:
        first = LeaseHolder(appdb.leases, SystemClock())
        second = LeaseHolder(appdb.leases, SystemClock())
        (tmp_path / "second").mkdir()
        async with running(tmp_path, spec, run_leased=first.run_unless_held) as harness:
            await wait_until(lambda: len(pbx.writers) == 1)
            other = await stack.enter_async_context(
                running(tmp_path / "second", spec, run_leased=second.run_unless_held)
            )
            pbx.write(LINE)
            await wait_until_stored(harness, 1)
        await wait_until(lambda: len(pbx.writers) == 1)
        pbx.write(OTHER_LINE)
        await wait_until_stored(other, 1)
        assert await other.bodies() == [OTHER_LINE.rstrip()]
    pbx.close()


class FailingLedger(SqliteLedger):
    """A ledger that cannot be written for some attempts."""

    failures = 2

    async def append(self, entries: Sequence[LedgerEntry]) -> list[AppendResult]:
        if self.failures:
            self.failures -= 1
            raise Unavailable("full", hint="wait")
        return await super().append(entries)


async def test_line_stream_waits_while_the_ledger_cannot_be_written(tmp_path: Path) -> None:
    ledger = FailingLedger(tmp_path / "ledger.db")
    ingestor = Ingestor(ledger=ledger, registry=MemoryPbxRegistry([]), dialects=DIALECTS, clock=SystemClock())
    reader = asyncio.StreamReader()
    reader.feed_data(LINE + OTHER_LINE)
    reader.feed_eof()
    stream = LineStream(
        pbx=RegisteredPbx(sn="3cx", dialect="3cx"), dialect=ThreeCx(), ingestor=ingestor, peer="192.0.2.7"
    )
    await stream.run(reader)
    assert [raw_event.body for raw_event in await ledger.read(0, 10)] == [LINE.rstrip(), OTHER_LINE.rstrip()]
    await ingestor.close()
    await ledger.close()


async def test_line_stream_line_without_an_end_is_stored_after_silence(tmp_path: Path) -> None:
    harness = LineHarness(tmp_path / "ledger.db", [])
    reader = asyncio.StreamReader()
    stream = LineStream(
        pbx=RegisteredPbx(sn="3cx", dialect="3cx"),
        dialect=ThreeCx(),
        ingestor=harness.ingestor,
        peer="192.0.2.7",
        partial_seconds_max=0.05,
    )
    task = asyncio.create_task(stream.run(reader))
    reader.feed_data(LINE.rstrip())
    await wait_until_stored(harness, 1)
    assert stream.is_idle
    reader.set_exception(ConnectionResetError())
    await task
    await harness.ingestor.close()
    await harness.ledger.close()


async def wait_until_stored(harness: LineHarness, count: int) -> None:
    await wait_until(len(await harness.bodies()) >= count async for _ in polls())
