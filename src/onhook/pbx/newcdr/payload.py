"""`NewCdr` of S-Series and Cloud PBX (PROTOCOL.md 9): event 30012 before it had a number.

Laws: every spelling that their manuals print is read; all values may be text; a member that nobody knows is kept under
its own name. Nothing here is signed, so who sent it is told by the address or the path, not by this dialect.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.lib.errors import UsageError
from onhook.pbx.dialect import Glance, Kind
from onhook.pbx.json_fields import decoded, details_of, key_of, key_of_bytes, text_or_empty, unreadable

EVENT = "NewCdr"
_DISCRIMINATORS = ("action", "event")
"""S-Series v1 and Cloud v1 say `action`, the second version `event`."""

LABEL_CHARACTERS_MAX = 20
_LABEL = re.compile(r"[A-Za-z0-9_.-]{1,20}")

# Older name: ours. The manuals spell three of them wrongly, and one name in three ways.
NAMES: Mapping[str, str] = {
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


class Profile(msgspec.Struct, frozen=True):
    """How one generation writes it. `left_out` are members that it does not know."""

    discriminator: str
    dst_trunk_name: str
    has_sn: bool = True
    left_out: frozenset[str] = frozenset()


PROFILES: Mapping[str, Profile] = {
    "s-v1": Profile("action", "desttrunkname", has_sn=False, left_out=frozenset({"didnumber", "agentringtime"})),
    "cloud-v1": Profile("action", "desttrunkname"),
    "v2": Profile("event", "dsttrcunkname", left_out=frozenset({"cdrid"})),
}

_WRITTEN = (
    ("callid", "call_id"),
    ("timestart", "time_start"),
    ("callfrom", "call_from"),
    ("callto", "call_to"),
    ("callduraction", "call_duration"),
    ("talkduraction", "talk_duration"),
    ("srctrunkname", "src_trunk_name"),
    ("", "dst_trunk_name"),  # as its profile spells it
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

    def glance(self, body: bytes) -> Glance:
        """Tell what a body seems to be, whatever the bytes; see `Glance`."""
        envelope = decoded(body)
        if not isinstance(envelope, dict):
            is_like_json = body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
            return Glance("unreadable" if is_like_json else "rubbish", "", "unknown", key_of_bytes(body))
        sn = text_or_empty(envelope.get("sn"))
        kind, label = _kind_of(envelope)
        key = key_of(sn, _members(envelope)) if kind == "details" else key_of_bytes(body)
        return Glance(kind, sn, label, key)

    def read(self, body: bytes) -> list[CallDetails]:
        """The call details that a body says. Raises `Unreadable` with the reason."""
        envelope = decoded(body)
        if not isinstance(envelope, dict):
            raise unreadable("it is no JSON object")
        kind, label = _kind_of(envelope)
        if kind != "details":
            raise unreadable(f"it is a {label}, not a {EVENT}")
        return [details_of(_members(envelope))]

    def write(self, details: CallDetails, sn: str, profile: str) -> bytes:
        """The `NewCdr` that says these details, as a PBX of that generation writes it: all values are text.

        Raises `UsageError` for an unknown profile.
        """
        shape = PROFILES.get(profile)
        if shape is None:
            raise UsageError(f"there is no profile {profile!r}", todo=f"use one of {', '.join(PROFILES)}")
        members: dict[str, Any] = {shape.discriminator: EVENT}
        for older, ours in _WRITTEN:
            name, value = older or shape.dst_trunk_name, getattr(details, ours)
            if value is not None and name not in shape.left_out:
                members[name] = str(value)
        return msgspec.json.encode(members | ({"sn": sn} if shape.has_sn else {}) | details.extra)


def _kind_of(envelope: Mapping[str, Any]) -> tuple[Kind, str]:
    """What an object seems to be, and its label for the counts."""
    said = next((envelope[name] for name in _DISCRIMINATORS if isinstance(envelope.get(name), str)), None)
    if said is None:
        return ("details", EVENT) if "callid" in envelope else ("unreadable", "unknown")
    if said.strip().lower() == EVENT.lower():
        return "details", EVENT
    if said == "test":
        return "test", "test"
    return "other", said[:LABEL_CHARACTERS_MAX] if _LABEL.fullmatch(said) else "unknown"


def _members(envelope: Mapping[str, Any]) -> Mapping[str, Any]:
    """Under our names. Of two spellings of one member, the one that says something counts."""
    members: dict[str, Any] = {}
    for name, value in envelope.items():
        if name in ("sn", *_DISCRIMINATORS):
            continue
        ours = NAMES.get(name.lower(), name)
        if members.get(ours) in (None, ""):
            members[ours] = value
    return members
