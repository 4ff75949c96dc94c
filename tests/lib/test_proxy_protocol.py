"""PROXY protocol, version 2."""

import asyncio
import socket

import pytest

from onhook.lib.proxy_protocol import (
    HEADER_BYTES_MAX,
    SIGNATURE,
    InvalidProxyHeader,
    ProxyHeader,
    parse_proxy_header,
    read_proxy_header,
)
from tests.factories import proxy_header

IPV4 = proxy_header("192.0.2.7", "10.0.0.1")
IPV6 = proxy_header("2001:db8::7", "2001:db8::1")


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (IPV4, ProxyHeader(28, "192.0.2.7")),
        (IPV4 + b"GET / HTTP/1.1\r\n", ProxyHeader(28, "192.0.2.7")),
        (IPV6, ProxyHeader(52, "2001:db8::7")),
        (proxy_header("192.0.2.7", "10.0.0.1", extension=b"\x04\x00\x01x"), ProxyHeader(32, "192.0.2.7")),
        (SIGNATURE + b"\x20\x00\x00\x00", ProxyHeader(16, "")),
        (SIGNATURE + b"\x21\x31\x00\x02ab", ProxyHeader(18, "")),
        (b"GET / HTTP/1.1\r\n", ProxyHeader(0, "")),
        (b"\r\n\r\nGET / HTTP/1.1\r\n", ProxyHeader(0, "")),
    ],
)
def test_proxy_header_is_parsed(data: bytes, header: ProxyHeader) -> None:
    assert parse_proxy_header(data) == header


@pytest.mark.parametrize("size", range(len(IPV6)))
def test_proxy_header_part_needs_more(size: int) -> None:
    assert parse_proxy_header(IPV6[:size]) is None


@pytest.mark.parametrize(
    "data",
    [
        SIGNATURE + b"\x11\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x22\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\x00\x04" + bytes(4),
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
    ids=["version 1", "command", "too short", "too long"],
)
def test_proxy_header_of_another_form_is_rejected(data: bytes) -> None:
    with pytest.raises(InvalidProxyHeader):
        parse_proxy_header(data)


async def test_read_proxy_header_leaves_what_follows() -> None:
    """However the bytes arrive."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        reading = asyncio.create_task(read_proxy_header(ours, 5.0))
        for byte in IPV4:
            theirs.send(bytes([byte]))
            await asyncio.sleep(0)
        theirs.send(b"GET /")
        assert await reading == "192.0.2.7"
        assert ours.recv(100) == b"GET /"


async def test_read_proxy_header_is_limited_in_time() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.send(IPV4[:20])
        with pytest.raises(TimeoutError):
            await read_proxy_header(ours, 0.05)
        assert len(ours.recv(HEADER_BYTES_MAX)) == 20
