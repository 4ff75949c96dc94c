"""One connection to the event socket of a FreeSWITCH as a state machine without input or output (freeswitch.md 11).

    auth/request ──► auth ──► event json CHANNEL_HANGUP_COMPLETE ──► ready
          └────────────┴──────────────────┴─────► refused

See the contract `pbx/connection.py`. Invariants: no input raises; memory is bounded; the password is sent once, and
never shown.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from onhook.cdr.queue_states import QueueState
from onhook.lib.messages import _
from onhook.pbx.connection import ClockReading, ConnectionUpdate
from onhook.pbx.freeswitch.event_document import EVENT_NAME

VIA: Final = "event_socket"
"""The name of this channel in the ledger."""

HEAD_BYTES_MAX: Final = 8 * 1024
"""The head of a frame has some 60 bytes."""

BODY_BYTES_MAX: Final = 256 * 1024
"""As of a request to the intake; real events have some 12 KB."""

LOGIN_SECONDS_MAX: Final = 20.0
PROBE_AFTER_SECONDS: Final = 30.0
"""Silence after which a command is sent that has an answer."""

SILENCE_SECONDS_MAX: Final = 90.0
"""Silence after which the connection counts as dead."""

PROBE: Final = b"api uptime\n\n"
SUBSCRIPTION: Final = f"event json {EVENT_NAME}\n\n".encode()

_LENGTH = re.compile(r"[0-9]{1,9}")

State = Literal["auth", "login", "subscription", "ready", "ended"]


class Frame(msgspec.Struct, frozen=True):
    """One frame: `headers` by folded name. A `body` over the limit is left out, and `is_oversized`."""

    headers: Mapping[str, str]
    body: bytes = b""
    is_oversized: bool = False

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    @property
    def reply(self) -> str:
        return self.headers.get("reply-text", "")


class FrameReader:
    """Splits received bytes into frames. `is_damaged` is set once a head is none."""

    def __init__(self) -> None:
        self.is_damaged = False
        self._buffer = bytearray()
        self._head: Mapping[str, str] | None = None
        self._missing_bytes = 0
        self._skips_body = False

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that end in further bytes."""
        self._buffer += data
        while True:
            if self._head is None and not self._read_head():
                return
            frame = self._read_body()
            if frame is None:
                return
            yield frame

    def _read_head(self) -> bool:
        """Read the head of the next frame; return whether it was there."""
        while self._buffer.startswith((b"\n", b"\r")):
            del self._buffer[:1]
        text, separator, _rest = bytes(self._buffer[: HEAD_BYTES_MAX + 2]).partition(b"\n\n")
        if not separator:
            self.is_damaged = len(self._buffer) > HEAD_BYTES_MAX
            return False
        del self._buffer[: len(text) + 2]
        pairs = [line.partition(":") for line in text.decode("utf-8", "replace").splitlines()]
        self._head = {name.strip().lower(): value.strip() for name, _colon, value in pairs}
        length = self._head.get("content-length", "")
        self._missing_bytes = int(length) if _LENGTH.fullmatch(length) else 0
        self._skips_body = self._missing_bytes > BODY_BYTES_MAX
        return True

    def _read_body(self) -> Frame | None:
        """Return the frame if its body is there; of one that is too large, drop what is there."""
        assert self._head is not None, "a body follows a head"
        if self._skips_body:
            dropped_bytes = min(self._missing_bytes, len(self._buffer))
            del self._buffer[:dropped_bytes]
            self._missing_bytes -= dropped_bytes
        if len(self._buffer) < self._missing_bytes or (self._skips_body and self._missing_bytes):
            return None
        body = b"" if self._skips_body else bytes(self._buffer[: self._missing_bytes])
        del self._buffer[: len(body)]
        frame = Frame(self._head, body, self._skips_body)
        self._head = None
        return frame


