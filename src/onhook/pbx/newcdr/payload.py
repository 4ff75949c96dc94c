"""`NewCdr` of S-Series and Cloud PBX (yeastar-p-series.md 9): the predecessor of event 30012.

Invariants: every spelling printed in the manuals is parsed; all values may be text; an unknown member is stored under
its own name. Events are unsigned; the sender is identified by address or path, not by this dialect.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.pbx.dialect import Envelope, EnvelopeKind
from onhook.pbx.envelopes import (
    VALUES_PEEKED_MAX,
    check_single_pbx,
    describe_undecoded,
    find_events,
    is_compressed,
    peek_calls,
    read_calls,
    unpack,
)
from onhook.pbx.json_fields import build_details, compute_body_key, parse_error

EVENT = "NewCdr"
_DISCRIMINATORS = ("action", "event")
"""S-Series v1 and Cloud v1 write `action`, the second version `event`."""

LABEL_CHARACTERS_MAX = 20
_LABEL = re.compile(r"[A-Za-z0-9_.-]{1,20}")

# Old name to field name. The manuals misspell three names, and spell one of them in three ways.
FIELD_NAMES: Mapping[str, str] = {
    "callid": "call_id",
    "timestart": "time_start",
    "callfrom": "call_from",
    "callto": "call_to",
    "callduraction": "call_duration",
    "callduration": "call_duration",
    "talkduraction": "talk_duration",
    "talkduration": "talk_duration",
    "srctrunkname": "src_trunk_name",
    "desttrunkname": "dst_trunk_name",
    "dsttrcunkname": "dst_trunk_name",
    "dstrunkname": "dst_trunk_name",
    "dsttrunkname": "dst_trunk_name",
    "pincode": "pin_code",
    "status": "status",
    "type": "type",
    "recording": "recording",
    "didnumber": "did_number",
    "agentringtime": "agent_ring_time",
    "cdrid": "uid",
}


class NewCdrFormatSpec(msgspec.Struct, frozen=True):
    """How one generation writes the event. `omitted_members` are members that it does not have."""

    discriminator: str
    dst_trunk_name: str
    has_sn: bool = True
    omitted_members: frozenset[str] = frozenset()


PAYLOAD_FORMATS: Mapping[str, NewCdrFormatSpec] = {
    "s-v1": NewCdrFormatSpec(
        "action", "desttrunkname", has_sn=False, omitted_members=frozenset({"didnumber", "agentringtime"})
    ),
    "cloud-v1": NewCdrFormatSpec("action", "desttrunkname"),
    "v2": NewCdrFormatSpec("event", "dsttrcunkname", omitted_members=frozenset({"cdrid"})),
}

_MEMBER_ORDER = (
    ("callid", "call_id"),
    ("timestart", "time_start"),
    ("callfrom", "call_from"),
    ("callto", "call_to"),
    ("callduraction", "call_duration"),
    ("talkduraction", "talk_duration"),
    ("srctrunkname", "src_trunk_name"),
    ("", "dst_trunk_name"),  # Named by the payload format.
    ("pincode", "pin_code"),
    ("status", "status"),
    ("type", "type"),
    ("recording", "recording"),
    ("didnumber", "did_number"),
    ("agentringtime", "agent_ring_time"),
    ("cdrid", "uid"),
)


class NewCdr:
    """The dialect of the older generations."""

    name = "newcdr"

    def peek(self, body: bytes) -> Envelope:
        """Classify a body, whatever the bytes; see `Envelope`."""
        body = unpack(body)
        body_events = find_events(body, _is_event, values_max=VALUES_PEEKED_MAX)
        if envelope := peek_calls(body_events, _classify, _iter_members, body):
            return envelope
        is_like_json = is_compressed(body) or body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
        return Envelope("unparsable" if is_like_json else "not_json", "", "unknown", compute_body_key(body))

    def parse(self, body: bytes) -> list[CallDetails]:
        """Return the call details in a body; see `Dialect`. Raises `ParseError` with the reason."""
        body = unpack(body)
        events = find_events(body, _is_event).events
        if not events:
            raise parse_error(describe_undecoded(body, _("the body is not a JSON object")))
        check_single_pbx(events)
        label = next((_classify(event)[1] for event in events if event), "unknown")
        reason = _("the event is {label}, not {expected}", label=label, expected=EVENT)
        return read_calls(_iter_members(events), build_details, reason)

    def format(self, details: CallDetails, sn: str, payload_format: str) -> bytes:
        """Return the `NewCdr` with these details as a PBX of that generation writes it: all values are text.

        Raises `UsageError` for an unknown payload format.
        """
        spec = PAYLOAD_FORMATS.get(payload_format)
        if spec is None:
            raise UsageError(
                _("unknown payload format {name!r}", name=payload_format),
                hint=_("use one of {choices}", choices=", ".join(PAYLOAD_FORMATS)),
            )
        members: dict[str, Any] = {spec.discriminator: EVENT}
        for member_name, field_name in _MEMBER_ORDER:
            name, value = member_name or spec.dst_trunk_name, getattr(details, field_name)
            if value is not None and name not in spec.omitted_members:
                members[name] = str(value)
        return msgspec.json.encode(members | ({"sn": sn} if spec.has_sn else {}) | details.extra)


def _is_event(value: Mapping[str, Any]) -> bool:
    return "callid" in value or any(str(value.get(name)).strip().lower() == EVENT.lower() for name in _DISCRIMINATORS)


def _iter_members(events: Iterable[Mapping[str, Any] | None]) -> Iterator[Mapping[str, Any] | None]:
    """Yield the members of each call, and None for each part that is no event; other events are left out."""
    for event in events:
        kind = _classify(event)[0] if event else "unparsable"
        if kind in ("details", "unparsable"):
            yield _parse_members(event) if event and kind == "details" else None


def _classify(envelope: Mapping[str, Any]) -> tuple[EnvelopeKind, str]:
    """Return the kind of an object, and its label for the counts."""
    event = next((envelope[name] for name in _DISCRIMINATORS if isinstance(envelope.get(name), str)), None)
    if event is None:
        return ("details", EVENT) if "callid" in envelope else ("unparsable", "unknown")
    if event.strip().lower() == EVENT.lower():
        return "details", EVENT
    if event == "test":
        return "test_message", "test"
    return "other_event", event[:LABEL_CHARACTERS_MAX] if _LABEL.fullmatch(event) else "unknown"


def _parse_members(envelope: Mapping[str, Any]) -> Mapping[str, Any]:
    """Rename members to the field names. If a member comes in two spellings, the first that is not empty counts."""
    members: dict[str, Any] = {}
    for name, value in envelope.items():
        if name in ("sn", *_DISCRIMINATORS):
            continue
        field_name = FIELD_NAMES.get(name.lower(), name)
        if members.get(field_name) in (None, ""):
            members[field_name] = value
    return members
