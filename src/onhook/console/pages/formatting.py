"""How values are shown to a person: an unknown one as a dash, never as zero."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import msgspec
from markupsafe import Markup, escape

from onhook.cdr.call_details import fold_word
from onhook.cdr.identity import extract_name, extract_number
from onhook.cdr.record import Record
from onhook.cdr.record_filter import FILTER_NAMES, RecordFilter

UNKNOWN = "–"  # noqa: RUF001 - a dash, because a value is missing

HEAT_STEPS = 5

FOR_TEMPLATES = (
    "UNKNOWN",
    "as_json",
    "format_bytes",
    "call_url",
    "clock_time",
    "format_code",
    "count",
    "day",
    "get_field",
    "heat_step",
    "list_filters",
    "hours",
    "local_minute",
    "local_second",
    "local_time",
    "minutes",
    "from_epoch_seconds",
    "outcome",
    "split_party",
    "percent",
    "short_day",
    "signed_percent",
    "tone",
    "url",
)
"""What templates may call."""

_OUTCOMES: Mapping[str, tuple[str, str]] = {
    "ANSWERED": ("Answered", "good"),
    "ANSWERD": ("Answered", "good"),
    "NOANSWER": ("No answer", "bad"),
    "BUSY": ("Busy", "bad"),
    "VOICEMAIL": ("Voicemail", "soft"),
    "ABANDONED": ("Abandoned", "bad"),
    "FAILED": ("Failed", "bad"),
}
"""Folded status: how it is shown, and its colour's meaning."""

_PATH_SAFE = re.compile(r"[A-Za-z0-9_@:+-]+(?:\.[A-Za-z0-9_@:+-]+)*")
"""Texts that stand in a path as they are; browsers make something else of `..` and `/`."""