class EventSocketProtocol:
    """See the contract, `pbx.connection.ConnectionProtocol`."""

    via = VIA

    def __init__(self, password: str) -> None:
        self._password = password
        self._reader = FrameReader()
        self._state: State = "auth"
        self._send_buffer = bytearray()
        self._opened_at: float | None = None
        self._received_at = 0.0
        self._probed_at: float | None = None

    def receive_data(self, data: bytes, now: ClockReading) -> ConnectionUpdate:
        self._begin(now)
        self._received_at, self._probed_at = now.monotonic_seconds, None
        updates = []
        for frame in self._reader.feed(data):
            updates.append(self._handle(frame))
            if self._state == "ended":
                break
        if self._reader.is_damaged:
            updates.append(self._end(_("this is no event socket of a FreeSWITCH")))
        return _join(updates)

    def on_tick(self, now: ClockReading) -> ConnectionUpdate:
        self._begin(now)
        assert self._opened_at is not None, "the connection has begun"
        silent_seconds = now.monotonic_seconds - self._received_at
        if self._state != "ready":
            if now.monotonic_seconds - self._opened_at <= LOGIN_SECONDS_MAX:
                return _NONE
            return self._end(_("no login within {seconds:.0f} seconds", seconds=LOGIN_SECONDS_MAX))
        if silent_seconds > SILENCE_SECONDS_MAX:
            return self._end(_("no response within {seconds:.0f} seconds", seconds=SILENCE_SECONDS_MAX))
        if silent_seconds > PROBE_AFTER_SECONDS and self._probed_at is None:
            self._probed_at = now.monotonic_seconds
            self._send_buffer += PROBE
        return _NONE

    def data_to_send(self) -> bytes:
        data, self._send_buffer = bytes(self._send_buffer), bytearray()
        return data

    def connection_lost(self) -> tuple[bytes, ...]:
        return ()

    def pending_since(self) -> float | None:
        return None

    def queue_states(self, now: ClockReading) -> Sequence[QueueState] | None:
        return None

    def _begin(self, now: ClockReading) -> None:
        if self._opened_at is None:
            self._opened_at = self._received_at = now.monotonic_seconds

    def _handle(self, frame: Frame) -> ConnectionUpdate:
        """Handle one frame."""
        match frame.content_type:
            case "auth/request" if self._state == "auth":
                self._state = "login"
                self._send_buffer += f"auth {self._password}\n\n".encode()
            case "command/reply":
                return self._handle_reply(frame)
            case "text/event-json":
                return _read_event(frame)
            case "text/rude-rejection":
                return self._end(_("the event socket refuses the address of this machine (apply-inbound-acl)"), True)
            case "text/disconnect-notice":
                return self._end(_("the PBX closed the connection"))
        return _NONE

    def _handle_reply(self, frame: Frame) -> ConnectionUpdate:
        is_success = frame.reply.startswith("+OK")
        if self._state == "login":
            if not is_success:
                return self._end(_("the event socket refuses the password: {reply}", reply=frame.reply[:80]), True)
            self._state = "subscription"
            self._send_buffer += SUBSCRIPTION
        elif self._state == "subscription":
            if not is_success:
                return self._end(_("the event socket refuses the events: {reply}", reply=frame.reply[:80]), True)
            self._state = "ready"
            return ConnectionUpdate(is_ready=True)
        return _NONE

    def _end(self, reason: str, is_refused: bool = False) -> ConnectionUpdate:
        self._state = "ended"
        return ConnectionUpdate(end_reason=reason, is_refused=is_refused)


_NONE: Final = ConnectionUpdate()


def _read_event(frame: Frame) -> ConnectionUpdate:
    """Return the raw event in a frame; an event of another kind is left out."""
    if frame.is_oversized:
        message = _("an event of more than {limit} bytes is left out", limit=BODY_BYTES_MAX)
        return ConnectionUpdate(log_messages=(message,))
    return ConnectionUpdate(raw_events=(frame.body,)) if EVENT_NAME.encode() in frame.body[:200] else _NONE


def _join(updates: Sequence[ConnectionUpdate]) -> ConnectionUpdate:
    """Return updates as one: an end is the last of them."""
    ends = [update for update in updates if update.end_reason]
    return ConnectionUpdate(
        raw_events=tuple(body for update in updates for body in update.raw_events),
        is_ready=any(update.is_ready for update in updates),
        end_reason=ends[0].end_reason if ends else "",
        is_refused=bool(ends) and ends[0].is_refused,
        log_messages=tuple(message for update in updates for message in update.log_messages),
    )
