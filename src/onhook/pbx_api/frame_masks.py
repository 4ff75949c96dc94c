"""Limits of WebSocket frames that aiohttp does not have: those of a client must have a mask (RFC 6455, 5.1), and there
may be only so many in a time, of messages, their parts, pings and pongs together.
"""

from collections.abc import Callable
from typing import Protocol

from aiohttp import WebSocketError, WSCloseCode

FRAMES_BURST = 30
"""Frames at once: of a client that connects, subscribes several times, and splits its messages."""

FRAMES_PER_SECOND = 2.0
"""A client sends a heartbeat and a ping, each at intervals of some seconds up to a minute."""

_MASK_BIT = 0x80
_MASK_BYTES = 4
_LENGTH_BYTES = {126: 2, 127: 8}
"""Bytes of the length where the seven bits have one of these values."""

_REJECTED = (True, b"")
"""What a parser returns after an error: the connection ends."""


class FrameParser(Protocol):
    """The parser of aiohttp."""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Parse bytes; return whether the connection ends, and what was not parsed."""
        ...

    def feed_eof(self) -> None:
        """Handle the end of the connection."""
        ...


class FrameBudget:
    """Frames that a client may send now. `monotonic` returns seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._frames_left = float(FRAMES_BURST)
        self._filled_at = monotonic()

    def spend(self) -> bool:
        """Count a frame; return whether it is within the limit."""
        now = self._monotonic()
        self._frames_left += (now - self._filled_at) * FRAMES_PER_SECOND
        self._frames_left, self._filled_at = min(self._frames_left, FRAMES_BURST) - 1, now
        return self._frames_left >= 0


class FloodCounter:
    """Number of sockets that were closed because of too many frames, since the start."""

    def __init__(self) -> None:
        self.count = 0

    def add(self) -> None:
        """Count a socket."""
        self.count += 1


class LimitedFrameParser:
    """Passes frames on to a parser until one has no mask, or is one too many; then `on_error` receives the error, with
    1002 or 1008.
    """

    def __init__(self, parser: FrameParser, on_error: Callable[[WebSocketError], None], budget: FrameBudget) -> None:
        self._parser = parser
        self._on_error = on_error
        self._frames = FrameScanner(budget)

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """See `FrameParser`."""
        if not self._frames.are_masked(data):
            error = WebSocketError(WSCloseCode.PROTOCOL_ERROR, "a frame of a client without a mask")
        elif self._frames.is_flooded:
            error = WebSocketError(WSCloseCode.POLICY_VIOLATION, "too many messages or pings: send fewer per second")
        else:
            return self._parser.feed_data(data)
        self._on_error(error)
        return _REJECTED

    def feed_eof(self) -> None:
        """See `FrameParser`."""
        self._parser.feed_eof()


class FrameScanner:
    """Finds the headers of frames in a stream of bytes, and counts the frames where there is a budget."""

    def __init__(self, budget: FrameBudget | None = None) -> None:
        self._budget = budget
        self.is_flooded = False
        self._header = b""
        self._payload_left = 0

    def are_masked(self, data: bytes) -> bool:
        """Return whether all frames that begin in these bytes, the next ones of the stream, have a mask. Bytes after
        a frame too many are not looked at: `is_flooded` is set.
        """
        position = 0
        while position < len(data) and not self.is_flooded:
            if self._payload_left:
                skipped = min(self._payload_left, len(data) - position)
                self._payload_left -= skipped
                position += skipped
                continue
            self._header += data[position : position + 1]
            position += 1
            if len(self._header) == 2 and not self._header[1] & _MASK_BIT:
                return False
            self._end_header()
        return True

    def _end_header(self) -> None:
        """Begin the payload once the header is complete."""
        if len(self._header) < 2:
            return
        short_length = self._header[1] & ~_MASK_BIT
        length_end = 2 + _LENGTH_BYTES.get(short_length, 0)
        if len(self._header) == length_end + _MASK_BYTES:
            self._payload_left = int.from_bytes(self._header[2:length_end]) if length_end > 2 else short_length
            self._header = b""
            self.is_flooded = self._budget is not None and not self._budget.spend()
