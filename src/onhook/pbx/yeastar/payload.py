"""Event 30012 of the P-Series: bytes into call details, call details into bytes (PROTOCOL.md 1 to 3).

Laws: what a PBX was ever seen to send is read, and what its vendor prints as an example too. Nothing is repaired by
deleting characters. A member that cannot be what its name says is kept in `extra`, not guessed. Only what says no call
at all is refused, with a reason.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from onhook.cdr.details import DETAIL_FIELDS, DURATION_SECONDS_MAX, NUMBER_FIELDS, CallDetails
from onhook.cdr.offset import call_epoch, canonical_wall_clock
from onhook.errors import Unreadable, UsageError
from onhook.pbx.dialect import Glance, Kind
from onhook.pbx.yeastar.usual import read_usual

EVENT_TYPE = 30012
REQUIRED = ("call_id", "time_start", "call_from", "call_to")
TEXT_CHARACTERS_MAX = 4096
"""No field of a call is longer; a longer text is cut, and the ledger keeps the whole."""

CALL_ID_CHARACTERS_MAX = 200
"""A real one has some 16 (PROTOCOL.md 2.4); a call must be found again by it, so it is not cut."""

EXTRA_LEVELS_MAX = 32
"""Of lists and objects inside each other in a member that we do not know."""

INT_DIGITS_MAX = 18
"""Within 64 bits."""

SN_CHARACTERS_MAX = 64
"""Serial numbers have 12 to 16 (PROTOCOL.md 1)."""

_KEY_EPOCH_MAX = 2**32 - 1
_SN = re.compile(rb'"sn"\s*:\s*"([!-~]{1,64}?)"')
_PRINTED_START = re.compile(r'"msg"\s*:\s*"\s*\{')
_EVENT_TYPE = re.compile(r"\s*[0-9]{1,9}\s*")
_WHOLE_NUMBER = re.compile(r"\+?([0-9]{1,12})(?:\.0+)?")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Profile(msgspec.Struct, frozen=True):
    """How one generation writes the event (PROTOCOL.md 3.2). `left_out` are members it does not know."""

    left_out: frozenset[str] = frozenset()
    adds: Mapping[str, Any] = {}
    blank: str = ""
    sn_first: bool = False
    msg_is_object: bool = False


_NEWEST = {"is_display": 1, "realclidnum": ""}
PROFILES: Mapping[str, Profile] = {
    "p-2023": Profile(left_out=frozenset({"did_name", "uid", "call_note_id", "enb_call_note", *_NEWEST})),
    "p-2025": Profile(left_out=frozenset({"did_name", *_NEWEST})),
    "p-2026": Profile(adds=_NEWEST, sn_first=True),
    "doc": Profile(left_out=frozenset(_NEWEST), blank=" "),
    "object": Profile(msg_is_object=True),
}

# The four that the vendor's example prints as one blank (PROTOCOL.md 2.9).
_PRINTED_AS_BLANK = frozenset({"src_trunk_name", "dst_trunk_name", "pin_code", "did_number"})


class Yeastar:
    """The dialect of the P-Series."""

    name = "yeastar"

    def glance(self, body: bytes) -> Glance:
        """Tell what a body seems to be, whatever the bytes; see `Glance`."""
        envelope = _decoded(body)
        if not isinstance(envelope, dict):
            return _glance_at_text(body)
        sn = _text_or_empty(envelope.get("sn"))
        kind, label = _kind_of(envelope)
        if kind != "details":
            return Glance(kind, sn, label, _key_of_bytes(body))
        members = _members(envelope)
        if members is None:
            return Glance("unreadable", sn, label, _key_of_bytes(body))
        return Glance("details", sn, label, _key_of(sn, members))

    def read(self, body: bytes) -> list[CallDetails]:
        """The call details that a body says. Raises `Unreadable` with the reason."""
        return [read_usual(body) or read_thoroughly(body)]

    def write(self, details: CallDetails, sn: str, profile: str) -> bytes:
        """The event that says these details, as a PBX of that generation writes it; a number nobody sent is left out.

        Raises `UsageError` for an unknown profile.
        """
        shape = PROFILES.get(profile)
        if shape is None:
            raise UsageError(f"there is no profile {profile!r}", todo=f"use one of {', '.join(PROFILES)}")
        members = _written(details, shape)
        envelope: dict[str, Any] = {"sn": sn, "type": EVENT_TYPE} if shape.sn_first else {"type": EVENT_TYPE, "sn": sn}
        envelope["msg"] = members if shape.msg_is_object else msgspec.json.encode(members).decode()
        return msgspec.json.encode(envelope)


def read_thoroughly(body: bytes) -> CallDetails:
    """The call details that a body of any known shape says. Raises `Unreadable` with the reason."""
    envelope = _decoded(body)
    if not isinstance(envelope, dict):
        envelope = _decoded_as_printed(body)
    members = _members(envelope)
    if members is None:
        raise _unreadable("its `msg` is no JSON object that could be read, and it has no `call_id` itself")
    return _details(members)


def _kind_of(envelope: Mapping[str, Any]) -> tuple[Kind, str]:
    """What an envelope seems to be, and its label for the counts."""
    event_type = envelope.get("type")
    if isinstance(event_type, str) and _EVENT_TYPE.fullmatch(event_type):
        event_type = int(event_type)
    if isinstance(event_type, int) and not isinstance(event_type, bool):
        return ("details", str(EVENT_TYPE)) if event_type == EVENT_TYPE else ("other", str(event_type)[:20])
    if "call_id" in envelope or "msg" in envelope:
        return "details", str(EVENT_TYPE)
    return ("test", "test") if envelope.get("event") == "test" else ("unreadable", "unknown")


def _members(envelope: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The details' members: `msg` as text or as an object, or the flat body itself; None where there are none."""
    msg = envelope.get("msg")
    if isinstance(msg, str):
        msg = _decoded(msg.strip().encode("utf-8", "surrogatepass"))
    elif msg is None and "call_id" in envelope:
        msg = {name: value for name, value in envelope.items() if name != "sn"}
    return msg if isinstance(msg, dict) else None


