"""The console behind a proxy: the audit log has the address of the client that a trusted proxy names."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from onhook.config import Address
from onhook.lib.proxies import TrustedProxies
from onhook.runtime.http_server import HttpServer
from tests.console.conftest import ConsoleHarness, open_console_harness
from tests.factories import proxy_header

CLIENT, PROXY = "192.0.2.7", "127.0.0.1"


async def audited_address(harness: ConsoleHarness, *, preamble: bytes = b"", header: str = "") -> str:
    """Return the address that the audit log has for a request over a connection that begins with a preamble."""
    await harness.appdb.apps.block("192.0.2.9", "crm", harness.clock.microseconds())
    reader, writer = await asyncio.open_connection("127.0.0.1", int(harness.url.rpartition(":")[2]))
    head = f"DELETE /api/v1/blocked-addresses HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}"
    writer.write(preamble + f"{head}Authorization: Bearer {harness.admin_token}\r\n\r\n".encode())
    response = await reader.read()
    writer.close()
    if not response.startswith(b"HTTP/1.1 204"):
        return ""
    return (await harness.appdb.audit.latest(1))[0].address


@pytest.mark.parametrize(
    ("preamble", "header"),
    [
        (b"", f"X-Forwarded-For: {CLIENT}\r\n"),
        (b"", f"Forwarded: for={CLIENT}\r\n"),
        (proxy_header(CLIENT, PROXY), ""),
    ],
    ids=["X-Forwarded-For", "Forwarded", "PROXY"],
)
async def test_proxy_names_the_client_if_it_is_trusted(tmp_path: Path, preamble: bytes, header: str) -> None:
    """One that is not trusted names none: the request has its own address, or is no HTTP."""
    for name in ("trusted", "untrusted"):
        (tmp_path / name).mkdir()
    async with open_console_harness(tmp_path / "trusted", trusted_proxies="127.0.0.0/8") as harness:
        assert await audited_address(harness, preamble=preamble, header=header) == CLIENT
        assert await audited_address(harness) == PROXY
    async with open_console_harness(tmp_path / "untrusted") as harness:
        assert await audited_address(harness, preamble=preamble, header=header) == ("" if preamble else PROXY)


async def forwarded_client(port: int) -> str:
    """Return the client that the server sees, as soon as it listens."""
    async with asyncio.timeout(10), aiohttp.ClientSession(headers={"X-Forwarded-For": CLIENT}) as client:
        while True:
            try:
                async with client.get(f"http://127.0.0.1:{port}/") as answer:
                    return await answer.text()
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.01)


async def test_relay_listens_again_when_the_server_is_restarted() -> None:
    """On the same port."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while scope["type"] == "lifespan":
            await send({"type": f"{(await receive())['type']}.complete"})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["client"][0].encode()})

    async with HttpServer(app, Address("127.0.0.1", 0), TrustedProxies(["127.0.0.0/8"])) as server:
        for _ in range(2):
            running = asyncio.create_task(server.run())
            assert await forwarded_client(server.port) == CLIENT
            running.cancel()
            await asyncio.wait([running])


async def test_relay_passes_on_long_responses_and_a_disconnected_client(tmp_path: Path) -> None:
    """A page of some hundred kilobytes arrives whole; a listener that disconnects frees its place."""
    async with open_console_harness(tmp_path, trusted_proxies="127.0.0.0/8") as harness, harness.client() as client:
        async with client.get("/schema/openapi.json") as answer:
            assert "paths" in await answer.json()
        async with client.get("/api/v1/live") as answer:
            assert (await answer.content.readline()).startswith(b"retry")
        async with client.get("/api/v1/records") as answer:
            assert answer.status == 200


@pytest.mark.parametrize(("proxies", "is_secure"), [("127.0.0.0/8", True), ("", False)])
async def test_proxy_with_tls_gets_cookies_for_encrypted_connections_if_it_is_trusted(
    tmp_path: Path, proxies: str, is_secure: bool
) -> None:
    headers = {"X-Forwarded-Proto": "https", "Sec-Fetch-Site": "same-origin"}
    async with (
        open_console_harness(tmp_path, trusted_proxies=proxies) as harness,
        aiohttp.ClientSession(headers=headers) as client,
        client.post(f"{harness.url}/sign-in", data={"token": harness.admin_token}, allow_redirects=False) as answer,
    ):
        assert answer.status == 303
        assert ("Secure" in answer.headers["Set-Cookie"]) == is_secure
