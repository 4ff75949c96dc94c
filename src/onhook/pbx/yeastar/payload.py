"""Event 30012 of the P-Series: parse bytes into call details, format call details as bytes (yeastar-p-series.md 1 to
3).

Invariant: every form ever observed from a PBX is parsed, and the vendor's printed example too.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from onhook.cdr.call_details import DETAIL_FIELDS, CallDetails
from onhook.lib.errors import ParseError, UsageError
from onhook.lib.messages import _
from onhook.pbx.dialect import Envelope, EnvelopeKind
from onhook.pbx.json_fields import (
    build_details,
    compute_body_key,
    compute_key,
    decode_json,
    normalize_case,
    parse_error,
    text_or_empty,
)
from onhook.pbx.yeastar.envelopes import GZIP_MAGIC, decode_envelopes, get_event_type, member_lists, unpack
from onhook.pbx.yeastar.fast_path import parse_fast
from onhook.pbx.yeastar.rows import ROW_LABEL, ROW_PREFIX, infer_time_start, key_members, parse_row

EVENT_TYPE = 30012
_SN = re.compile(rb'"sn"\s*:\s*"([!-~]{1,64}?)"')
_PRINTED_EXAMPLE_START = re.compile(r'"msg"\s*:\s*"\s*\{')
_EVENT_TYPE = re.compile(r"\s*[0-9]{1,9}\s*")


class YeastarFormatSpec(msgspec.Struct, frozen=True):
    """How one generation writes the event (yeastar-p-series.md 3.2). `omitted_members` are members it does not have. A
    flat event has the 18 fields alone, beside `sn` and `event_type`.
    """

    omitted_members: frozenset[str] = frozenset()
    added_members: Mapping[str, Any] = {}
    blank: str = ""
    sn_first: bool = False
    msg_is_object: bool = False
    is_flat: bool = False


_NEWEST_MEMBERS = {"is_display": 1, "realclidnum": ""}
PAYLOAD_FORMATS: Mapping[str, YeastarFormatSpec] = {
    "p-2023": YeastarFormatSpec(
        omitted_members=frozenset({"did_name", "uid", "call_note_id", "enb_call_note", *_NEWEST_MEMBERS})
    ),
    "p-2025": YeastarFormatSpec(omitted_members=frozenset({"did_name", *_NEWEST_MEMBERS})),
    "p-2026": YeastarFormatSpec(added_members=_NEWEST_MEMBERS, sn_first=True),
    "doc": YeastarFormatSpec(omitted_members=frozenset(_NEWEST_MEMBERS), blank=" "),
    "object": YeastarFormatSpec(msg_is_object=True),
    "flat": YeastarFormatSpec(is_flat=True),
}

# The four that the vendor's example prints as one blank (yeastar-p-series.md 2.9).
_PRINTED_AS_BLANK = frozenset({"src_trunk_name", "dst_trunk_name", "pin_code", "did_number"})


class Yeastar:
    """The dialect of the P-Series."""

    name = "yeastar"

    def peek(self, body: bytes) -> Envelope:
        """Classify a body, whatever the bytes; see `Envelope`."""
        body = unpack(body)
        envelopes = decode_envelopes(body)
        if not envelopes:
            return _peek_text(body)
        sn = next((sn for envelope in envelopes if (sn := text_or_empty(envelope.get("sn")))), "")
        if body.startswith(ROW_PREFIX):
            return Envelope("details", sn, ROW_LABEL, compute_key(sn, key_members(envelopes[0]), body))
        classes = [_classify(envelope) for envelope in envelopes]
        kind, label = next((kind_and_label for kind_and_label in classes if kind_and_label[0] == "details"), classes[0])
        if kind != "details":
            return Envelope(kind, sn, label, compute_body_key(body))
        members = list(_details_members(envelopes))
        if not members:
            return Envelope("unparsable", sn, label, compute_body_key(body))
        return Envelope("details", sn, label, _compute_key(sn, members, body))

    def parse(self, body: bytes) -> list[CallDetails]:
        """Return the call details in a body. Raises `ParseError` with the reason."""
        if body.startswith(ROW_PREFIX):
            return _parse_row_body(body)
        details = parse_fast(body)
        return [details] if details else parse_details(unpack(body))

    def format(self, details: CallDetails, sn: str, payload_format: str) -> bytes:
        """Return the event with these details as a PBX of that generation writes it; unknown numbers are left out.

        Raises `UsageError` for an unknown payload format.
        """
        spec = PAYLOAD_FORMATS.get(payload_format)
        if spec is None:
            raise UsageError(
                _("unknown payload format {name!r}", name=payload_format),
                hint=_("use one of {choices}", choices=", ".join(PAYLOAD_FORMATS)),
            )
        members = _format_members(details, spec)
        if spec.is_flat:
            fields = {name: members[name] for name in DETAIL_FIELDS if name in members}
            return msgspec.json.encode({"sn": sn, "event_type": EVENT_TYPE, **fields})
        envelope: dict[str, Any] = {"sn": sn, "type": EVENT_TYPE} if spec.sn_first else {"type": EVENT_TYPE, "sn": sn}
        envelope["msg"] = members if spec.msg_is_object else msgspec.json.encode(members).decode()
        return msgspec.json.encode(envelope)


def _parse_row_body(body: bytes) -> list[CallDetails]:
    envelope = decode_json(body)
    if not isinstance(envelope, dict):
        raise parse_error(_("the row is not valid JSON"))
    return parse_row(envelope)


OLD_EVENT = "NewCdr"
"""Name of the event of the older generations (yeastar-p-series.md 9), for its reason in the quarantine."""


def parse_details(body: bytes) -> list[CallDetails]:
    """Return the call details in a body of any known form. Raises `ParseError` with the reason."""
    envelopes = decode_envelopes(body) or [_decode_printed_example(body)]
    if len({sn for envelope in envelopes if (sn := text_or_empty(envelope.get("sn")))}) > 1:
        raise parse_error(_("the body has events of several PBXs"))
    all_members = list(_details_members(envelopes))
    if not all_members and any(OLD_EVENT in (envelope.get("event"), envelope.get("action")) for envelope in envelopes):
        raise ParseError(
            _("this is NewCdr, the event of an S-Series, K2 or Cloud PBX, which has another dialect"),
            hint=_("remove the PBX, and add it with `onhook pbx add NAME --dialect newcdr`"),
        )
    if not all_members:
        raise parse_error(_("`msg` is not a readable JSON object, and the body has no `call_id`"))
    return [_build_details(members) for members in all_members]


def _build_details(members: Mapping[str, Any]) -> CallDetails:
    members = normalize_case(members)
    return build_details({**members, "time_start": infer_time_start(members)} if "time_start" in members else members)


def _details_members(envelopes: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the members of each call; other events among them are left out."""
    for envelope in envelopes:
        if _classify(envelope)[0] in ("details", "unparsable"):
            yield from member_lists(envelope)


