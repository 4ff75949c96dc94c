"""Masks of WebSocket frames: those of a client must have one (RFC 6455, 5.1), and aiohttp accepts frames without."""

from collections.abc import Callable
from typing import Protocol

from aiohttp import WebSocketError, WSCloseCode

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


class MaskedFrameParser:
    """Passes frames on to a parser until one has no mask; then `on_error` receives the error (1002)."""

    def __init__(self, parser: FrameParser, on_error: Callable[[Exception], None]) -> None:
        self._parser = parser
        self._on_error = on_error
        self._frames = FrameScanner()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """See `FrameParser`."""
        if self._frames.are_masked(data):
            return self._parser.feed_data(data)
        self._on_error(WebSocketError(WSCloseCode.PROTOCOL_ERROR, "a frame of a client without a mask"))
        return _REJECTED

    def feed_eof(self) -> None:
        """See `FrameParser`."""
        self._parser.feed_eof()


class FrameScanner:
    """Finds the headers of frames in a stream of bytes."""

    def __init__(self) -> None:
        self._header = b""
        self._payload_left = 0

    def are_masked(self, data: bytes) -> bool:
        """Return whether all frames that begin in these bytes, the next ones of the stream, have a mask."""
        position = 0
        while position < len(data):
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
