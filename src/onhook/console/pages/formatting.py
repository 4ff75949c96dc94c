"""Formatting of values: an unknown one is a dash, never zero."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import msgspec
from markupsafe import Markup, escape

from onhook.cdr.call_details import fold_word
from onhook.cdr.extra_filter import ExtraFilter
from onhook.cdr.identity import extract_name, extract_number
from onhook.cdr.record import Record
from onhook.cdr.record_filter import FILTER_NAMES, TEXT_CHARACTERS_MAX, RecordFilter
from onhook.console.reader import TwelveHourZone
from onhook.lib.errors import UsageError
from onhook.lib.languages import GROUP_SEPARATOR, get_formats, get_language
from onhook.lib.messages import _, mark
from onhook.lib.text import UNKNOWN, format_duration, format_share, keep_left_to_right

HEAT_STEPS = 5

FOR_TEMPLATES = (
    "UNKNOWN",
    "as_json",
    "back_arrow",
    "extra_url",
    "format_bytes",
    "call_url",
    "chart_file_name",
    "clock_time",
    "format_code",
    "format_date",
    "format_error",
    "format_value",
    "forward_arrow",
    "count",
    "day",
    "direction_sign",
    "get_field",
    "heat_step",
    "list_filters",
    "local_time",
    "minutes",
    "outcome",
    "split_party",
    "percent",
    "scrollable",
    "shorten_query",
    "signed_percent",
    "tel_url",
    "tone",
    "url",
    "zone_city",
)
"""Functions that templates may call."""

QUERY_CHARACTERS_MAX = 160
"""Of a query in a list: enough to recognise it."""

_OUTCOMES: Mapping[str, tuple[str, str]] = {
    "ANSWERED": (mark("Answered"), "good"),
    "ANSWERD": (mark("Answered"), "good"),
    "NOANSWER": (mark("No answer"), "bad"),
    "BUSY": (mark("Busy"), "bad"),
    "VOICEMAIL": (mark("Voicemail"), "soft"),
    "ABANDONED": (mark("Abandoned"), "bad"),
    "FAILED": (mark("Failed"), "bad"),
}
"""Folded status: its text, and the meaning of its colour."""

_SEPARATORS = re.compile(r"[-()./\s]")
_CALLABLE = re.compile(r"\+?[0-9]{2,20}")

_DIRECTIONS: Mapping[str, tuple[str, str]] = {
    "INBOUND": ("\N{SOUTH WEST ARROW}", mark("Inbound")),
    "OUTBOUND": ("\N{NORTH EAST ARROW}", mark("Outbound")),
    "INTERNAL": ("\N{LEFT RIGHT ARROW}", mark("Internal")),
}
"""Folded type of a call: its sign and its text."""

_PATH_SAFE = re.compile(r"[A-Za-z0-9_@:+-]+(?:\.[A-Za-z0-9_@:+-]+)*")
"""Texts that can be part of a path; browsers change `..` and `/`."""

WEEKDAYS = (
    *(mark("Monday"), mark("Tuesday"), mark("Wednesday"), mark("Thursday"), mark("Friday"), mark("Saturday")),
    mark("Sunday"),
)
"""From the first day of the week (ISO 8601)."""


def minutes(seconds: int | None) -> str:
    """Return a duration or a sum of durations as `m:ss`, from an hour on as `h:mm:ss`: the one format of all pages.

    >>> minutes(74), minutes(3661), minutes(0), minutes(None)
    ('1:14', '1:01:01', '0:00', '–')
    """
    return UNKNOWN if seconds is None else format_duration(seconds)


def count(number: int | None) -> str:
    r"""Return a number with thin spaces between thousands.

    >>> count(1234567).replace("\u202f", "_")
    '1_234_567'
    """
    return UNKNOWN if number is None else f"{number:,}".replace(",", GROUP_SEPARATOR)


def clock_time(time: datetime | None, zone: ZoneInfo) -> str:
    """Return the time of day in the reader's zone, by the reader's clock.

    >>> time = datetime(2026, 4, 27, 17, 4, 36, tzinfo=UTC)
    >>> clock_time(time, ZoneInfo("Europe/Berlin")), clock_time(time, TwelveHourZone("Europe/Berlin"))
    ('19:04:36', '7:04:36 PM')
    """
    return UNKNOWN if time is None else _format_time_of_day(time, zone)


def day(time: datetime, zone: ZoneInfo, now: datetime) -> str:
    """Return the day in the reader's zone: `Today`, `Yesterday`, else as `Mon 27 Apr 2026`."""
    local, today = time.astimezone(zone).date(), now.astimezone(zone).date()
    if local == today:
        return _("Today")
    if local == today - timedelta(days=1):
        return _("Yesterday")
    return format_date(local)


