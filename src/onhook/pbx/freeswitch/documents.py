"""The document about one leg, as JSON or as XML, in one form (freeswitch.md 3). Pure.

Invariant: whatever the bytes, the result is a document or a `ParseError` with a reason. Times are microseconds since
1970, UTC; None is never.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

import msgspec

from onhook.cdr.utc_offset import YEAR_MAX, YEAR_MIN
from onhook.lib.messages import _
from onhook.pbx.freeswitch.encodings import decode_members, decode_value, decode_values, unwrap
from onhook.pbx.freeswitch.event_document import is_event, to_document_members
from onhook.pbx.json_fields import TEXT_CHARACTERS_MAX, parse_error

ARRAY_PREFIX = "ARRAY::"
ARRAY_SEPARATOR = "|:"

PROFILES_MAX = 200
"""A leg gets a profile per transfer; more are a loop in a dialplan."""

APPLICATIONS_MAX = 2_000
VARIABLES_MAX = 5_000
"""Real legs have some 150."""

_SECONDS_PER_YEAR = 31_556_952
EPOCH_MIN, EPOCH_MAX = (YEAR_MIN - 1970) * _SECONDS_PER_YEAR, (YEAR_MAX - 1970) * _SECONDS_PER_YEAR
MICROSECONDS = 1_000_000
_DIGITS = re.compile(r"[0-9]{1,18}")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

# An element of a name that XML does not allow, or with a prefix: names of variables are written as they are.
_ODD_ELEMENT = re.compile(
    r"<(?![/?]|[A-Za-z_][\w.-]{0,200}(?:>|/>| [\w-]{1,200}=))([^<>/][^<>]{0,200}?)(?:/>|>[^<]*</\1>)"
)


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of a leg in the dialplan: its numbers, and its times."""

    destination: str
    caller_number: str
    caller_name: str
    ani: str
    context: str
    created: int | None
    answered: int | None
    bridged: int | None
    transferred: int | None
    originator_id: str


