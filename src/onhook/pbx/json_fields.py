"""Shared code of the JSON dialects: decode bytes into members, build call details from members, compute the key of an
event.

Invariants: nothing is repaired by deleting characters. A member whose value does not fit its name is stored in `extra`,
not guessed. Only a body without a call is rejected, with a reason.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from onhook.cdr.call_details import DETAIL_FIELDS, DURATION_SECONDS_MAX, NUMBER_FIELDS, CallDetails
from onhook.cdr.utc_offset import call_epoch, normalize_wall_clock
from onhook.lib.errors import ParseError
from onhook.lib.messages import _

REQUIRED_FIELDS = ("call_id", "time_start", "call_from", "call_to")
PARTY_FIELDS = frozenset({"call_from", "call_to"})
"""Must be present, but may be blank: a caller withholds the number, a call ends before it is routed."""

TEXT_CHARACTERS_MAX = 4096
"""No field of a call is longer. A longer text is cut; the ledger stores it in full."""

CALL_ID_CHARACTERS_MAX = 200
"""A real id has about 16 (yeastar-p-series.md 2.4). Calls are looked up by id, so it is not cut."""

EXTRA_LEVELS_MAX = 32
"""Nesting depth of lists and objects in an unknown member."""

INT_DIGITS_MAX = 18
"""Fits into 64 bits."""

SN_CHARACTERS_MAX = 64
"""Serial numbers have 12 to 16 (yeastar-p-series.md 1)."""

_KEY_EPOCH_MAX = 2**32 - 1
DURATION_FIELDS = frozenset({"call_duration", "talk_duration", "agent_ring_time"})
_CLOCK_DURATION = re.compile(r"(?:([0-9]{1,4}):)?([0-9]{1,2}):([0-5][0-9])")
_SECOND_FRACTION = r"(?:\.[0-9]{1,3}|\.[0-9]{6})?"
"""Milliseconds or microseconds at most: more digits are a fraction of something else."""

_HOUR_LETTERS = ("h", "s", "ч", "小", "时")
_HOURS, _MINUTES, _SECONDS = (
    r"(?:h|hrs?|hours?|std|ч|小时|时)",
    r"(?:m|mins?|minutes?|minuten|мин|分|分钟)",
    r"(?:s|secs?|seconds?|sek|sekunden|seg|сек|秒)",
)
_UNIT_DURATION = re.compile(
    rf"(?:([0-9]{{1,4}})\s*{_HOURS}\.?)?\s*(?:([0-9]{{1,6}})\s*{_MINUTES}\.?)?\s*"
    rf"(?:([0-9]{{1,8}}){_SECOND_FRACTION}\s*{_SECONDS}\.?)?",
    re.IGNORECASE,
)
_HALVES_OF_DAY = {"am": 0, "pm": 12}
_CLOCK_WITH_SUFFIX = re.compile(
    rf"([0-9:]+:[0-9]{{2}}){_SECOND_FRACTION}\s*(am|pm|{_HOURS}\.?|{_MINUTES}\.?)?", re.IGNORECASE
)
_WHOLE_NUMBER = re.compile(r"\+?([0-9]{1,12})(?:\.0+)?")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


_decoder = msgspec.json.Decoder(float_hook=str)


def decode_json(body: bytes) -> Any:
    """Decode JSON; return None if it is invalid. Accepts raw line breaks, lone surrogates and broken UTF-8 inside
    texts.

    Fractions stay text, so that the call id `….10` does not become `….1` when it comes as a number.
    """
    try:
        data = _decoder.decode(body)
        if b"u0000" not in body:
            return data
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        data = None
    try:
        text = body.decode("utf-8-sig", "replace")
        return json.loads(text, strict=False, parse_int=_int_or_text, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return data


def _int_or_text(digits: str) -> int | str:
    """Return a whole number of storable size; else its digits, because Python refuses to convert thousands of them."""
    return int(digits) if len(digits) <= INT_DIGITS_MAX else digits


def build_details(members: Mapping[str, Any]) -> CallDetails:
    """Build typed fields from members. Raises `ParseError` if one of the four required ones is missing or invalid."""
    fields: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    field_value: str | int | None
    members = normalize_case(members)
    for name, value in members.items():
        if name in NUMBER_FIELDS:
            field_value = _parse_number(value)
            if field_value is None and name in DURATION_FIELDS and isinstance(value, str):
                field_value = _parse_duration(value)
        elif name in _DETAIL_FIELD_NAMES:
            field_value = _clean_text(value) if isinstance(value, str) else _number_as_text(value)
        else:
            extra[_clean_text(name)] = _to_storable(value)
            continue
        if field_value is not None:
            fields[name] = field_value
        elif value is not None and not (isinstance(value, str) and not value.strip()):
            extra[name] = _to_storable(value)
    for name in REQUIRED_FIELDS:
        if not fields.get(name) and not _is_withheld(name, members):
            raise parse_error(_("{name} is missing or blank", name=name))
        fields.setdefault(name, "")
    if len(fields["call_id"]) > CALL_ID_CHARACTERS_MAX:
        raise parse_error(_("call_id is longer than {limit} characters", limit=CALL_ID_CHARACTERS_MAX))
    fields["time_start"] = normalize_wall_clock(fields["time_start"])
    return CallDetails(**fields, extra=extra)


_DETAIL_FIELD_NAMES = frozenset(DETAIL_FIELDS)


def normalize_case(members: Mapping[str, Any]) -> Mapping[str, Any]:
    """Rename members such as `Call_ID` to the event's own names; a member that is present under both names stays
    unchanged.
    """
    if all(name in _DETAIL_FIELD_NAMES or name.islower() for name in members):
        return members
    return {
        field_name if (field_name := name.lower()) in _DETAIL_FIELD_NAMES and field_name not in members else name: value
        for name, value in members.items()
    }


def _is_withheld(name: str, members: Mapping[str, Any]) -> bool:
    value = members.get(name, ...)
    return name in PARTY_FIELDS and (value is None or (isinstance(value, str) and not value.strip()))


def _parse_number(value: Any) -> int | None:
    """Return a whole number of plausible size, however it is written; else None."""
    if isinstance(value, str):
        match = _WHOLE_NUMBER.fullmatch(value.strip())
        value = int(match[1]) if match else None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= DURATION_SECONDS_MAX:
        return value
    return None


def _parse_duration(text: str) -> int | None:
    """Return the seconds of a duration as displays, spreadsheets and programs write it, without fractions; None for any
    other text. A bare fraction has no known unit: a spreadsheet counts days.

    >>> [_parse_duration(text) for text in ("37s", "1 h 02 min", "0:30 min", "1:30 h", "12:00:37 AM", "1.5")]
    [37, 3720, 30, 5400, 37, None]
    """
    text = text.strip()
    if match := _UNIT_DURATION.fullmatch(text):
        hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return _parse_number(hours * 3600 + minutes * 60 + seconds) if any(match.groups()) else None
    match = _CLOCK_WITH_SUFFIX.fullmatch(text)
    if match is None:
        return None
    clock, suffix = match[1], (match[2] or "").lower().rstrip(".")
    if suffix in _HALVES_OF_DAY:
        return _parse_time_of_day(clock, suffix)
    return _parse_clock_duration(f"{clock}:00" if suffix[:1] in _HOUR_LETTERS and clock.count(":") == 1 else clock)


def _parse_time_of_day(clock: str, half: str) -> int | None:
    """Return the seconds since midnight; None without seconds, which a spreadsheet has cut then."""
    hours, _colon, rest = clock.partition(":")
    if clock.count(":") != 2 or not 1 <= int(hours) <= 12:
        return None
    return _parse_clock_duration(f"{int(hours) % 12 + _HALVES_OF_DAY[half]}:{rest}")


def _parse_clock_duration(text: str) -> int | None:
    """Return the seconds of a duration as displays and spreadsheets write it; None for any other text.

    >>> _parse_clock_duration("0:00:37"), _parse_clock_duration("02:05"), _parse_clock_duration("37 s")
    (37, 125, None)
    """
    match = _CLOCK_DURATION.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    duration = hours * 3600 + minutes * 60 + seconds
    return duration if duration <= DURATION_SECONDS_MAX else None


def _number_as_text(value: Any) -> str | None:
    """Return a number in a text field as text; else None."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _clean_text(text: str) -> str:
    """Trim and bound a text, and replace what no database or file can hold: NUL and lone surrogates."""
    return _UNSTORABLE.sub("\ufffd", text.strip()[:TEXT_CHARACTERS_MAX])