def format_date(day: date) -> str:
    """Return a date as the language writes it, the one format of all pages.

    >>> format_date(date(2026, 4, 27))
    'Mon 27 Apr 2026'
    """
    formats = get_formats()
    return formats.write_date(formats.full_date, day)


def short_day(day: date) -> str:
    """Return a day without its year, where the year stands beside it.

    >>> short_day(date(2026, 4, 27))
    'Mon 27 Apr'
    """
    formats = get_formats()
    return formats.write_date(formats.short_date, day)


def format_month(day: date) -> str:
    """Return the month of a day.

    >>> format_month(date(2026, 4, 27))
    'April 2026'
    """
    formats = get_formats()
    return formats.write_date(formats.month, day)


def scrollable(title: str) -> Markup:
    """Return the attributes of a table's container that scrolls: the keyboard reaches it, and it has a name.

    >>> scrollable("Calls")
    Markup('tabindex="0" role="region" aria-label="Table: Calls"')
    """
    label = _("Table: {title}", title=title)
    return Markup('tabindex="0" role="region" aria-label="{}"').format(label)


def format_code(text: str) -> Markup:
    """Return a text with the parts between backticks as code; all else is escaped.

    >>> format_code("`next` of <it>")
    Markup('<code>next</code> of &lt;it&gt;')
    """
    parts = [
        Markup("<code>{}</code>").format(part) if index % 2 else escape(part)
        for index, part in enumerate(text.split("`"))
    ]
    return Markup("").join(parts)


def format_error(text: str) -> Markup:
    """Return the text of an error as a sentence by itself: with a capital letter, unless it begins with a name or a
    code; in the API and in a terminal another text comes before it.

    >>> format_error("there is no PBX `x`"), format_error("since: write a date"), format_error("keep_days is too long")
    (Markup('There is no PBX <code>x</code>'), Markup('since: write a date'), Markup('keep_days is too long'))
    """
    is_word = text.partition(" ")[0].isalpha()
    return format_code(text[:1].title() + text[1:] if is_word else text)


def chart_file_name(name: str, since: datetime, until: datetime, zone: ZoneInfo) -> str:
    """Return the name of a chart's file, without an extension: what it shows, and the days, the last one included.

    >>> berlin = ZoneInfo("Europe/Berlin")
    >>> chart_file_name("volume", *(datetime(2026, 4, day, 22, tzinfo=UTC) for day in (26, 28)), berlin)
    'volume-2026-04-27-to-2026-04-28'
    """
    first, last = (time.astimezone(zone).date() for time in (since, until - timedelta(microseconds=1)))
    return f"{name}-{first}" if first == last else f"{name}-{first}-to-{last}"


