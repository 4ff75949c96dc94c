"""What goes over AMI: messages of `Name: value` lines, ended by an empty line.

Laws: any split of the bytes gives the same messages; no more than one message of bounded size is held; a message that
is too large is left out, and said to be, without losing the next one; no byte is an error.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

MESSAGE_BYTES_MAX = 64 * 1024
"""A common event has 600 bytes; the longest that a channel can make, with all its variables, stays below this."""

VALUE_CHARACTERS_MAX = 4096
"""No value that we read is longer; the rest of a longer one is left out."""

_END = b"\r\n\r\n"
_LINE_END = b"\r\n"


class Message(msgspec.Struct, frozen=True):
    """One message: its lines in order, names as they came. `text` is how it is kept and read again."""

    lines: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        """The first value under a name, whatever its case; empty where there is none."""
        wanted = name.lower()
        return next((value for key, value in self.lines if key.lower() == wanted), "")

    def all(self, name: str) -> list[str]:
        """Every value under a name, such as the lines of a command's output."""
        return [value for key, value in self.lines if key.lower() == name.lower()]

    @property
    def fields(self) -> Mapping[str, str]:
        """The first value of each name, by the name in lower case."""
        return {key.lower(): value for key, value in reversed(self.lines)}

    @property
    def text(self) -> str:
        """The lines as they came, without those that say nothing: a name without a value."""
        return "".join(f"{name}: {value}\r\n" for name, value in self.lines if value) + "\r\n"


class TooLarge(msgspec.Struct, frozen=True):
    """A message that was left out for its size; `bytes` is how large it was, `event` its name where that was seen."""

    event: str
    bytes: int


class MessageReader:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._searched = 0
        self._dropped = 0
        self._dropped_event = ""

    def read(self, data: bytes) -> Iterator[Message | TooLarge]:
        """The messages that these bytes complete, in order."""
        self._held += data
        begin = 0
        while (end := self._held.find(_END, max(begin, self._searched))) >= 0:
            if found := self._complete(bytes(self._held[begin:end])):
                yield found
            begin = end + len(_END)
            self._searched = begin
        del self._held[:begin]
        # The end may come in two parts, of which the first is here already.
        self._searched = max(0, len(self._held) - len(_END) + 1)
        self._bound()

    def _complete(self, text: bytes) -> Message | TooLarge | None:
        if not self._dropped and len(text) <= MESSAGE_BYTES_MAX:
            return parse_message(text)
        event = self._dropped_event or event_name(text)
        large = TooLarge(event, self._dropped + len(text))
        self._dropped, self._dropped_event = 0, ""
        return large

    def _bound(self) -> None:
        """Drop what is held of a message that is too large already, but for what may be the begin of its end."""
        if len(self._held) <= MESSAGE_BYTES_MAX:
            return
        if not self._dropped:
            self._dropped_event = event_name(bytes(self._held[:VALUE_CHARACTERS_MAX]))
        self._dropped += len(self._held) - (len(_END) - 1)
        del self._held[: -(len(_END) - 1)]
        self._searched = 0


def parse_message(text: bytes) -> Message | None:
    """The lines between two empty ones; None where no line has a name."""
    lines = tuple(_parsed_lines(text.decode("utf-8", "replace").split("\r\n")))
    return Message(lines) if lines else None


def parse_messages(body: bytes) -> list[Message]:
    """All messages of a body, in order."""
    return [found for text in body.split(_END) if (found := parse_message(text)) is not None]


def event_name(text: bytes) -> str:
    """What an event is called, by its first line; empty for anything else."""
    first = text.lstrip(_LINE_END).partition(_LINE_END)[0].decode("utf-8", "replace")
    name, _, value = first.partition(":")
    return value.strip()[:80] if name.lower() == "event" else ""


def _parsed_lines(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, colon, value = line.partition(":")
        if colon and name.strip():
            yield name.strip(), value.strip()[:VALUE_CHARACTERS_MAX]
