"""HTTP request parser."""

import pytest

from onhook.receiver.http_parser import HttpRequest, RequestParser

BODY = b'{"event":"test"}'
ASKS_FOR_HTTP_2 = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
BY_LENGTH = b"Content-Length: 16\r\n\r\n" + BODY
IN_CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n7\r\n" + BODY[:7] + b"\r\n9\r\n" + BODY[7:] + b"\r\n0\r\n\r\n"


def read(request: bytes, piece: int) -> tuple[list[HttpRequest], RequestParser]:
    """Feed a request in pieces of this size."""
    reader = RequestParser()
    return [
        parsed for start in range(0, len(request), piece) for parsed in reader.feed(request[start : start + piece])
    ], reader


@pytest.mark.parametrize("framing", [BY_LENGTH, IN_CHUNKS], ids=["length", "chunks"])
@pytest.mark.parametrize("piece", [1, 7, 64, 4096])
@pytest.mark.parametrize("upgrade", [b"", ASKS_FOR_HTTP_2], ids=["plain", "upgrade"])
def test_parser_request_in_any_pieces_is_complete(framing: bytes, piece: int, upgrade: bytes) -> None:
    """By length or in chunks; an offered upgrade to HTTP/2 leaves the body intact (RFC 9110, 7.8)."""
    requests, reader = read(b"POST /a?b HTTP/1.1\r\nHost: x\r\nX-Signature: s=\r\n" + upgrade + framing, piece)
    assert requests == [HttpRequest(b"POST", b"/a?b", b"s=", BODY, bool(upgrade))]
    assert (reader.rejection, reader.has_partial_request) == (None, False)


def test_parser_upgrade_without_body_is_a_request() -> None:
    """As of a browser or a health check."""
    requests, reader = read(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + ASKS_FOR_HTTP_2 + b"\r\n", 4096)
    assert requests == [HttpRequest(b"GET", b"/healthz", b"", b"", is_last=True)]
    assert reader.rejection is None


def test_parser_requests_before_an_upgrade_are_returned_once() -> None:
    plain = b"POST / HTTP/1.1\r\nHost: x\r\n" + BY_LENGTH
    requests, _ = read(plain + plain + b"POST / HTTP/1.1\r\nHost: x\r\n" + ASKS_FOR_HTTP_2 + BY_LENGTH, 4096)
    assert [request.body for request in requests] == [BODY] * 3


def test_parser_upgrade_body_over_the_limit_is_rejected() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\n" + ASKS_FOR_HTTP_2
    requests, reader = read(head + b"Content-Length: 262145\r\n\r\n", 4096)
    assert (requests, reader.rejection) == ([], "too_large")
    chunks = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    requests, reader = read(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks * 5, 4096)
    assert (requests, reader.rejection) == ([], "too_large")
