"""The relay in front of the console: silent connections and many of one address keep no other client out."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from onhook.config import Address, Config
from onhook.console.rebuild_page import RebuildProgress, rebuild_app
from onhook.lib.errors import Unavailable
from onhook.lib.proxies import TrustedProxies
from onhook.runtime import proxy_relay, rebuild_mode
from onhook.runtime.http_server import HttpServer
from tests.factories import proxy_header

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
PROXY = "127.0.0.1"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Run a console that trusts a proxy on this machine; return its port."""
    app = rebuild_app(RebuildProgress("the store is damaged"))
    async with HttpServer(app, Address(PROXY, 0), TrustedProxies([f"{PROXY}/32"])) as server:
        task = asyncio.create_task(server.run())
        yield server.port
        task.cancel()
        await asyncio.wait([task])


async def ask(port: int, client: str = "203.0.113.9") -> bytes:
    """Return the first bytes of the response to a request of a client, empty where it was refused."""
    return await ask_with(port, proxy_header(client, PROXY) + REQUEST)


async def ask_with(port: int, first_bytes: bytes) -> bytes:
    """Return the first bytes of the response to the first bytes of a connection, empty where it was refused."""
    reader, writer = await asyncio.open_connection(PROXY, port)
    writer.write(first_bytes)
    with suppress(ConnectionError):
        answer = await asyncio.wait_for(reader.read(15), timeout=20)
        writer.close()
        await writer.wait_closed()
        return answer
    return b""


@asynccontextmanager
async def open_silent(port: int, clients: Sequence[str]) -> AsyncIterator[list[asyncio.StreamReader]]:
    """Open a connection for each client, on which only the header of the proxy is sent."""
    streams = [await asyncio.open_connection(PROXY, port) for _ in clients]
    for client, (_reader, writer) in zip(clients, streams, strict=True):
        writer.write(proxy_header(client, PROXY))
    yield [reader for reader, _writer in streams]
    for _reader, writer in streams:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_silent_connections_end(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_relay, "FIRST_BYTE_SECONDS_MAX", 0.2)
    async with open_silent(port, ["198.51.100.1", "198.51.100.2"]) as readers:
        assert [await asyncio.wait_for(reader.read(), timeout=20) for reader in readers] == [b"", b""]
    assert await ask(port) == b"HTTP/1.1 200 OK"


async def test_one_address_has_not_all_connections(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_relay, "CONNECTIONS_OF_ADDRESS_MAX", 3)
    async with open_silent(port, ["198.51.100.1"] * 3):
        async with asyncio.timeout(20):
            while await ask(port, "198.51.100.1"):  # noqa: ASYNC110 - the relay sets no event
                await asyncio.sleep(0.05)
        assert await ask(port) == b"HTTP/1.1 200 OK"


async def test_clients_behind_a_proxy_without_its_protocol_do_not_share_a_limit(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy names them in a header of each request; the limit of all connections remains."""
    monkeypatch.setattr(proxy_relay, "CONNECTIONS_OF_ADDRESS_MAX", 3)
    monkeypatch.setattr(proxy_relay, "CONNECTIONS_MAX", 6)
    monkeypatch.setattr(proxy_relay, "GRACE_SECONDS", 60.0)
    request = REQUEST.replace(b"Connection: close", b"X-Forwarded-For: 198.51.100.1")
    async with asyncio.timeout(20):
        streams = [await asyncio.open_connection(PROXY, port) for _ in range(6)]
        for reader, writer in streams:
            writer.write(request)
            assert await reader.read(15) == b"HTTP/1.1 200 OK"
        assert await ask_with(port, request) == b""
    for _reader, writer in streams:
        writer.close()
        await writer.wait_closed()


async def test_page_of_a_rebuild_is_served_behind_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rebuild itself is a mock, which never ends."""

    async def never_end(_config: Config, _progress: RebuildProgress) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(rebuild_mode, "_rebuild", never_end)
    config = Config(data=tmp_path, console=Address(PROXY, 0), trusted_proxies=f"{PROXY}/32")
    async with rebuild_mode.open_rebuild_mode(config, Unavailable("the store is damaged")) as service:
        port = int(service.address.rpartition(":")[2])
        assert await ask(port) == b"HTTP/1.1 200 OK"