def _compute_key(sn: str, members: Sequence[Mapping[str, Any]], body: bytes) -> bytes:
    """Return the key of the calls of a body; of one call the same as if it had come alone."""
    if len(members) == 1:
        return compute_key(sn, members[0], body)
    return compute_key(sn, {"call_id": members[0].get("call_id", ""), "events": members}, body)


def _classify(envelope: Mapping[str, Any]) -> tuple[EnvelopeKind, str]:
    """Return the kind of an envelope, and its label for the counts."""
    event_type = get_event_type(envelope)
    if isinstance(event_type, str) and _EVENT_TYPE.fullmatch(event_type):
        event_type = int(event_type)
    if isinstance(event_type, int) and not isinstance(event_type, bool):
        return ("details", str(EVENT_TYPE)) if event_type == EVENT_TYPE else ("other_event", str(event_type)[:20])
    if "call_id" in envelope or "msg" in envelope:
        return "details", str(EVENT_TYPE)
    return ("test_message", "test") if envelope.get("event") == "test" else ("unparsable", "unknown")


def _decode_printed_example(body: bytes) -> Mapping[str, Any]:
    """Decode the vendor's printed example, in which the details stand unescaped between quotes. Raises `ParseError`."""
    text = body.decode("utf-8", "replace")
    start = _PRINTED_EXAMPLE_START.search(text)
    # Stripped from the end: a forward search takes quadratic time on hostile input.
    details = _strip_suffix(_strip_suffix(text, "}"), '"')
    msg = decode_json(details[start.end() - 1 :].encode()) if start else None
    if not isinstance(msg, dict):
        raise parse_error(_("the body is neither JSON nor the event as printed in the vendor's manual"))
    return {"msg": msg}


def _strip_suffix(text: str, suffix: str) -> str:
    """Remove the mark at the end, and the blanks around it."""
    return text.rstrip().removesuffix(suffix).rstrip()


def _peek_text(body: bytes) -> Envelope:
    """Classify a body that is not a JSON object: a call as printed in the manual, broken JSON, or other data."""
    match = _SN.search(body)
    sn = match[1].decode() if match else ""
    try:
        members = member_lists(_decode_printed_example(body))
    except ParseError:
        members = ()
    if members:
        return Envelope("details", sn, str(EVENT_TYPE), _compute_key(sn, members, body))
    is_compressed = body.startswith(GZIP_MAGIC)
    is_like_json = is_compressed or body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
    return Envelope("unparsable" if is_like_json else "not_json", sn, "unknown", compute_body_key(body))


def _format_members(details: CallDetails, spec: YeastarFormatSpec) -> dict[str, Any]:
    """Return the members of `msg` in the order observed from PBXs."""
    extra = {name: value for name, value in details.extra.items() if name not in spec.omitted_members}
    members: dict[str, Any] = {}
    for name in DETAIL_FIELDS:
        value = extra.pop(name, getattr(details, name))
        if name not in spec.omitted_members and value is not None:
            members[name] = spec.blank if value == "" and name in _PRINTED_AS_BLANK else value
    return members | dict(spec.added_members) | extra
