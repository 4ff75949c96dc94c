"""Bytes to HTTP requests."""

import pytest

from onhook.receiver.http_parser import HttpRequest, RequestParser

BODY = b'{"event":"test"}'
ASKS_FOR_HTTP_2 = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
BY_LENGTH = b"Content-Length: 16\r\n\r\n" + BODY
IN_CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n7\r\n" + BODY[:7] + b"\r\n9\r\n" + BODY[7:] + b"\r\n0\r\n\r\n"


def read(request: bytes, piece: int) -> tuple[list[HttpRequest], RequestParser]:
    """Fed in pieces of this size."""
    reader = RequestParser()
    return [one for at in range(0, len(request), piece) for one in reader.feed(request[at : at + piece])], reader


@pytest.mark.parametrize("framing", [BY_LENGTH, IN_CHUNKS], ids=["length", "chunks"])
@pytest.mark.parametrize("piece", [1, 7, 64, 4096])
@pytest.mark.parametrize("upgrade", [b"", ASKS_FOR_HTTP_2], ids=["plain", "upgrade"])
def test_a_request_is_whole_however_it_arrives(framing: bytes, piece: int, upgrade: bytes) -> None:
    """Byte by byte or at once, by length or in chunks; and a wish for HTTP/2 costs nobody the body (RFC 9110, 7.8)."""
    requests, reader = read(b"POST /a?b HTTP/1.1\r\nHost: x\r\nX-Signature: s=\r\n" + upgrade + framing, piece)
    assert requests == [HttpRequest(b"POST", b"/a?b", b"s=", BODY, bool(upgrade))]
    assert (reader.rejection, reader.has_partial_request) == (None, False)


def test_a_wish_for_http_2_without_a_body_is_a_request_too() -> None:
    """Such as a browser's or a health check's."""
    requests, reader = read(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + ASKS_FOR_HTTP_2 + b"\r\n", 4096)
    assert requests == [HttpRequest(b"GET", b"/healthz", b"", b"", is_last=True)]
    assert reader.rejection is None


def test_requests_before_a_wish_for_http_2_are_answered_once() -> None:
    """Pipelined before it, in one chunk."""
    plain = b"POST / HTTP/1.1\r\nHost: x\r\n" + BY_LENGTH
    requests, _ = read(plain + plain + b"POST / HTTP/1.1\r\nHost: x\r\n" + ASKS_FOR_HTTP_2 + BY_LENGTH, 4096)
    assert [request.body for request in requests] == [BODY] * 3


def test_an_upgrade_does_not_carry_a_body_past_the_limit() -> None:
    """The limits are those of any request."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\n" + ASKS_FOR_HTTP_2
    requests, reader = read(head + b"Content-Length: 262145\r\n\r\n", 4096)
    assert (requests, reader.rejection) == ([], "too_large")
    chunks = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    requests, reader = read(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks * 5, 4096)
    assert (requests, reader.rejection) == ([], "too_large")
