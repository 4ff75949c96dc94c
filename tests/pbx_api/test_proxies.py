"""Apps behind a proxy: the address of the client decides, if the proxy is trusted."""

import asyncio
import json

import pytest

from tests.factories import proxy_header
from tests.pbx_api.harness import CLIENT_ID, CLIENT_SECRET, PbxApiHarness, open_pbx_api_harness

CLIENT, PROXY = "192.0.2.7", "127.0.0.1"
LOGIN = json.dumps({"username": CLIENT_ID, "password": CLIENT_SECRET}).encode()


async def send_login(harness: PbxApiHarness, *, preamble: bytes = b"", headers: bytes = b"") -> bytes:
    """Send a login over a connection that begins with a preamble; return everything that comes back."""
    host, port = harness.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = b"POST /openapi/v1.0/get_token HTTP/1.1\r\nHost: x\r\nUser-Agent: a\r\n" + headers
    writer.write(preamble + head + b"Content-Length: %d\r\n\r\n" % len(LOGIN) + LOGIN)
    response = await reader.read()
    writer.close()
    return response


@pytest.mark.parametrize(
    ("preamble", "headers"),
    [
        (b"", b"X-Forwarded-For: 192.0.2.7\r\n"),
        (b"", b"Forwarded: for=192.0.2.7\r\n"),
        (proxy_header(CLIENT, PROXY), b""),
    ],
    ids=["X-Forwarded-For", "Forwarded", "PROXY"],
)
async def test_proxy_names_the_client_if_it_is_trusted(preamble: bytes, headers: bytes) -> None:
    """The app is allowed from the address of the client, not from that of the proxy."""
    async with open_pbx_api_harness(networks=(CLIENT,), trusted_proxies=(PROXY,)) as harness:
        assert b'"errcode":0' in await send_login(harness, preamble=preamble, headers=headers)
        assert b'"errcode":70087' in await send_login(harness)
    async with open_pbx_api_harness(networks=(CLIENT,)) as harness:
        assert b'"errcode":0' not in await send_login(harness, preamble=preamble, headers=headers)


async def test_proxy_header_of_an_untrusted_peer_is_invalid_http() -> None:
    async with open_pbx_api_harness() as harness:
        assert (await send_login(harness, preamble=proxy_header(CLIENT, PROXY))).startswith(b"HTTP/1.0 400")


async def test_login_failures_behind_a_proxy_are_counted_by_client() -> None:
    async with open_pbx_api_harness(trusted_proxies=(PROXY,)) as harness:
        wrong = {"username": CLIENT_ID, "password": "wrong"}
        for client in ("192.0.2.7", "192.0.2.8"):
            codes = [
                (await harness.request("POST", "v1.0/get_token", json=wrong, headers={"X-Forwarded-For": client}))[
                    "errcode"
                ]
                for _ in range(5)
            ]
            assert codes == [10005] * 4 + [70004]
