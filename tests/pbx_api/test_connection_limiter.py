"""Limits of connections."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from onhook.lib.errors import UsageError
from onhook.pbx_api import connection_limiter, waiting_connections
from onhook.pbx_api.certificate import create_tls_context, ensure_certificate
from onhook.pbx_api.connection_limiter import ConnectionLimiter, listen
from tests.pbx_api.harness import NOW, open_pbx_api_harness


class Echo(asyncio.Protocol):
    """Returns what it receives."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert isinstance(self.transport, asyncio.Transport)
        self.transport.write(data)


class ManualMonotonic:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@asynccontextmanager
async def open_limiter(
    tls: ssl.SSLContext | None = None, monotonic: Callable[[], float] = time.monotonic
) -> AsyncIterator[tuple[ConnectionLimiter, int]]:
    limiter = ConnectionLimiter(Echo, tls, monotonic=monotonic)
    server_socket = listen("127.0.0.1", 0)
    port = server_socket.getsockname()[1]
    accept_task = asyncio.create_task(limiter.accept_connections(server_socket))
    try:
        yield limiter, port
    finally:
        accept_task.cancel()
        await asyncio.wait([accept_task])


async def wait_for_connections(limiter: ConnectionLimiter, *, count: int = 0) -> None:
    """Wait until at most this many connections are open."""
    async with asyncio.timeout(30):
        while limiter.count > count:  # noqa: ASYNC110 - the limiter sets no event
            await asyncio.sleep(0.01)


def test_limiter_ipv6_any_address_accepts_ipv4() -> None:
    with listen("::", 0) as server_socket:
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, server_socket.getsockname()[1]), timeout=5).close()


async def test_limiter_counts_open_connections() -> None:
    async with open_limiter() as (limiter, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"a")
        assert await reader.read(1) == b"a"
        assert limiter.count == 1
        writer.close()
        await wait_for_connections(limiter)


async def test_limiter_over_the_limit_rejects_new_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open ones stay."""
    monkeypatch.setattr(connection_limiter, "CONNECTIONS_OF_ADDRESS_MAX", 2)
    async with open_limiter() as (limiter, port):
        connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for reader, writer in connections:
            writer.write(b"a")
            assert await reader.read(1) == b"a"
        reader, third = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read(1) == b""
        third.close()
        assert limiter.count == 2
        for _, writer in connections:
            writer.close()
        await wait_for_connections(limiter)


@pytest.mark.parametrize("has_tls", [False, True])
async def test_limiter_silent_connections_make_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, has_tls: bool
) -> None:
    """The oldest one ends for each further connection of the address, also during the handshake; the others stay."""
    monkeypatch.setattr(waiting_connections, "WAITING_OF_ADDRESS_MAX", 2)
    monotonic = ManualMonotonic()
    async with open_limiter(_create_tls(tmp_path) if has_tls else None, monotonic) as (limiter, port):
        connections = [await _open_silent(limiter, port, number) for number in (1, 2)]
        monotonic.seconds += waiting_connections.GRACE_SECONDS + 1
        connections.append(await _open_silent(limiter, port, 2))
        async with asyncio.timeout(30):
            assert await connections[0][0].read() == b""
        monotonic.seconds += waiting_connections.GRACE_SECONDS + 1
        await asyncio.sleep(0)
        assert [reader.at_eof() for reader, _ in connections] == [True, False, False]
        for _, writer in connections:
            writer.close()
        await wait_for_connections(limiter)


async def test_limiter_young_connections_do_not_make_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where all sockets of an app connect again at once."""
    monkeypatch.setattr(waiting_connections, "WAITING_OF_ADDRESS_MAX", 2)
    async with open_limiter(monotonic=ManualMonotonic()) as (limiter, port):
        connections = [await _open_silent(limiter, port, number) for number in range(1, 6)]
        assert not any(reader.at_eof() for reader, _ in connections)
        for _, writer in connections:
            writer.close()
        await wait_for_connections(limiter)