def _to_storable(value: Any) -> Any:
    """Return an unknown member unchanged, or as its JSON text if it is too long or too deep for its readers.

    Raises `ParseError` for a member nested so deep that it was just possible to decode it.
    """
    if value is None or isinstance(value, str | bool | int):
        return _clean_text(value) if isinstance(value, str) else value
    try:
        text = _UNSTORABLE.sub("\ufffd", json.dumps(value, ensure_ascii=False))
    except RecursionError:
        raise parse_error(_("a member is nested too deeply")) from None
    if len(text) > TEXT_CHARACTERS_MAX or "\\u0000" in text or not _is_shallow(value, EXTRA_LEVELS_MAX):
        return _clean_text(text)
    return json.loads(text)


def _is_shallow(value: Any, levels: int) -> bool:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(_is_shallow(item, levels - 1) for item in items)


def compute_key(sn: str, members: Mapping[str, Any], body: bytes) -> bytes:
    """Return a key that is equal for exact repeats. It covers the decoded details, because the order of members differs
    (yeastar-p-series.md 2.5).
    """
    return _stamp(members) + hashlib.sha256(_encode_canonical([sn, members]) or body).digest()[:12]


def compute_stamped_body_key(members: Mapping[str, Any], body: bytes) -> bytes:
    """Return the key of a body with very many calls, of which these are the members of the first: over its bytes."""
    return _stamp(members) + hashlib.sha256(body).digest()[:12]


def _stamp(members: Mapping[str, Any]) -> bytes:
    return min(call_epoch(str(members.get("call_id", "")).strip()), _KEY_EPOCH_MAX).to_bytes(4)


def _encode_canonical(value: Any) -> bytes:
    """Return JSON with sorted members; empty if the value is nested so deep that it was just possible to decode it."""
    try:
        return msgspec.json.encode(value, order="deterministic")
    except (UnicodeEncodeError, RecursionError):
        with suppress(RecursionError):
            return json.dumps(value, sort_keys=True).encode()
        return b""


def compute_body_key(body: bytes) -> bytes:
    """Return the key of a body without a call: over its bytes."""
    return bytes(4) + hashlib.sha256(body).digest()[:12]


def text_or_empty(value: Any) -> str:
    """Return a serial number as text, bounded; empty if there is none."""
    return _clean_text(value)[:SN_CHARACTERS_MAX] if isinstance(value, str) else _number_as_text(value) or ""


def parse_error(reason: str) -> ParseError:
    """Return the error that says why no call can be parsed."""
    return ParseError(
        _("could not parse the raw event: {reason}", reason=reason),
        hint=_("check its body; it stays in the quarantine until a version can parse it"),
    )