def from_epoch_seconds(seconds: int) -> datetime:
    """Return the time so many seconds after 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def local_time(time: datetime | None, zone: ZoneInfo) -> str:
    """Return date and time in the reader's zone, the one format of all pages; programs get ISO 8601.

    >>> local_time(datetime(2026, 4, 27, 17, 4, 36, tzinfo=UTC), ZoneInfo("Europe/Berlin"))
    'Mon 27 Apr 2026 19:04:36'
    """
    if time is None:
        return UNKNOWN
    return f"{format_date(time.astimezone(zone))} {_format_time_of_day(time, zone)}"


def short_time(time: datetime, zone: ZoneInfo) -> str:
    """Return the time of day without seconds, by the reader's clock.

    >>> time = datetime(2026, 4, 27, 22, 4, 36, tzinfo=UTC)
    >>> short_time(time, ZoneInfo("Europe/Berlin")), short_time(time, TwelveHourZone("Europe/Berlin"))
    ('00:04', '12:04 AM')
    """
    return _format_time_of_day(time, zone, "%M")


def offset_from_utc(time: datetime, zone: ZoneInfo) -> str:
    """Return the offset of a zone at a time.

    >>> offset_from_utc(datetime(2026, 4, 27, tzinfo=UTC), ZoneInfo("Europe/Berlin"))
    '+02:00'
    """
    return time.astimezone(zone).isoformat()[-6:]


def hour_of_day(hour: int, zone: ZoneInfo) -> str:
    """Return an hour of the day, 0 to 23, by the reader's clock.

    >>> hour_of_day(14, ZoneInfo("Europe/Berlin")), hour_of_day(14, TwelveHourZone("Europe/Berlin"))
    ('14:00', '2:00 PM')
    """
    return _format_clock(datetime(2000, 1, 1, hour, tzinfo=UTC), zone, "%M")


def short_hour(hour: int, zone: ZoneInfo) -> str:
    """Return an hour of the day without minutes, for narrow columns.

    >>> short_hour(9, ZoneInfo("Europe/Berlin")), short_hour(14, TwelveHourZone("Europe/Berlin"))
    ('09', '2 PM')
    """
    if isinstance(zone, TwelveHourZone):
        return f"{hour % 12 or 12} {_half_of_day(hour)}"
    return f"{hour:02}"


def _format_time_of_day(time: datetime, zone: ZoneInfo, minutes_format: str = "%M:%S") -> str:
    return _format_clock(time.astimezone(zone), zone, minutes_format)


def _format_clock(local: datetime, zone: ZoneInfo, minutes_format: str) -> str:
    """Return the time of day that a clock shows, by the reader's clock."""
    if isinstance(zone, TwelveHourZone):
        return f"{local.hour % 12 or 12}:{local.strftime(minutes_format)} {_half_of_day(local.hour)}"
    return local.strftime(f"%H:{minutes_format}")


def _half_of_day(hour: int) -> str:
    formats = get_formats()
    return formats.morning if hour < 12 else formats.afternoon


def zone_city(zone: ZoneInfo) -> str:
    """Return the place of a zone, for a short label.

    >>> zone_city(ZoneInfo("America/Argentina/Buenos_Aires"))
    'Buenos Aires'
    """
    return zone.key.rpartition("/")[2].replace("_", " ")


def format_bytes(number: int) -> str:
    """Return a size.

    >>> format_bytes(700), format_bytes(1536), format_bytes(5 * 1024**3)
    ('700 B', '1.5 KiB', '5.0 GiB')
    """
    size, unit = float(number), "B"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{number} B" if unit == "B" else f"{size:.1f} {unit}".replace(".", get_formats().decimal)


def percent(share: float | None) -> str:
    """Return a share between 0 and 1 as per cent.

    >>> percent(0.8735), percent(1.0), percent(None)
    ('87.4 %', '100 %', '–')
    """
    return UNKNOWN if share is None else format_share(share)


def format_value(value: float | None, unit: str) -> str:
    """Return a figure in its unit, `count`, `seconds` or `share`.

    >>> format_value(74, "seconds"), format_value(0.5, "share"), format_value(74, "count")
    ('1:14', '50 %', '74')
    """
    if value is None or unit == "share":
        return percent(value)
    return minutes(int(value)) if unit == "seconds" else count(int(value))


def tel_url(number: str) -> str:
    """Return the URL by which a telephone calls a number (RFC 3966); empty for what is no number, or is masked.

    >>> tel_url("+49 (30) 90 18-20"), tel_url("1001"), tel_url("anonymous"), tel_url("+49 30 90…")
    ('tel:+4930901820', 'tel:1001', '', '')
    """
    compact = _SEPARATORS.sub("", number)
    return f"tel:{compact}" if _CALLABLE.fullmatch(compact) else ""


def signed_percent(change: float) -> str:
    """Return a relative change as per cent.

    >>> signed_percent(0.123), signed_percent(-0.5)
    ('+12 %', '−50 %')
    """
    return keep_left_to_right(f"{100 * change:+.0f} %".replace("-", "\N{MINUS SIGN}"))


