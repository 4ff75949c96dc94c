"""HTTP request parser on llhttp; bounded, without input or output.

Invariants: a request is complete or absent; after a rejection nothing more is parsed, because the start of the next
request is unknown.
"""

from typing import Final

import httptools
import msgspec

from onhook.receiver.verdict import Verdict

BODY_BYTES_MAX = 256 * 1024
"""yeastar-p-series.md: an event has some 600 bytes."""

HEADER_BYTES_MAX = 16 * 1024
"""Request line and headers: twice what common servers and proxies allow."""

HEADER_COUNT_MAX = 100
"""A PBX and a chain of proxies send fewer than 30."""

REQUEST_BYTES_MAX = 2 * 1024 * 1024
"""All bytes of a request: the largest body in chunks of one byte has six times its size; trailers count too."""

_SIGNATURE: Final = b"x-signature"
_LENGTH: Final = b"content-length"
_LENGTH_DIGITS_MAX: Final = 10
_EXPECT: Final = b"expect"
_CONTINUE: Final = b"100-continue"
_FORWARDED: Final = b"forwarded"
_X_FORWARDED_FOR: Final = b"x-forwarded-for"
_AUTHORIZATION: Final = b"authorization"
_RELEVANT_HEADERS: Final = frozenset(
    {_SIGNATURE, _LENGTH, _EXPECT, b"transfer-encoding", _FORWARDED, _X_FORWARDED_FOR, _AUTHORIZATION}
)


class HttpRequest(msgspec.Struct, frozen=True, gc=False):
    """One complete request. `is_last`: the sender asks to close the connection after the response. `forwarded` and
    `x_forwarded_for` are the values of the headers of proxies, `authorization` is the one with credentials.
    """

    method: bytes
    path: bytes
    signature: bytes
    body: bytes
    is_last: bool
    forwarded: tuple[bytes, ...] = ()
    x_forwarded_for: tuple[bytes, ...] = ()
    authorization: bytes = b""


class RequestParser:
    """Parser that takes received bytes and returns complete requests.

    `rejection` is the error, once there is one; `has_partial_request` whether a request has begun and is incomplete;
    `expects_continue` whether the sender waits for a `100 Continue` (`Expect: 100-continue`).
    """

    def __init__(self) -> None:
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._requests: list[HttpRequest] = []
        self._is_finished = False
        self._header_bytes = self._header_count = 0
        self.rejection: Verdict | None = None
        self._reset()
        self.has_partial_request = False

    def feed(self, chunk: bytes) -> list[HttpRequest]:
        """Return the requests that this chunk completes, in order."""
        if self._is_finished or self._parser is None:
            return []
        had_partial_request, was_in_header = self.has_partial_request, not self._is_in_body
        self._parse(chunk)
        if self.has_partial_request and had_partial_request:
            self._check_size(len(chunk), is_header=was_in_header and not self._is_in_body)
        requests, self._requests = self._requests, []
        return requests

    def close(self) -> None:
        """Release the parser: it and this object refer to each other."""
        self._parser = None

    # Called by the parser

    def on_message_begin(self) -> None:
        self._reset()

    def on_url(self, part: bytes) -> None:
        self._path += part
        self._header_bytes += len(part)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        self._header_count += 1
        name = name.lower()
        if name not in _RELEVANT_HEADERS or self._is_in_body:
            return  # trailers are ignored
        self._headers.append((name, value))
        if name == _SIGNATURE:
            self._signature = value
        elif name == _LENGTH:
            # llhttp has checked that these are digits and that there is one such header.
            self._is_too_large = len(value) > _LENGTH_DIGITS_MAX or int(value) > BODY_BYTES_MAX
        elif name == _EXPECT:
            self.expects_continue = value.lower() == _CONTINUE
        elif name == _FORWARDED:
            self._forwarded += (value,)
        elif name == _X_FORWARDED_FOR:
            self._x_forwarded_for += (value,)
        elif name == _AUTHORIZATION:
            self._authorization = value

    def on_headers_complete(self) -> None:
        self._is_in_body = True
        if self._header_bytes > HEADER_BYTES_MAX or self._header_count > HEADER_COUNT_MAX:
            self._reject("header_too_large")
        elif self._is_too_large:
            self._reject("too_large")

    def on_body(self, part: bytes) -> None:
        self._body_bytes += len(part)
        self.expects_continue = False
        if self._body_bytes > BODY_BYTES_MAX:
            self._body.clear()
            self._reject("too_large")
        elif self.rejection is None:
            self._body.append(part)

    def on_message_complete(self) -> None:
        assert self._parser is not None
        if self._parser.should_upgrade() and self._parser.get_method() != b"CONNECT" and not self._is_finished:
            return  # the parser takes the body for another protocol; see `_ignore_upgrade`
        self.has_partial_request = self.expects_continue = False
        if self._is_finished:
            return
        is_last = self._parser.should_upgrade() or not self._parser.should_keep_alive()
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._requests.append(
            HttpRequest(
                self._parser.get_method(),
                self._path,
                self._signature,
                body,
                is_last,
                self._forwarded,
                self._x_forwarded_for,
                self._authorization,
            )
        )
        self._is_finished = is_last

    def _parse(self, chunk: bytes) -> None:
        assert self._parser is not None
        try:
            self._parser.feed_data(chunk)
        except httptools.HttpParserCallbackError:
            raise  # an error in this code
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(chunk[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._reject("bad_request")

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Ignore an upgrade, as some HTTP clients offer for HTTP/2 (RFC 9110, 7.8).

        The request is parsed on without it; `rest` and what follows is its body. The connection ends with the response.
        """
        if self._is_finished or self._parser is None:
            return
        request_line = self._parser.get_method() + b" " + self._path + b" HTTP/1.1\r\n"
        head = b"".join(b"%s: %s\r\n" % header for header in self._headers)
        self._parser = httptools.HttpRequestParser(self)
        self._parse(request_line + head + b"connection: close\r\n\r\n" + rest)

    def _reset(self) -> None:
        self.has_partial_request = True
        self.expects_continue = False
        self._is_in_body = False
        self._is_too_large = False
        self._path = self._signature = self._authorization = b""
        self._forwarded: tuple[bytes, ...] = ()
        self._x_forwarded_for: tuple[bytes, ...] = ()
        self._headers: list[tuple[bytes, bytes]] = []
        self._header_bytes = self._header_count = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._fed_bytes = self._fed_header_bytes = 0

    def _check_size(self, chunk_bytes: int, *, is_header: bool) -> None:
        """Limit headers and trailers that never end: the parser reports them only when they are complete."""
        self._fed_bytes += chunk_bytes
        self._fed_header_bytes += chunk_bytes if is_header else 0
        if self._fed_header_bytes > HEADER_BYTES_MAX:
            self._reject("header_too_large")
        elif self._fed_bytes > REQUEST_BYTES_MAX:
            self._reject("too_large")

    def _reject(self, verdict: Verdict) -> None:
        if not self._is_finished:
            self._is_finished = True
            self.rejection = verdict
