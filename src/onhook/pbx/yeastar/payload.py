"""Event 30012 of the P-Series: bytes into call details, call details into bytes (PROTOCOL.md 1 to 3).

Law: what a PBX was ever seen to send is read, and what its vendor prints as an example too.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from onhook.cdr.call_details import DETAIL_FIELDS, CallDetails
from onhook.lib.errors import ParseError, UsageError
from onhook.pbx.dialect import Glance, Kind
from onhook.pbx.json_fields import decoded, details_of, in_our_case, key_of, key_of_bytes, text_or_empty, unreadable
from onhook.pbx.yeastar.fast_path import read_usual
from onhook.pbx.yeastar.rows import ROW_LABEL, ROW_START, members_to_compare, read_row, start_as_proven

EVENT_TYPE = 30012
MSG_LAYERS_MAX = 3
"""Of JSON text inside JSON text: one is the event's own, and each program it was led through may add one."""

_SN = re.compile(rb'"sn"\s*:\s*"([!-~]{1,64}?)"')
_PRINTED_START = re.compile(r'"msg"\s*:\s*"\s*\{')
_EVENT_TYPE = re.compile(r"\s*[0-9]{1,9}\s*")


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
        envelope = decoded(body)
        if not isinstance(envelope, dict):
            return _glance_at_text(body)
        sn = text_or_empty(envelope.get("sn"))
        if body.startswith(ROW_START):
            return Glance("details", sn, ROW_LABEL, key_of(sn, members_to_compare(envelope)))
        kind, label = _kind_of(envelope)
        if kind != "details":
            return Glance(kind, sn, label, key_of_bytes(body))
        members = _members(envelope)
        if members is None:
            return Glance("unreadable", sn, label, key_of_bytes(body))
        return Glance("details", sn, label, key_of(sn, members))

    def read(self, body: bytes) -> list[CallDetails]:
        """The call details that a body says. Raises `Unreadable` with the reason."""
        if body.startswith(ROW_START):
            return _read_row(body)
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


def _read_row(body: bytes) -> list[CallDetails]:
    envelope = decoded(body)
    if not isinstance(envelope, dict):
        raise unreadable("the row is no JSON")
    return read_row(envelope)


def read_thoroughly(body: bytes) -> CallDetails:
    """The call details that a body of any known shape says. Raises `Unreadable` with the reason."""
    envelope = decoded(body)
    if not isinstance(envelope, dict):
        envelope = _decoded_as_printed(body)
    members = _members(envelope)
    if members is None:
        raise unreadable("its `msg` is no JSON object that could be read, and it has no `call_id` itself")
    members = in_our_case(members)
    return details_of({**members, "time_start": start_as_proven(members)} if "time_start" in members else members)


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
    if msg is None and "call_id" in envelope:
        return {name: value for name, value in envelope.items() if name != "sn" and not _is_event_type(name, value)}
    for _ in range(MSG_LAYERS_MAX):
        if isinstance(msg, str):
            msg = decoded(msg.strip().encode("utf-8", "surrogatepass"))
    return msg if isinstance(msg, dict) else None


def _is_event_type(name: str, value: Any) -> bool:
    """Of a flat body: `type` may be the event's number, and is the call's direction otherwise."""
    return name == "type" and str(value).strip() == str(EVENT_TYPE)


def _decoded_as_printed(body: bytes) -> Mapping[str, Any]:
    """The vendor's printed example: the details stand unescaped between quotes. Raises `Unreadable`."""
    text = body.decode("utf-8", "replace")
    start = _PRINTED_START.search(text)
    # Taken off from the end, because a search for the end would take a stranger's time squared.
    details = _without_end(_without_end(text, "}"), '"')
    msg = decoded(details[start.end() - 1 :].encode()) if start else None
    if not isinstance(msg, dict):
        raise unreadable("it is not JSON, and not the event as the vendor's manual prints it either")
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
    except ParseError:
        members = None
    if members is not None:
        return Glance("details", sn, str(EVENT_TYPE), key_of(sn, members))
    is_like_json = body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
    return Glance("unreadable" if is_like_json else "rubbish", sn, "unknown", key_of_bytes(body))


def _written(details: CallDetails, shape: Profile) -> dict[str, Any]:
    """The members of `msg` in the order in which PBXs were seen to write them."""
    extra = {name: value for name, value in details.extra.items() if name not in shape.left_out}
    members: dict[str, Any] = {}
    for name in DETAIL_FIELDS:
        value = extra.pop(name, getattr(details, name))
        if name not in shape.left_out and value is not None:
            members[name] = shape.blank if value == "" and name in _PRINTED_AS_BLANK else value
    return members | dict(shape.adds) | extra
