"""What is no HTTP, byte for byte: the answer names no software, and the log has neither a token nor a line of it."""

import asyncio
import json
from contextlib import closing
from typing import Final

import pytest

from tests.pbx_api.harness import PbxApiHarness
from tests.waiting import wait_until

LONG: Final = b"a" * 9_000
HEAD: Final = b" HTTP/1.1\r\nHost: x\r\nUser-Agent: z\r\n"
TARGET: Final = b"GET /openapi/v1.0/cdr/list?access_token=TOKEN"

INVALID_REQUESTS: Final = {
    "long line": TARGET + b"&x=" + LONG + HEAD + b"\r\n",
    "long header": TARGET + HEAD + b"X: " + LONG + b"\r\n\r\n",
    "many headers": TARGET + HEAD + b"".join(b"X%d: 1\r\n" % number for number in range(3_000)) + b"\r\n",
    "TLS": b"\x16\x03\x01garbage\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "header without a colon": TARGET + HEAD + b"Bad Header\r\n\r\n",
    "version": TARGET + b" HTTP/9.9\r\n\r\n",
    "method": b"G@T" + TARGET[3:] + HEAD + b"\r\n",
    "address": b"GET http://[::1/?access_token=TOKEN" + HEAD + b"\r\n",
    "port": b"GET http://x:99999999/?access_token=TOKEN" + HEAD + b"\r\n",
    "no slash": b"GET x?access_token=TOKEN" + HEAD + b"\r\n",
    "asterisk": b"OPTIONS *?access_token=TOKEN" + HEAD + b"\r\n",
    "CONNECT": b"CONNECT x:y?access_token=TOKEN" + HEAD + b"\r\n",
    "NUL": TARGET + b"\0" + HEAD + b"\r\n",
    "control character": TARGET + b"&x=\x01" + HEAD + b"\r\n",
    "no UTF-8": TARGET + b"\xff\xfe" + HEAD + b"\r\n",
    "bare line feeds": TARGET + b" HTTP/1.1\nHost: x\n\n",
    "no host": TARGET + b" HTTP/1.1\r\n\r\n",
    "length": TARGET + HEAD + b"Content-Length: x\r\n\r\n",
    "two lengths": TARGET + HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "length and chunks": TARGET + HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "transfer encoding": TARGET + HEAD + b"Transfer-Encoding: x\r\n\r\n",
    "size of a chunk": TARGET + HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "end of a chunk": TARGET + HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\naXX\r\n",
}

INVALID_BODIES: Final = {
    "gzip": b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde",
    "deflate": b"Content-Encoding: deflate\r\nContent-Length: 5\r\n\r\nabcde",
    "brotli": b"Content-Encoding: br\r\nContent-Length: 5\r\n\r\nabcde",
}


async def send(harness: PbxApiHarness, data: bytes) -> bytes:
    """Send bytes, with a valid token in them, over a connection of their own; return all that comes back."""
    host, port = harness.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    with closing(writer):
        writer.write(data.replace(b"TOKEN", (await harness.token()).encode()))
        return await reader.read()


@pytest.mark.parametrize("data", INVALID_REQUESTS.values(), ids=INVALID_REQUESTS.keys())
async def test_invalid_http_is_answered_400_and_not_logged(
    harness: PbxApiHarness, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    head, _, body = (await send(harness, data)).partition(b"\r\n\r\n")
    assert (head.split()[1], body) == (b"400", b"Bad Request")
    assert b"server:" not in head.lower()
    assert caplog.records == []


@pytest.mark.parametrize("data", INVALID_BODIES.values(), ids=INVALID_BODIES.keys())
async def test_body_with_another_encoding_than_its_headers_say_is_rejected_and_not_logged(
    harness: PbxApiHarness, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    head, _, body = (await send(harness, TARGET + HEAD + data)).partition(b"\r\n\r\n")
    assert (head.split()[1], json.loads(body)["errcode"]) == (b"200", 40001)
    assert b"server:" not in head.lower()
    assert caplog.records == []


BROKEN_OFF_BODIES: Final = {
    "length": (b"Content-Length: 9\r\n\r\na", b""),
    "chunks": (b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n", b"zz\r\n"),
}


@pytest.mark.parametrize(("first", "second"), BROKEN_OFF_BODIES.values(), ids=BROKEN_OFF_BODIES.keys())
async def test_connection_that_its_client_closes_within_a_body_is_not_logged(
    harness: PbxApiHarness, caplog: pytest.LogCaptureFixture, first: bytes, second: bytes
) -> None:
    host, port = harness.address.split(":")
    _reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(TARGET + HEAD + first)
    limiter = harness.pbx_api._connection_limiter
    assert limiter is not None
    await wait_until(lambda: limiter.count == 1)
    await asyncio.sleep(0.05)  # The handler waits for the body.
    writer.write(second)
    writer.close()
    await wait_until(lambda: limiter.count == 0)
    assert (await harness.login())["errcode"] == 0
    assert caplog.records == []


async def test_request_for_a_socket_that_asks_for_none_is_answered_400(harness: PbxApiHarness) -> None:
    subscribe = b"GET /openapi/v1.0/subscribe?access_token=TOKEN"
    head, _, _ = (await send(harness, subscribe + HEAD + b"Connection: close\r\n\r\n")).partition(b"\r\n\r\n")
    assert head.split()[1] == b"400"
    assert b"server:" not in head.lower()
