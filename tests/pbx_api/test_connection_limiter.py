"""Connections: slow ones end, too many are not let in, TLS stands between."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from onhook.lib.errors import UsageError
from onhook.pbx_api import connection_limiter
from onhook.pbx_api.certificate import create_tls_context, ensure_certificate
from onhook.pbx_api.connection_limiter import ConnectionLimiter, listen
from tests.pbx_api.harness import NOW


class Echo(asyncio.Protocol):
    """Says back what it hears."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert isinstance(self.transport, asyncio.Transport)
        self.transport.write(data)


@asynccontextmanager
async def open_door(tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[ConnectionLimiter, int]]:
    door = ConnectionLimiter(Echo, tls)
    listening = listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    letting_in = asyncio.create_task(door.accept_connections(listening))
    try:
        yield door, port
    finally:
        letting_in.cancel()
        await asyncio.wait([letting_in])


async def counted_out(door: ConnectionLimiter, *, to: int = 0) -> None:
    """Until so many are inside."""
    async with asyncio.timeout(30):
        while door.count > to:  # noqa: ASYNC110 - the door tells nobody who leaves
            await asyncio.sleep(0.01)


def test_all_addresses_of_both_families_are_one_address() -> None:
    """`[::]` lets applications in that come by IPv4 too."""
    with listen("::", 0) as listening:
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, listening.getsockname()[1]), timeout=5).close()


async def test_a_connection_is_counted_in_and_out() -> None:
    """While it is there, and no longer."""
    async with open_door() as (door, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"a")
        assert await reader.read(1) == b"a"
        assert door.count == 1
        writer.close()
        await counted_out(door)


async def test_too_many_connections_are_not_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are there stay."""
    monkeypatch.setattr(connection_limiter, "CONNECTIONS_OF_ADDRESS_MAX", 2)
    async with open_door() as (door, port):
        inside = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for reader, writer in inside:
            writer.write(b"a")
            assert await reader.read(1) == b"a"
        reader, third = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read(1) == b""
        third.close()
        assert door.count == 2
        for _, writer in inside:
            writer.close()
        await counted_out(door)


async def test_who_never_asks_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many bytes come, one by one."""
    monkeypatch.setattr(connection_limiter, "REQUEST_SECONDS_MAX", 0.2)
    async with open_door() as (door, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /openapi/v1.0/")
        await asyncio.sleep(0)
        await counted_out(door)
        writer.close()


async def test_half_a_handshake_is_cut_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It counts as a connection while it lasts; rubbish instead of TLS ends at once; a good one goes on."""
    monkeypatch.setattr(connection_limiter, "HANDSHAKE_SECONDS_MAX", 0.3)
    certificate, key = tmp_path / "pbx_api.crt", tmp_path / "pbx_api.key"
    ensure_certificate(certificate, key, "127.0.0.1", NOW)
    async with open_door(create_tls_context(certificate, key)) as (door, port):
        _, silent = await asyncio.open_connection("127.0.0.1", port)
        _, rubbish = await asyncio.open_connection("127.0.0.1", port)
        rubbish.write(b"GET / HTTP/1.1\r\n\r\n")
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=ssl.create_default_context(cafile=certificate)
        )
        writer.write(b"a")
        assert await reader.read(1) == b"a"
        await counted_out(door, to=1)
        writer.write(b"b")
        assert await reader.read(1) == b"b"
        for one in (silent, rubbish, writer):
            one.close()
        await counted_out(door)


def test_a_taken_address_is_told() -> None:
    """With one sentence that says what to do."""
    with listen("127.0.0.1", 0) as taken, pytest.raises(UsageError, match="the port is in use"):
        listen("127.0.0.1", taken.getsockname()[1])


async def test_a_door_lets_requests_in() -> None:
    """Any protocol serves: what is behind does not know of the door."""
    server = aiohttp.web.Server(_hello, access_log=None)
    listening = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    letting_in = asyncio.create_task(ConnectionLimiter(server, None).accept_connections(listening))
    async with aiohttp.request("GET", url) as answer:
        assert await answer.text() == "hello"
    letting_in.cancel()
    await asyncio.wait([letting_in])
    await server.shutdown(1)


async def _hello(_request: aiohttp.web.BaseRequest) -> aiohttp.web.Response:
    return aiohttp.web.Response(text="hello")