def heat_step(value: int, highest: int) -> int:
    """Return which of five shades a figure has; 0 is none.

    >>> [heat_step(value, 100) for value in (0, 1, 20, 21, 100)]
    [0, 1, 1, 2, 5]
    """
    return -(-HEAT_STEPS * value // highest) if highest else 0


def as_json(value: object) -> str:
    """Return JSON for an attribute that a script reads; it is escaped like any text."""
    return msgspec.json.encode(value).decode()


def shorten_query(sql: str) -> str:
    """Return a query in one line that is short enough for a list.

    >>> shorten_query("SELECT 1\\n  FROM calls"), len(shorten_query("x" * 500))
    ('SELECT 1 FROM calls', 161)
    """
    line = " ".join(sql.split())
    return line if len(line) <= QUERY_CHARACTERS_MAX else f"{line[:QUERY_CHARACTERS_MAX]}…"


def split_party(text: str) -> tuple[str, str]:
    """Return name and number of a party; either may be empty."""
    return extract_name(text), extract_number(text)


def get_field(record: Record, name: str) -> object:
    """Return a field by its name."""
    return getattr(record, name)


def list_filters(record_filter: RecordFilter) -> list[tuple[str, object]]:
    """Return the filters that are set, by name."""
    return [(name, value) for name in FILTER_NAMES if (value := getattr(record_filter, name)) is not None]


def outcome(status: str) -> str:
    """Return the text of a status; an unknown one as the PBX wrote it."""
    known_outcome = _OUTCOMES.get(fold_word(status))
    return _(known_outcome[0]) if known_outcome else status or UNKNOWN


def back_arrow() -> str:
    """Return the arrow to what comes before, as the reader's script runs.

    >>> back_arrow(), forward_arrow()
    ('←', '→')
    """
    return "←" if get_language().direction == "ltr" else "→"


def forward_arrow() -> str:
    """Return the arrow to what comes next."""
    return "→" if get_language().direction == "ltr" else "←"


def direction_sign(call_type: str) -> tuple[str, str]:
    """Return the sign and the text of a call's direction; empty ones for an unknown one."""
    sign, title = _DIRECTIONS.get(fold_word(call_type), ("", ""))
    return sign, _(title) if title else ""


def tone(status: str) -> str:
    """Return the meaning of a status's colour: `good`, `bad`, `soft` or `plain`."""
    return _OUTCOMES.get(fold_word(status), ("", "plain"))[1]


def url(path: str, **query: object) -> str:
    """Return a path with those query parameters that are set."""
    parameters = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(parameters)}" if parameters else path


def extra_url(name: str, value: object, zone: str = "") -> str:
    """Return the URL of the calls whose `extra` has this value; empty where no filter can find it."""
    text = f"{name}={str(value).lower() if isinstance(value, bool) else value}"
    try:
        is_found = len(text) <= TEXT_CHARACTERS_MAX and ExtraFilter.parse(text).matches({name: value})
    except UsageError:
        return ""
    return url("/calls", extra=text, zone=zone) if is_found else ""


def to_api_path(href: str) -> str:
    """Return the link of a page to calls so that it lists them after `/api/v1` too: a call is read without a zone, and
    found in the list where its id cannot be part of a path.

    >>> to_api_path("/calls/3631A/1777287876.1?zone=Asia%2FTokyo"), to_api_path("/call?sn=A&call_id=1%2F2&zone=UTC")
    ('/calls/3631A/1777287876.1', '/calls?sn=A&call_id=1%2F2')
    """
    path, _separator, query = href.partition("?")
    if path.startswith("/calls/"):
        return path
    if path != "/call":
        return href
    return "/calls?" + "&".join(part for part in query.split("&") if not part.startswith("zone="))


def call_url(sn: str, call_id: str, zone: str = "", **query: object) -> str:
    """Return the URL of a call's page; ids that cannot be part of a path are in the query."""
    if _PATH_SAFE.fullmatch(sn) and _PATH_SAFE.fullmatch(call_id):
        return url(f"/calls/{quote(sn)}/{quote(call_id)}", zone=zone, **query)
    return url("/call", sn=sn, call_id=call_id, zone=zone, **query)
