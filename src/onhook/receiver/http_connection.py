"""One connection of a PBX: requests in, answers out; bounded in time and number.

Laws: requests are answered in the order in which they came (RFC 9112, 9.3.2); a refusal ends the connection; what goes
wrong here stays here.
"""

import asyncio
from collections import deque
from functools import partial
from typing import Final, Protocol, cast

from onhook.receiver.http_parser import HttpRequest, RequestParser
from onhook.receiver.ingest import Ingestor
from onhook.receiver.responses import CONTINUE, Responses, strip_body
from onhook.receiver.verdict import Verdict

REQUEST_SECONDS_MAX = 10.0
"""From the first byte to the last: the longest time-out a PBX can be set to (PROTOCOL.md 4); by then it gave up."""

IDLE_SECONDS_MAX = 75.0
"""A kept connection without a request: longer than the minute that proxies keep theirs, so that they close first."""

LINGER_SECONDS_MAX = 2.0
"""After a refusal the sender is still sending, and would lose our answer to a reset if we closed at once."""

LINGER_BYTES_MAX = 1024 * 1024
"""So long we throw away what it sends, and no more than this."""

PIPELINED_MAX = 64
"""Requests of one connection that wait for answers; more are left unread until these are answered."""

WRITE_BLOCKED_SECONDS_MAX = 10.0
"""How long a sender may leave our answers unread before it is cut off."""

HEALTH_PATH = b"/healthz"

_NEVER: Final = float("inf")


class ConnectionServer(Protocol):
    """What a connection needs of its server."""

    accept: Ingestor
    answers: Responses

    def time(self) -> float:
        """Seconds, by a clock that never goes back."""
        ...

    def arrived(self, connection: "HttpConnection", chunk: bytes) -> None:
        """Note what has arrived; `Connection.take` is called with it in a moment."""
        ...

    def welcome(self, connection: "HttpConnection") -> bool:
        """Take in a new connection; False when there are too many."""
        ...

    def rest(self, connection: "HttpConnection") -> None:
        """Note that it waits for a request and could be spared."""
        ...

    def rouse(self, connection: "HttpConnection") -> None:
        """Note that a request has begun."""
        ...

    def part(self, connection: "HttpConnection") -> None:
        """Forget a connection that is gone."""
        ...


class _PendingResponse:
    """One request, and the answer once there is one."""

    __slots__ = ("answer", "is_head")

    def __init__(self, *, is_head: bool) -> None:
        self.is_head = is_head
        self.answer: bytes | None = None


