"""One HTTP connection of a PBX, bounded in time and in number of requests.

Invariants: requests are answered in the order of arrival (RFC 9112, 9.3.2); a rejection ends the connection; an error
here affects no other connection.
"""

import asyncio
from collections import deque
from functools import partial
from typing import Final, Protocol, cast

from onhook.lib.proxies import TrustedProxies
from onhook.lib.proxy_protocol import InvalidProxyHeader, parse_proxy_header
from onhook.receiver.http_parser import HttpRequest, RequestParser
from onhook.receiver.ingest import Ingestor
from onhook.receiver.responses import CONTINUE, Responses, strip_body
from onhook.receiver.verdict import Verdict

REQUEST_SECONDS_MAX = 10.0
"""From the first byte to the last: the longest time-out that a PBX can be set to (yeastar-p-series.md 4)."""

IDLE_SECONDS_MAX = 75.0
"""An open connection without a request: longer than the minute of common proxies, so that the proxy closes first."""

LINGER_SECONDS_MAX = 2.0
"""After a rejection the sender may still be sending; closing at once would reset the connection and lose the response.
"""

LINGER_BYTES_MAX = 1024 * 1024
"""Bytes that are discarded during that time."""

PIPELINED_MAX = 64
"""Unanswered requests of one connection; more are left unread until these are answered."""

WRITE_BLOCKED_SECONDS_MAX = 10.0
"""Time in which a sender must read a response, before the connection is closed."""

HEALTH_PATH = b"/healthz"