def minutes(seconds: int | None) -> str:
    """A duration as `m:ss`, from an hour on as `h:mm:ss`.

    >>> minutes(74), minutes(3661), minutes(0), minutes(None)
    ('1:14', '1:01:01', '0:00', '–')
    """
    if seconds is None:
        return UNKNOWN
    rest, second = divmod(seconds, 60)
    hour, minute = divmod(rest, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def hours(seconds: int | None) -> str:
    """A sum of durations, in words.

    >>> hours(74), hours(3661), hours(None)
    ('1 min', '1 h 1 min', '–')
    """
    if seconds is None:
        return UNKNOWN
    if seconds < 60:
        return f"{seconds} s"
    hour, minute = divmod(seconds // 60, 60)
    return f"{count(hour)} h {minute} min" if hour else f"{minute} min"


def count(number: int | None) -> str:
    """A number with thin spaces between thousands.

    >>> count(1234567).replace("\\u202f", "_")
    '1_234_567'
    """
    return UNKNOWN if number is None else f"{number:,}".replace(",", "\u202f")


def clock_time(time: datetime | None, zone: ZoneInfo) -> str:
    """The time of day, in the reader's zone."""
    return UNKNOWN if time is None else time.astimezone(zone).strftime("%H:%M:%S")


def day(time: datetime, zone: ZoneInfo, now: datetime) -> str:
    """The day, in the reader's zone: `Today`, `Yesterday`, else as `Mon 27 Apr 2026`."""
    local, today = time.astimezone(zone).date(), now.astimezone(zone).date()
    if local == today:
        return "Today"
    if local == today - timedelta(days=1):
        return "Yesterday"
    return f"{local:%a} {local.day} {local:%b %Y}"


def short_day(time: datetime, zone: ZoneInfo) -> str:
    """The day, in the reader's zone, as `Mon 27 Apr`."""
    local = time.astimezone(zone)
    return f"{local:%a} {local.day} {local:%b}"


def format_code(text: str) -> Markup:
    """A text of ours with what stands between backticks as code; all else is escaped.

    >>> format_code("`next` of <it>")
    Markup('<code>next</code> of &lt;it&gt;')
    """
    parts = [
        Markup("<code>{}</code>").format(part) if index % 2 else escape(part)
        for index, part in enumerate(text.split("`"))
    ]
    return Markup("").join(parts)


def from_epoch_seconds(seconds: int) -> datetime:
    """The moment so many seconds after 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def local_time(time: datetime | None, zone: ZoneInfo) -> str:
    """Date, time and offset, in the reader's zone."""
    return UNKNOWN if time is None else time.astimezone(zone).isoformat(sep=" ", timespec="seconds")


def local_minute(time: datetime | None, zone: ZoneInfo) -> str:
    """Day and minute by the clocks of the reader's zone, for a sentence; a second that is not 0 is shown."""
    return local_second(time, zone).removesuffix(":00")


def local_second(time: datetime | None, zone: ZoneInfo) -> str:
    """Day and second by the clocks of the reader's zone, for a column of moments."""
    if time is None:
        return UNKNOWN
    local = time.astimezone(zone)
    return f"{local:%a} {local.day} {local:%b %Y} {local:%H:%M:%S}"


def format_bytes(number: int) -> str:
    """A size.

    >>> format_bytes(700), format_bytes(1536), format_bytes(5 * 1024**3)
    ('700 B', '1.5 KiB', '5.0 GiB')
    """
    size, unit = float(number), "B"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{number} B" if unit == "B" else f"{size:.1f} {unit}"


def percent(share: float | None) -> str:
    """A share between 0 and 1.

    >>> percent(0.8735), percent(1.0), percent(None)
    ('87.4 %', '100 %', '–')
    """
    return UNKNOWN if share is None else f"{100 * share:.1f}".removesuffix(".0") + " %"


def signed_percent(change: float) -> str:
    """By how much something has grown or become less.

    >>> signed_percent(0.123), signed_percent(-0.5)
    ('+12 %', '−50 %')
    """
    return f"{100 * change:+.0f} %".replace("-", "\N{MINUS SIGN}")


def heat_step(value: int, highest: int) -> int:
    """In which of five shades a figure stands; 0 is none.

    >>> [heat_step(value, 100) for value in (0, 1, 20, 21, 100)]
    [0, 1, 1, 2, 5]
    """
    return -(-HEAT_STEPS * value // highest) if highest else 0


def as_json(value: object) -> str:
    """For an attribute that a script of ours reads; it is escaped like any text."""
    return msgspec.json.encode(value).decode()


def split_party(text: str) -> tuple[str, str]:
    """Name and number of a side of a call; either may be empty."""
    return extract_name(text), extract_number(text)


def get_field(record: Record, name: str) -> object:
    """A field by its name."""
    return getattr(record, name)


def list_filters(record_filter: RecordFilter) -> list[tuple[str, object]]:
    """Those filters that are set, by name."""
    return [(name, value) for name in FILTER_NAMES if (value := getattr(record_filter, name)) is not None]


def outcome(status: str) -> str:
    """A status in our spelling; an unknown one as the PBX wrote it."""
    return _OUTCOMES.get(fold_word(status), (status or UNKNOWN, ""))[0]


def tone(status: str) -> str:
    """What a status means for the colour: `good`, `bad`, `soft` or `plain`."""
    return _OUTCOMES.get(fold_word(status), ("", "plain"))[1]


def url(path: str, **query: object) -> str:
    """A path with those query parameters that are set."""
    parameters = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(parameters)}" if parameters else path


def call_url(sn: str, call_id: str, zone: str = "", **query: object) -> str:
    """Where a call's page is; ids that cannot stand in a path stand in the query."""
    if _PATH_SAFE.fullmatch(sn) and _PATH_SAFE.fullmatch(call_id):
        return url(f"/calls/{quote(sn)}/{quote(call_id)}", zone=zone, **query)
    return url("/call", sn=sn, call_id=call_id, zone=zone, **query)
