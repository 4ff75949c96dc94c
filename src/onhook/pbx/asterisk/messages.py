"""AMI messages: `Name: value` lines, terminated by an empty line.

Invariants: any split of the bytes gives the same messages; at most one message of bounded size is buffered; an
oversized message is dropped and reported, without loss of the next one; no byte is an error.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from onhook.pbx.text_encoding import clean_text, escape_bytes

MESSAGE_BYTES_MAX = 64 * 1024
"""A common event has 600 bytes; the longest event of a channel, with all its variables, stays below this."""

VALUE_CHARACTERS_MAX = 4096
"""No value that Onhook reads is longer; a longer one is cut."""

_MESSAGE_END = b"\r\n\r\n"
_LINE_END = b"\r\n"


class AmiMessage(msgspec.Struct, frozen=True):
    """One message: its lines in order, names unchanged, values as escaped text; all other values are clean text. `text`
    is the form in which it is stored and parsed again, escaped text too.
    """

    lines: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        """Return the first value of a name, ignoring case; empty if there is none."""
        lower_name = name.lower()
        return next((clean_text(value) for key, value in self.lines if key.lower() == lower_name), "")

    def get_all(self, name: str) -> list[str]:
        """Return all values of a name, such as the lines of a command's output."""
        return [clean_text(value) for key, value in self.lines if key.lower() == name.lower()]

    @property
    def fields(self) -> Mapping[str, str]:
        """The first value of each name, by lower-case name."""
        return {clean_text(key).lower(): clean_text(value) for key, value in reversed(self.lines)}

    @property
    def text(self) -> str:
        """The lines unchanged, without names that have no value."""
        return "".join(f"{name}: {value}\r\n" for name, value in self.lines if value) + "\r\n"


class OversizedMessage(msgspec.Struct, frozen=True):
    """A message that was dropped for its size; `event_name` is empty if unknown."""

    event_name: str
    size_bytes: int


class AmiMessageReader:
    """Split a stream of bytes into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._search_start = 0
        self._dropped_bytes = 0
        self._dropped_event = ""

    def receive_data(self, data: bytes) -> Iterator[AmiMessage | OversizedMessage]:
        """Yield the messages completed by these bytes, in order."""
        self._buffer += data
        start = 0
        while (end := self._buffer.find(_MESSAGE_END, max(start, self._search_start))) >= 0:
            if message := self._parse_complete(bytes(self._buffer[start:end])):
                yield message
            start = end + len(_MESSAGE_END)
            self._search_start = start
        del self._buffer[:start]
        # The terminator may arrive in two parts, the first of which is already buffered.
        self._search_start = max(0, len(self._buffer) - len(_MESSAGE_END) + 1)
        self._limit_buffer()

    def _parse_complete(self, text: bytes) -> AmiMessage | OversizedMessage | None:
        if not self._dropped_bytes and len(text) <= MESSAGE_BYTES_MAX:
            return parse_message(text)
        event = self._dropped_event or parse_event_name(text)
        oversized = OversizedMessage(event, self._dropped_bytes + len(text))
        self._dropped_bytes, self._dropped_event = 0, ""
        return oversized

    def _limit_buffer(self) -> None:
        """Drop the buffered bytes of an oversized message, except a possible start of its terminator."""
        if len(self._buffer) <= MESSAGE_BYTES_MAX:
            return
        if not self._dropped_bytes:
            self._dropped_event = parse_event_name(bytes(self._buffer[:VALUE_CHARACTERS_MAX]))
        self._dropped_bytes += len(self._buffer) - (len(_MESSAGE_END) - 1)
        del self._buffer[: -(len(_MESSAGE_END) - 1)]
        self._search_start = 0


def parse_message(text: bytes) -> AmiMessage | None:
    """Parse the lines between two empty ones; return None if no line has a name."""
    lines = tuple(_parse_lines(escape_bytes(text).split("\r\n")))
    return AmiMessage(lines) if lines else None


def parse_messages(body: bytes) -> list[AmiMessage]:
    """Parse all messages of a body, in order."""
    return [message for text in body.split(_MESSAGE_END) if (message := parse_message(text)) is not None]


def parse_event_name(text: bytes) -> str:
    """Return the event name in the first line; empty for anything else."""
    first_line = text.lstrip(_LINE_END).partition(_LINE_END)[0].decode("utf-8", "replace")
    name, _, value = first_line.partition(":")
    return value.strip()[:80] if name.lower() == "event" else ""


def _parse_lines(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, colon, value = line.partition(":")
        if colon and name.strip():
            yield name.strip(), value.strip()[:VALUE_CHARACTERS_MAX]