EVENT_METHODS = frozenset({b"GET", b"HEAD", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
"""Methods by which a webhook may be sent by mistake, for the label of its counter; all others share one."""

_NEVER: Final = float("inf")


class ConnectionServer(Protocol):
    """What a connection needs of its server."""

    ingestor: Ingestor
    responses: Responses
    trusted_proxies: TrustedProxies

    def time(self) -> float:
        """Return the seconds of a monotonic clock."""
        ...

    def enqueue_chunk(self, connection: "HttpConnection", chunk: bytes) -> None:
        """Queue received bytes; the server calls `HttpConnection.process_chunk` at the end of the round."""
        ...

    def register(self, connection: "HttpConnection") -> bool:
        """Add a new connection. Return False when there are too many."""
        ...

    def set_idle(self, connection: "HttpConnection") -> None:
        """Mark a connection as idle: it may be closed to make space."""
        ...

    def set_busy(self, connection: "HttpConnection") -> None:
        """Mark a connection as busy: a request has begun."""
        ...

    def unregister(self, connection: "HttpConnection") -> None:
        """Remove a closed connection."""
        ...


class _PendingResponse:
    """One request and, once there is one, its response."""

    __slots__ = ("is_head", "response")

    def __init__(self, *, is_head: bool) -> None:
        self.is_head = is_head
        self.response: bytes | None = None


class HttpConnection(asyncio.Protocol):
    """The protocol of one connection, called by the event loop. The server checks `deadline`."""

    def __init__(self, server: ConnectionServer) -> None:
        self.deadline = _NEVER
        self._server = server
        self._request_parser = RequestParser()
        self._transport: asyncio.Transport | None = None
        self._peer: str | None = None
        self._preamble: bytes | None = None
        """Bytes in which the header of a trusted proxy may begin, until it is complete or absent."""
        self._pending_responses: deque[_PendingResponse] = deque()
        self._has_partial_request = False
        self._unprocessed_chunks = 0
        self._is_eof = False
        self._is_closing = False
        self._lingers = False
        self._is_lingering = False
        self._lingered_bytes = 0
        self._is_reading_paused = False
        self._is_write_blocked = False

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._set_deadline(REQUEST_SECONDS_MAX)
        if self._server.trusted_proxies and self._server.trusted_proxies.trusts(self._peer_address()):
            self._preamble = b""
        if not self._server.register(self):
            self._reject("too_many", lingers=False)

    def data_received(self, data: bytes) -> None:
        self._unprocessed_chunks += 1
        self._server.enqueue_chunk(self, data)

    def eof_received(self) -> bool:
        """Answer requests that were sent before the sender closed its side of the connection."""
        self._is_eof = True
        return bool(self._pending_responses or self._unprocessed_chunks)

    def pause_writing(self) -> None:
        self._is_write_blocked = True
        self._set_deadline(WRITE_BLOCKED_SECONDS_MAX)
        self._update_reading()

    def resume_writing(self) -> None:
        self._is_write_blocked = False
        self._set_deadline(REQUEST_SECONDS_MAX)
        self._update_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self._unprocessed_chunks:
            self._request_parser.close()
        self._server.unregister(self)

    # Called by the server

    def process_chunk(self, chunk: bytes) -> None:
        """Parse received bytes and submit the requests, even if the sender has disconnected."""
        self._unprocessed_chunks -= 1
        if self._is_lingering:
            self._discard(len(chunk))
        elif not self._is_closing:
            if self._preamble is not None:
                chunk = self._read_proxy_header(chunk)
            for request in self._request_parser.feed(chunk) if chunk else ():
                self._handle_request(request)
            self._handle_partial_request()
        if self._transport is None:
            self._request_parser.close()
        elif self._is_eof and not self._pending_responses and not self._unprocessed_chunks:
            self._transport.close()

    def on_deadline(self) -> None:
        """Close the connection: its deadline has passed."""
        if self._is_lingering or self._is_write_blocked:
            self.abort()
        elif self._request_parser.has_partial_request:
            self._reject("too_slow")
        else:
            self.finish()

    def finish(self) -> None:
        """Answer the pending requests, then close; close at once when there are none."""
        self._is_closing = True
        if self._transport is not None and not self._pending_responses:
            self._transport.close()

    def abort(self) -> None:
        """Abort the connection."""
        if self._transport is not None:
            self._transport.abort()

    # Requests

    def _handle_request(self, request: HttpRequest) -> None:
        """Submit a request; the response may come now or later."""
        self._server.set_busy(self)
        self._has_partial_request = False
        self._is_closing = request.is_last
        self.deadline = _NEVER  # commits have their own limit
        pending_response = _PendingResponse(is_head=request.method == b"HEAD")
        self._pending_responses.append(pending_response)
        ingestor = self._server.ingestor
        if request.method == b"POST" or (request.method == b"GET" and request.body):
            signature = request.signature.decode("latin-1")
            path = request.path.decode("latin-1")
            ingestor.submit_request(
                request.body,
                signature,
                self._client_address(request),
                partial(self._send_verdict, pending_response),
                path=path,
                authorization=request.authorization,
            )
        elif request.method == b"GET" and request.path.partition(b"?")[0] == HEALTH_PATH:
            self._send_response(
                pending_response,
                self._server.responses.for_health(is_healthy=ingestor.is_working, is_last=self._is_closing),
            )
        else:
            ingestor.count_verdict("wrong_method", label=_method_label(request), peer=self._client_address(request))
            self._send_verdict(pending_response, "wrong_method")

    def _handle_partial_request(self) -> None:
        """Handle the rest after the last complete request: part of a request, or an error."""
        request_parser = self._request_parser
        if request_parser.rejection is not None:
            self._reject(request_parser.rejection)
        elif request_parser.has_partial_request and not self._has_partial_request:
            self._has_partial_request = True
            self._server.set_busy(self)
            self._set_deadline(REQUEST_SECONDS_MAX)
        if request_parser.expects_continue and not self._pending_responses and self._transport is not None:
            request_parser.expects_continue = False
            self._transport.write(CONTINUE)
        if len(self._pending_responses) >= PIPELINED_MAX:
            self._update_reading()

    def _reject(self, verdict: Verdict, *, lingers: bool = True) -> None:
        """Queue a rejection as the last response."""
        self._is_closing = True
        self._lingers = lingers
        self._server.ingestor.count_verdict(verdict, peer=self._peer_address())
        pending_response = _PendingResponse(is_head=False)
        self._pending_responses.append(pending_response)
        self._send_verdict(pending_response, verdict)

    def _read_proxy_header(self, chunk: bytes) -> bytes:
        """Return what follows the header of a trusted proxy in the PROXY protocol, nothing while it is incomplete."""
        data, self._preamble = (self._preamble or b"") + chunk, None
        try:
            header = parse_proxy_header(data)
        except InvalidProxyHeader:
            return data  # the parser rejects it
        if header is None:
            self._preamble = data
            return b""
        self._peer = header.address or self._peer
        return data[header.size :]

    def _client_address(self, request: HttpRequest) -> str:
        """Return the address of the sender; behind a trusted proxy the one that it names."""
        peer = self._peer_address()
        if not (request.forwarded or request.x_forwarded_for):
            return peer
        return self._server.trusted_proxies.client_address(
            peer,
            forwarded=[value.decode("latin-1") for value in request.forwarded],
            x_forwarded_for=[value.decode("latin-1") for value in request.x_forwarded_for],
        )

    def _peer_address(self) -> str:
        """Return the address of the peer, or the one that the PROXY protocol names."""
        if self._peer is None and self._transport is not None:
            address = self._transport.get_extra_info("peername")
            self._peer = str(address[0]) if address else ""
        return self._peer or ""

    # Responses

    def _send_verdict(self, pending_response: _PendingResponse, verdict: Verdict) -> None:
        if self._transport is None:
            return  # the sender has disconnected; its repeat is answered as a duplicate
        is_last = self._is_closing and pending_response is self._pending_responses[-1]
        response = self._server.responses.for_verdict(verdict, is_last=is_last)
        self._send_response(pending_response, strip_body(response) if pending_response.is_head else response)

    def _send_response(self, pending_response: _PendingResponse, response: bytes) -> None:
        """Write the responses that are ready, in order."""
        pending_response.response = response
        while (
            self._pending_responses
            and (next_response := self._pending_responses[0].response) is not None
            and self._transport is not None
        ):
            self._pending_responses.popleft()
            self._transport.write(next_response)
        if self._is_reading_paused:
            self._update_reading()
        if self._pending_responses:
            return
        if self._is_closing or (self._is_eof and not self._unprocessed_chunks):
            self._close()
        elif not self._request_parser.has_partial_request:
            self._server.set_idle(self)
            self._set_deadline(IDLE_SECONDS_MAX)

    def _close(self) -> None:
        """Close; after a rejection only when the sender has had time to read it."""
        assert self._transport is not None
        if not self._lingers:
            self._transport.close()
            return
        self._is_lingering = True
        self._set_deadline(LINGER_SECONDS_MAX)
        self._update_reading()
        self._transport.write_eof()

    def _discard(self, count: int) -> None:
        self._lingered_bytes += count
        if self._lingered_bytes > LINGER_BYTES_MAX:
            self.abort()

    # Time

    def _set_deadline(self, seconds: float) -> None:
        self.deadline = self._server.time() + seconds

    def _update_reading(self) -> None:
        is_paused = not self._is_lingering and (self._is_write_blocked or len(self._pending_responses) >= PIPELINED_MAX)
        if self._transport is None or is_paused is self._is_reading_paused:
            return
        self._is_reading_paused = is_paused
        if is_paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()


def _method_label(request: HttpRequest) -> str:
    """Return the method of a rejected request that may be an event; empty where it asks for a page, as browsers do."""
    if request.method in (b"GET", b"HEAD") and not request.signature:
        return ""
    return request.method.decode() if request.method in EVENT_METHODS else "another method"