class Application(msgspec.Struct, frozen=True):
    """An application that the dialplan ran on a leg, and when, where that is known."""

    name: str
    data: str
    began: int | None


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What FreeSWITCH says about a leg. `profiles` has the oldest first; there is at least one."""

    variables: Mapping[str, str]
    profiles: Sequence[Profile]
    applications: Sequence[Application]


def decode_document(body: bytes) -> Document:
    """Return the document in a body. Raises `ParseError`."""
    text = unwrap(body)
    return _from_xml(text) if text.startswith(b"<") else _from_json(text)


def split_array(value: str) -> list[str]:
    """Return the items of a variable; one item has no prefix.

    >>> split_array("ARRAY::a|:b"), split_array("a"), split_array("")
    (['a', 'b'], ['a'], [])
    """
    items = value.removeprefix(ARRAY_PREFIX).split(ARRAY_SEPARATOR) if value.startswith(ARRAY_PREFIX) else [value]
    return [item for item in items if item]


def to_microseconds(text: str) -> int | None:
    """Return microseconds since 1970 of a plausible time; None for `0`, which is never."""
    value = int(text) if _DIGITS.fullmatch(text) else 0
    return value if EPOCH_MIN * MICROSECONDS <= value <= EPOCH_MAX * MICROSECONDS else None


def _from_json(text: bytes) -> Document:
    members = decode_members(text)
    if is_event(members):
        members = to_document_members(members, ARRAY_PREFIX, ARRAY_SEPARATOR)
    variables, flows = members.get("variables"), members.get("callflow")
    if not isinstance(variables, dict) or not all(isinstance(value, str) for value in variables.values()):
        raise parse_error(_("the document has no variables, or variables that are not text"))
    log = members.get("app_log")
    entries = log.get("applications") if isinstance(log, dict) else None
    flows = flows if isinstance(flows, list) else [flows]
    profiles = [_profile(flow.get("caller_profile"), flow.get("times")) for flow in flows if isinstance(flow, dict)]
    return _build(decode_values(variables), profiles, entries if isinstance(entries, list) else [])


def _from_xml(text: bytes) -> Document:
    decoded = text.decode("utf-8", "replace")
    if "<!" in decoded:
        raise parse_error(_("the XML document has a declaration, which FreeSWITCH does not write"))
    try:
        root = ET.fromstring(_ODD_ELEMENT.sub("", decoded))  # noqa: S314 - without declarations, no entities
    except (ET.ParseError, ValueError, RecursionError) as error:
        raise parse_error(_("the XML document is damaged: {reason}", reason=error)) from None
    values: dict[str, list[str]] = {}
    for element in root.iterfind("variables/*"):
        values.setdefault(element.tag, []).append(decode_value(element.text or ""))
    profiles = [
        _profile(_members_of(flow.find("caller_profile")), _members_of(flow.find("times")), _originator_of(flow))
        for flow in root.iterfind("callflow")
    ]
    applications = [dict(element.attrib) for element in root.iterfind("app_log/application")]
    return _build({name: join_array(items) for name, items in values.items()}, profiles, applications)


def join_array(items: Sequence[str]) -> str:
    """Return the values of a variable, of which XML has an element each, as JSON has them."""
    return items[0] if len(items) == 1 else ARRAY_PREFIX + ARRAY_SEPARATOR.join(items)


def _members_of(element: ET.Element | None) -> dict[str, str]:
    return {} if element is None else {child.tag: child.text or "" for child in element if len(child) == 0}


def _originator_of(flow: ET.Element) -> str:
    return flow.findtext("caller_profile/originator/originator_caller_profile/uuid", "")


def _profile(members: Any, times: Any, originator_id: str = "") -> Profile | None:
    """Return a profile; None for one without members or times."""
    if not isinstance(members, dict) or not isinstance(times, dict):
        return None
    return Profile(
        destination=_text(members, "destination_number"),
        caller_number=_text(members, "caller_id_number"),
        caller_name=_text(members, "caller_id_name"),
        ani=_text(members, "ani"),
        context=_text(members, "context"),
        created=_time(times, "profile_created_time"),
        answered=_time(times, "answered_time"),
        bridged=_time(times, "bridged_time"),
        transferred=_time(times, "transfer_time"),
        originator_id=originator_id or _first_originator(members.get("originator")),
    )


def _first_originator(originator: Any) -> str:
    profiles = originator.get("originator_caller_profiles") if isinstance(originator, dict) else None
    first = profiles[0] if isinstance(profiles, list) and profiles else None
    return _text(first, "uuid") if isinstance(first, dict) else ""


def _text(members: Mapping[str, Any], name: str) -> str:
    value = members.get(name)
    return clean_text(value) if isinstance(value, str) else ""


def _time(members: Mapping[str, Any], name: str) -> int | None:
    value = members.get(name)
    return to_microseconds(value) if isinstance(value, str) else None


def _build(variables: Mapping[str, str], profiles: Sequence[Profile | None], entries: Iterable[Any]) -> Document:
    """Return the document of these parts, the profiles with the newest first. Raises `ParseError`."""
    read_profiles = [profile for profile in profiles if profile is not None]
    applications = [
        Application(name, _text(entry, "app_data"), _time(entry, "app_stamp"))
        for entry in entries
        if isinstance(entry, dict) and (name := _text(entry, "app_name"))
    ]
    if not read_profiles:
        raise parse_error(_("the document has no callflow"))
    if len(variables) > VARIABLES_MAX or len(read_profiles) > PROFILES_MAX or len(applications) > APPLICATIONS_MAX:
        raise parse_error(_("the document has more parts than that of any leg"))
    return Document(
        variables={name: clean_text(value) for name, value in variables.items()},
        profiles=read_profiles[::-1],
        applications=applications,
    )


def clean_text(value: str) -> str:
    """Return a text that can be stored: without control characters that no database has, and cut."""
    return _UNSTORABLE.sub("\ufffd", value)[:TEXT_CHARACTERS_MAX]