class HttpConnection(asyncio.Protocol):
    """Called by the event loop for what happens to the socket. `deadline` is for the server, which looks at it."""

    def __init__(self, reception: ConnectionServer) -> None:
        self.deadline = _NEVER
        self._reception = reception
        self._reader = RequestParser()
        self._transport: asyncio.Transport | None = None
        self._peer: str | None = None
        self._turns: deque[_PendingResponse] = deque()
        self._has_begun = False
        self._untaken = 0
        self._is_ended = False
        self._is_last = False
        self._lingers = False
        self._is_lingering = False
        self._lingered_bytes = 0
        self._is_paused = False
        self._is_unread = False

    # ------------------------------------------------------------ called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._wait(REQUEST_SECONDS_MAX)
        if not self._reception.welcome(self):
            self._refuse("too_many", lingers=False)

    def data_received(self, data: bytes) -> None:
        self._untaken += 1
        self._reception.arrived(self, data)

    def eof_received(self) -> bool:
        """Some senders close their side once they have sent: what they sent is answered all the same."""
        self._is_ended = True
        return bool(self._turns or self._untaken)

    def pause_writing(self) -> None:
        self._is_unread = True
        self._wait(WRITE_BLOCKED_SECONDS_MAX)
        self._read_on_or_not()

    def resume_writing(self) -> None:
        self._is_unread = False
        self._wait(REQUEST_SECONDS_MAX)
        self._read_on_or_not()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self._untaken:
            self._reader.close()
        self._reception.part(self)

    # ------------------------------------------------------------ called by the server

    def take(self, chunk: bytes) -> None:
        """Read what has arrived and have its requests judged, even if the sender left in the meantime."""
        self._untaken -= 1
        if self._is_lingering:
            self._throw_away(len(chunk))
        elif not self._is_last:
            for request in self._reader.feed(chunk):
                self._answer(request)
            self._look_at_the_rest()
        if self._transport is None:
            self._reader.close()
        elif self._is_ended and not self._turns and not self._untaken:
            self._transport.close()

    def expire(self) -> None:
        """The deadline has passed."""
        if self._is_lingering or self._is_unread:
            self.abort()
        elif self._reader.is_midway:
            self._refuse("too_slow")
        else:
            self.finish()

    def finish(self) -> None:
        """Answer what is owed, then close; at once if nothing is."""
        self._is_last = True
        if self._transport is not None and not self._turns:
            self._transport.close()

    def abort(self) -> None:
        """Cut the connection off."""
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------ requests

    def _answer(self, request: HttpRequest) -> None:
        """Have a request judged; the answer may come now or later."""
        self._reception.rouse(self)
        self._has_begun = False
        self._is_last = request.is_last
        self.deadline = _NEVER  # commits have their own limit
        pending_response = _PendingResponse(is_head=request.method == b"HEAD")
        self._turns.append(pending_response)
        ingestor = self._reception.accept
        if request.method == b"POST":
            signature = request.signature.decode("latin-1")
            path = request.path.decode("latin-1")
            ingestor.accept(
                request.body, signature, self._peer_name(), partial(self._settle, pending_response), path=path
            )
        elif request.method == b"GET" and request.path.partition(b"?")[0] == HEALTH_PATH:
            self._send(
                pending_response,
                self._reception.answers.of_health(is_healthy=ingestor.is_working, is_last=self._is_last),
            )
        else:
            ingestor.mark("wrong_method")
            self._settle(pending_response, "wrong_method")

    def _look_at_the_rest(self) -> None:
        """After the whole requests: is there part of one, or something wrong?"""
        request_parser = self._reader
        if request_parser.refusal is not None:
            self._refuse(request_parser.refusal)
        elif request_parser.is_midway and not self._has_begun:
            self._has_begun = True
            self._reception.rouse(self)
            self._wait(REQUEST_SECONDS_MAX)
        if request_parser.is_waiting and not self._turns and self._transport is not None:
            request_parser.is_waiting = False
            self._transport.write(CONTINUE)
        if len(self._turns) >= PIPELINED_MAX:
            self._read_on_or_not()

    def _refuse(self, verdict: Verdict, *, lingers: bool = True) -> None:
        """Answer in turn, and end."""
        self._is_last = True
        self._lingers = lingers
        self._reception.accept.mark(verdict)
        pending_response = _PendingResponse(is_head=False)
        self._turns.append(pending_response)
        self._settle(pending_response, verdict)

    def _peer_name(self) -> str:
        """The address that spoke; what a proxy says of others is not trusted."""
        if self._peer is None and self._transport is not None:
            address = self._transport.get_extra_info("peername")
            self._peer = str(address[0]) if address else ""
        return self._peer or ""

    # ------------------------------------------------------------ answers

    def _settle(self, turn: _PendingResponse, verdict: Verdict) -> None:
        if self._transport is None:
            return  # the sender is gone; it will send again, and hear that we have it
        is_last = self._is_last and turn is self._turns[-1]
        response = self._reception.answers.of(verdict, is_last=is_last)
        self._send(turn, strip_body(response) if turn.is_head else response)

    def _send(self, turn: _PendingResponse, answer: bytes) -> None:
        """Write what is ready, in turn."""
        turn.answer = answer
        while self._turns and (next_response := self._turns[0].answer) is not None and self._transport is not None:
            self._turns.popleft()
            self._transport.write(next_response)
        if self._is_paused:
            self._read_on_or_not()
        if self._turns:
            return
        if self._is_last or (self._is_ended and not self._untaken):
            self._end()
        elif not self._reader.is_midway:
            self._reception.rest(self)
            self._wait(IDLE_SECONDS_MAX)

    def _end(self) -> None:
        """Close; after a refusal only when the sender has had the time to read it."""
        assert self._transport is not None
        if not self._lingers:
            self._transport.close()
            return
        self._is_lingering = True
        self._wait(LINGER_SECONDS_MAX)
        self._read_on_or_not()
        self._transport.write_eof()

    def _throw_away(self, count: int) -> None:
        self._lingered_bytes += count
        if self._lingered_bytes > LINGER_BYTES_MAX:
            self.abort()

    # ------------------------------------------------------------ time

    def _wait(self, seconds: float) -> None:
        self.deadline = self._reception.time() + seconds

    def _read_on_or_not(self) -> None:
        is_paused = not self._is_lingering and (self._is_unread or len(self._turns) >= PIPELINED_MAX)
        if self._transport is None or is_paused is self._is_paused:
            return
        self._is_paused = is_paused
        if is_paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()
