"""Databases whose responses make no sense."""

import asyncio
from contextlib import suppress

import pytest

from onhook.delivery.destinations.contract import Notification
from tests.delivery.destinations.contract import open_client
from tests.delivery.harness import SECRET

FLAGS = b"\xff\xf7\x21\x02\0\xff\xc1\x15"
GREETING = b"\x0a8.0.30\0\x01\0\0\0abcdefgh\0" + FLAGS + bytes(10) + b"ijklmnopqrst\0mysql_native_password\0"


def mysql_packet(number: int, content: bytes) -> bytes:
    return len(content).to_bytes(3, "little") + bytes([number]) + content


@pytest.mark.parametrize(
    ("kind", "response"),
    [
        ("mysql", mysql_packet(0, b"\x0a8.0.30\0\x01\0")),
        ("mysql", mysql_packet(0, b"\xff\x15\x04#28000\xff\xfe")),
        ("mysql", mysql_packet(0, GREETING) + mysql_packet(2, b"\x07")),
        ("mysql", mysql_packet(0, GREETING) + mysql_packet(2, b"\xfe\xff\xfe\xff")),
        ("postgresql", b"R\0\0\0\x06\0\0"),
        ("postgresql", b"R\0\0\0\x08\0\0\0\x63"),
        ("postgresql", b"E\0\0\0\x0cSabc\xff\xff\0\0"),
        ("postgresql", b"x\0\0\0\x04"),
    ],
)
async def test_database_response_that_makes_no_sense_is_a_result(kind: str, response: bytes) -> None:
    ended = asyncio.Semaphore(0)

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(response)
            writer.write_eof()
            await reader.read()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        ended.release()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    url = f"{kind}://onhook@127.0.0.1:{server.sockets[0].getsockname()[1]}/calls"
    client = open_client({"kind": kind, "url": url, "allow_private": True, "fields": {"tls": "off"}}, SECRET)
    try:
        (result,) = await client.send([Notification("test-1", client.format_test_payload(), 0, is_test=True)])
    finally:
        await client.close()
        server.close()
    await ended.acquire()
    assert result.outcome == "unreachable"
    assert result.detail