def _decoded(body: bytes) -> Any:
    """What the JSON says, or None. Raw line breaks, lone surrogates and broken UTF-8 inside texts are borne.

    Fractions stay text, so that the call id `….10` is not read as `….1` when it comes as a number.
    """
    try:
        decoded = msgspec.json.decode(body)
        if b"u0000" not in body and not _has_fraction(decoded):
            return decoded
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        decoded = None
    try:
        text = body.decode("utf-8-sig", "replace")
        return json.loads(text, strict=False, parse_int=_int_or_text, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return decoded


def _int_or_text(digits: str) -> int | str:
    """A whole number that anything can hold; else its digits, because Python refuses to convert thousands of them."""
    return int(digits) if len(digits) <= INT_DIGITS_MAX else digits


def _has_fraction(decoded: Any) -> bool:
    return isinstance(decoded, dict) and float in map(type, decoded.values())


def _decoded_as_printed(body: bytes) -> Mapping[str, Any]:
    """The vendor's printed example: the details stand unescaped between quotes. Raises `Unreadable`."""
    text = body.decode("utf-8", "replace")
    start = _PRINTED_START.search(text)
    # Taken off from the end, because a search for the end would take a stranger's time squared.
    details = _without_end(_without_end(text, "}"), '"')
    msg = _decoded(details[start.end() - 1 :].encode()) if start else None
    if not isinstance(msg, dict):
        raise _unreadable("it is not JSON, and not the event as the vendor's manual prints it either")
    return {"msg": msg}


def _without_end(text: str, mark: str) -> str:
    """Without the mark at its end, and without the blanks around that."""
    return text.rstrip().removesuffix(mark).rstrip()


def _glance_at_text(body: bytes) -> Glance:
    """A body that is no JSON object: still a call as the manual prints it, something like JSON, or rubbish."""
    found = _SN.search(body)
    sn = found[1].decode() if found else ""
    try:
        members = _members(_decoded_as_printed(body))
    except Unreadable:
        members = None
    if members is not None:
        return Glance("details", sn, str(EVENT_TYPE), _key_of(sn, members))
    is_like_json = body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
    return Glance("unreadable" if is_like_json else "rubbish", sn, "unknown", _key_of_bytes(body))


def _key_of(sn: str, members: Mapping[str, Any]) -> bytes:
    """Equal for exact repeats: over the decoded details, because the order of members differs (PROTOCOL.md 2.5)."""
    epoch = min(call_epoch(str(members.get("call_id", "")).strip()), _KEY_EPOCH_MAX)
    try:
        canonical = msgspec.json.encode([sn, members], order="deterministic")
    except (UnicodeEncodeError, RecursionError):
        canonical = json.dumps([sn, members], sort_keys=True).encode()
    return epoch.to_bytes(4) + hashlib.sha256(canonical).digest()[:12]


def _key_of_bytes(body: bytes) -> bytes:
    return bytes(4) + hashlib.sha256(body).digest()[:12]


def _details(members: Mapping[str, Any]) -> CallDetails:
    """Members as typed fields. Raises `Unreadable` where one of the four required ones is missing or cannot be."""
    fields: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    field: str | int | None
    for name, value in members.items():
        if name in NUMBER_FIELDS:
            field = _number(value)
        elif name in _KNOWN:
            field = _clean(value) if isinstance(value, str) else _digits(value)
        else:
            extra[_clean(name)] = _storable(value)
            continue
        if field is not None:
            fields[name] = field
        elif value is not None and not (isinstance(value, str) and not value.strip()):
            extra[name] = _storable(value)
    for name in REQUIRED:
        if not fields.get(name):
            raise _unreadable(f"{name} is missing or blank")
    if len(fields["call_id"]) > CALL_ID_CHARACTERS_MAX:
        raise _unreadable(f"its call_id is longer than {CALL_ID_CHARACTERS_MAX} characters")
    fields["time_start"] = canonical_wall_clock(fields["time_start"])
    return CallDetails(**fields, extra=extra)


_KNOWN = frozenset(DETAIL_FIELDS)


def _number(value: Any) -> int | None:
    """A whole number of sensible size, however it is written; else None."""
    if isinstance(value, str):
        found = _WHOLE_NUMBER.fullmatch(value.strip())
        value = int(found[1]) if found else None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= DURATION_SECONDS_MAX:
        return value
    return None


def _digits(value: Any) -> str | None:
    """A number where a text belongs; else None."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _clean(text: str) -> str:
    """Trimmed, bounded, and without what no database or file can hold: NUL and lone surrogates."""
    return _UNSTORABLE.sub("\ufffd", text.strip()[:TEXT_CHARACTERS_MAX])


def _storable(value: Any) -> Any:
    """A member that we do not know, as it is; as its JSON text where it is too long or too deep for its readers."""
    if value is None or isinstance(value, str | bool | int):
        return _clean(value) if isinstance(value, str) else value
    text = _UNSTORABLE.sub("\ufffd", json.dumps(value, ensure_ascii=False))
    if len(text) > TEXT_CHARACTERS_MAX or "\\u0000" in text or not _is_shallow(value, EXTRA_LEVELS_MAX):
        return _clean(text)
    return json.loads(text)


def _is_shallow(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(_is_shallow(one, levels - 1) for one in inner)


def _text_or_empty(value: Any) -> str:
    return _clean(value)[:SN_CHARACTERS_MAX] if isinstance(value, str) else _digits(value) or ""


def _written(details: CallDetails, shape: Profile) -> dict[str, Any]:
    """The members of `msg` in the order in which PBXs were seen to write them."""
    extra = {name: value for name, value in details.extra.items() if name not in shape.left_out}
    members: dict[str, Any] = {}
    for name in DETAIL_FIELDS:
        value = extra.pop(name, getattr(details, name))
        if name not in shape.left_out and value is not None:
            members[name] = shape.blank if value == "" and name in _PRINTED_AS_BLANK else value
    return members | dict(shape.adds) | extra


def _unreadable(why: str) -> Unreadable:
    return Unreadable(
        f"the report says no call: {why}", todo="look at its body; it is kept until a version can read it"
    )