async def test_limiter_full_of_silent_connections_accepts_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limiter, "CONNECTIONS_MAX", 2)
    monotonic = ManualMonotonic()
    async with open_limiter(monotonic=monotonic) as (limiter, port):
        silent = [await _open_silent(limiter, port, number) for number in (1, 2)]
        monotonic.seconds += waiting_connections.GRACE_SECONDS + 1
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"a")
        async with asyncio.timeout(30):
            assert await reader.read(1) == b"a"
        for _, client in (*silent, (reader, writer)):
            client.close()
        await wait_for_connections(limiter)


async def test_silent_connections_keep_no_app_of_the_address_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket of the app is not closed; a new sign-in, a request and a new socket are served."""
    monkeypatch.setattr(connection_limiter, "CONNECTIONS_OF_ADDRESS_MAX", 4)
    monkeypatch.setattr(waiting_connections, "GRACE_SECONDS", 0)
    async with open_pbx_api_harness() as harness, harness.connect_socket(await harness.token()) as open_socket:
        host, _, port = harness.address.rpartition(":")
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(8)]
        token = await harness.token()
        assert (await harness.get("v1.0/system/information", token))["errcode"] == 0
        async with harness.connect_socket(token) as new_socket:
            for app_socket in (open_socket, new_socket):
                await app_socket.send("heartbeat")
                assert await app_socket.recv() == "heartbeat response"
        for _, writer in silent:
            writer.close()


async def _open_silent(
    limiter: ConnectionLimiter, port: int, count: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection, on which nothing is sent; wait until the server has so many."""
    streams = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(30):
        while limiter.count < count:  # noqa: ASYNC110 - the limiter sets no event
            await asyncio.sleep(0.01)
    return streams


def _create_tls(directory: Path) -> ssl.SSLContext:
    certificate, key = directory / "pbx_api.crt", directory / "pbx_api.key"
    ensure_certificate(certificate, key, "127.0.0.1", NOW)
    return create_tls_context(certificate, key)


async def test_limiter_slow_request_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many bytes arrive, one by one."""
    monkeypatch.setattr(connection_limiter, "REQUEST_SECONDS_MAX", 0.2)
    async with open_limiter() as (limiter, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /openapi/v1.0/")
        await asyncio.sleep(0)
        await wait_for_connections(limiter)
        writer.close()


async def test_limiter_incomplete_handshake_is_disconnected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It counts as a connection while it lasts; invalid data instead of TLS ends at once; a valid one continues."""
    monkeypatch.setattr(connection_limiter, "HANDSHAKE_SECONDS_MAX", 0.3)
    certificate, key = tmp_path / "pbx_api.crt", tmp_path / "pbx_api.key"
    ensure_certificate(certificate, key, "127.0.0.1", NOW)
    async with open_limiter(create_tls_context(certificate, key)) as (limiter, port):
        _, silent = await asyncio.open_connection("127.0.0.1", port)
        _, invalid = await asyncio.open_connection("127.0.0.1", port)
        invalid.write(b"GET / HTTP/1.1\r\n\r\n")
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=ssl.create_default_context(cafile=certificate)
        )
        writer.write(b"a")
        assert await reader.read(1) == b"a"
        await wait_for_connections(limiter, count=1)
        writer.write(b"b")
        assert await reader.read(1) == b"b"
        for client in (silent, invalid, writer):
            client.close()
        await wait_for_connections(limiter)


def test_limiter_port_in_use_is_an_error() -> None:
    """With one sentence that says what to do."""
    with listen("127.0.0.1", 0) as used_socket, pytest.raises(UsageError, match="the port is in use"):
        listen("127.0.0.1", used_socket.getsockname()[1])


async def test_limiter_serves_any_protocol() -> None:
    server = aiohttp.web.Server(_hello, access_log=None)
    server_socket = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{server_socket.getsockname()[1]}/"
    accept_task = asyncio.create_task(ConnectionLimiter(server, None).accept_connections(server_socket))
    async with aiohttp.request("GET", url) as answer:
        assert await answer.text() == "hello"
    accept_task.cancel()
    await asyncio.wait([accept_task])
    await server.shutdown(1)


async def _hello(_request: aiohttp.web.BaseRequest) -> aiohttp.web.Response:
    return aiohttp.web.Response(text="hello")
