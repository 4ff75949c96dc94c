"""Lines in which a PBX writes its calls to a connection or a file, as 3CX and Avaya do: their framing, and what they
contain for sure. Of its own, because every dialect of lines has the same need. Pure.

Invariants: the lines are the same however the bytes are cut into chunks. A line has a limited length.
"""

import hashlib
import re
from datetime import UTC, datetime

from onhook.cdr.utc_offset import parse_wall_clock
from onhook.lib.errors import ParseError
from onhook.lib.messages import _
from onhook.pbx.json_fields import compute_body_key

LINE_BYTES_MAX = 16 * 1024
"""A real line has some 300 bytes; one with the longest names and chain of a call has some thousand."""

COMMAS_MIN = 8
"""A line of a call has at least 16; a request of HTTP has none in its first line."""

_NUL = b"\x00"
_CONTROL = re.compile(rb"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TIME = re.compile(rb"[0-9]{4}/[0-9]{2}/[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_HOURS_MINUTES_SECONDS = re.compile(r"([0-9]{1,4}):([0-5]?[0-9]):([0-5]?[0-9])(?:\.[0-9]+)?")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class LineSplitter:
    """Splits a stream of bytes at LF. Lines are returned without CR, LF and NUL; blank ones are left out, and so are
    those longer than `LINE_BYTES_MAX`, whole.
    """

    def __init__(self) -> None:
        self._rest = b""
        self.overlong_count = 0
        """How many lines were too long, with one that has not ended."""
        self.is_in_overlong_line = False
        """Whether a line that is too long has not ended yet."""

    @property
    def has_partial_line(self) -> bool:
        """Return whether a line has begun and not ended, which is not too long until now."""
        return bool(clean_line(self._rest))

    @property
    def is_overlong(self) -> bool:
        """Return whether a line was too long."""
        return self.overlong_count > 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that end in further bytes."""
        if self.is_in_overlong_line:
            _overlong_rest, end, data = data.partition(b"\n")
            self.is_in_overlong_line = not end
        *ended_lines, self._rest = (self._rest + data).split(b"\n")
        lines = [line for ended_line in ended_lines if (line := clean_line(self._limit(ended_line)))]
        self.is_in_overlong_line |= len(self._rest) > LINE_BYTES_MAX
        self._rest = self._limit(self._rest)
        return lines

    def flush(self) -> list[bytes]:
        """Return the line that the end of the stream ends, if there is one."""
        line, self._rest = clean_line(self._rest), b""
        return [line] if line else []

    def _limit(self, line: bytes) -> bytes:
        if len(line) <= LINE_BYTES_MAX:
            return line
        self.overlong_count += 1
        return b""


def clean_line(line: bytes) -> bytes:
    r"""Return a line without the blanks and line ends around it, without NUL, and without the mark at the begin of a
    file in UTF-8.

    >>> clean_line(b"\x002024/02/10 14:30:00,\r\n")
    b'2024/02/10 14:30:00,'
    """
    return line.replace(_NUL, b"").removeprefix(_BYTE_ORDER_MARK).strip(b" \t\r\n")


def is_call_line(line: bytes) -> bool:
    r"""Return whether a line seems to be of a call: text, with values between commas.

    >>> is_call_line(b"GET / HTTP/1.1"), is_call_line(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    (False, False)
    """
    return line.count(b",") >= COMMAS_MIN and _CONTROL.search(line) is None


def compute_line_key(line: bytes) -> bytes:
    """Return the key of a line, equal for exact repeats; it begins with the first time in it."""
    line = clean_line(line)
    match = _TIME.search(line)
    if match is None:
        return compute_body_key(line)
    try:
        stamp = parse_wall_clock(match[0].decode()).replace(tzinfo=UTC)
    except ParseError:
        return compute_body_key(line)
    return int(stamp.timestamp()).to_bytes(4) + hashlib.sha256(line).digest()[:12]


def split_values(body: bytes) -> list[str]:
    """Return the values between the commas of a line; there is no quoting. A byte that is not UTF-8 is replaced."""
    return clean_line(body).decode("utf-8", "replace").split(",")


def clean_value(text: str) -> str:
    """Return a value as a line can have it: there is no quoting.

    >>> clean_value(" Last,  First ")
    'Last First'
    """
    return " ".join(text.replace(",", " ").split())


def parse_clock_duration(text: str) -> int | None:
    """Return the seconds of `HH:MM:SS`, without fractions; None for any other text.

    >>> parse_clock_duration("00:05:36"), parse_clock_duration("00:00:12.345"), parse_clock_duration("")
    (336, 12, None)
    """
    match = _HOURS_MINUTES_SECONDS.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, seconds = map(int, match.groups())
    return hours * 3600 + minutes * 60 + seconds


def format_clock_duration(seconds: int) -> str:
    """Return a duration as `HH:MM:SS`.

    >>> format_clock_duration(337)
    '00:05:37'
    """
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def parse_time(text: str, name: str) -> datetime:
    """Return the wall clock in a value; `name` is that of its field, for the error. Raises `ParseError`."""
    try:
        return parse_wall_clock(text.strip())
    except ParseError as error:
        raise line_error(_("{name} is no time: {value}", name=name, value=repr(text[:40]))) from error


def format_time(time: datetime) -> str:
    """Return a wall clock as lines have it.

    >>> format_time(datetime(2024, 6, 17, 5, 59, 49))
    '2024/06/17 05:59:49'
    """
    return time.strftime("%Y/%m/%d %H:%M:%S")


def line_error(reason: str) -> ParseError:
    """Return the error that says why a line has no call."""
    return ParseError(
        _("could not read the line: {reason}", reason=reason),
        hint=_("it stays in the quarantine; `onhook quarantine retry --all` reads it again"),
    )
