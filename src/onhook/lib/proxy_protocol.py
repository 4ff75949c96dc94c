"""PROXY protocol, version 2: a header before the first byte of a connection, with the address of the client.

The format is that of HAProxy's `doc/proxy-protocol.txt`, section 2.2. Only headers of trusted peers are read; for any
other peer the bytes belong to the protocol of the connection, which rejects them.
"""

import asyncio
import ipaddress
import socket
from typing import Final

import msgspec

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
FIXED_BYTES: Final = 16
HEADER_BYTES_MAX: Final = FIXED_BYTES + 2_048
"""Addresses take 216 bytes at most; the rest is for extensions, which are skipped."""

PEEK_SECONDS: Final = 0.01
"""Wait until more than a part of the header has arrived."""

_LOCAL, _PROXY = 0x20, 0x21
_ADDRESS_BYTES: Final = {0x11: 4, 0x21: 16}
"""By address family and protocol: TCP over IPv4, TCP over IPv6. A client of another kind has no address."""


class InvalidProxyHeader(ValueError):
    """A header that is too long or of another version."""


class ProxyHeader(msgspec.Struct, frozen=True):
    """A complete header: its size in bytes, and the address of the client; empty if the proxy itself connects."""

    size: int
    address: str


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """Parse the beginning of a connection. Return None while more bytes are needed, and a header of size 0 if the
    connection begins without one. Raises `InvalidProxyHeader`.
    """
    if not SIGNATURE.startswith(data[: len(SIGNATURE)]):
        return ProxyHeader(0, "")
    if len(data) < FIXED_BYTES:
        return None
    command, family = data[12], data[13]
    size = FIXED_BYTES + int.from_bytes(data[14:16], "big")
    if command not in (_LOCAL, _PROXY) or size > HEADER_BYTES_MAX:
        raise InvalidProxyHeader
    if len(data) < size:
        return None
    address_bytes = _ADDRESS_BYTES.get(family, 0)
    if command == _LOCAL or not address_bytes:
        return ProxyHeader(size, "")
    if size < FIXED_BYTES + 2 * address_bytes + 4:
        raise InvalidProxyHeader
    return ProxyHeader(size, str(ipaddress.ip_address(data[FIXED_BYTES : FIXED_BYTES + address_bytes])))


async def read_proxy_header(connection: socket.socket, timeout_seconds: float) -> str:
    """Read the header of an accepted, non-blocking socket, and nothing after it; return the address of the client, or
    an empty text. Raises `InvalidProxyHeader`, `TimeoutError`, `OSError`.
    """
    async with asyncio.timeout(timeout_seconds):
        while True:
            await _wait_until_readable(connection)
            data = connection.recv(HEADER_BYTES_MAX, socket.MSG_PEEK)
            header = parse_proxy_header(data) if data else ProxyHeader(0, "")
            if header is not None:
                if header.size:
                    connection.recv(header.size)
                return header.address
            await asyncio.sleep(PEEK_SECONDS)


async def _wait_until_readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(connection, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(connection)
