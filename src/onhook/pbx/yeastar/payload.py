"""Event 30012 of the P-Series: parse bytes into call details, format call details as bytes (yeastar-p-series.md 1 to
3).

Invariant: every form ever observed from a PBX is parsed, and the vendor's printed example too.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from onhook.cdr.call_details import DETAIL_FIELDS, CallDetails
from onhook.cdr.record import NAME_COLUMNS, NamedRecord
from onhook.lib.errors import ParseError, UsageError
from onhook.lib.messages import _
from onhook.pbx.dialect import Envelope, EnvelopeKind
from onhook.pbx.envelopes import (
    VALUES_PEEKED_MAX,
    BodyEvents,
    check_single_pbx,
    describe_undecoded,
    find_events,
    is_compressed,
    peek_calls,
    read_calls,
    unpack,
)
from onhook.pbx.json_fields import (
    build_details,
    compute_body_key,
    compute_key,
    decode_json,
    normalize_case,
    parse_error,
    text_or_empty,
)
from onhook.pbx.yeastar.envelopes import get_event_type, is_event, iter_call_members
from onhook.pbx.yeastar.fast_path import parse_fast
from onhook.pbx.yeastar.rows import ROW_LABEL, ROW_PREFIX, infer_time_start, key_members, parse_row

EVENT_TYPE = 30012
_SN = re.compile(rb'"sn"\s*:\s*"([!-~]{1,64}?)"')
_PRINTED_EXAMPLE_START = re.compile(r'"msg"\s*:\s*"\s*\{')
_EVENT_TYPE = re.compile(r"\s*[0-9]{1,9}\s*")


class YeastarFormatSpec(msgspec.Struct, frozen=True):
    """How one generation writes the event (yeastar-p-series.md 3.2). `omitted_members` are members it does not have. A
    flat event has the 18 fields alone, beside `sn` and `event_type`, and the names of a `NamedRecord`.
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
        if body.startswith(ROW_PREFIX) and isinstance(row := decode_json(body), dict):
            sn = text_or_empty(row.get("sn"))
            return Envelope("details", sn, ROW_LABEL, compute_key(sn, key_members(row), body))
        return peek_calls(_find_events(body, VALUES_PEEKED_MAX), _classify, _iter_members, body) or _peek_text(body)

    def parse(self, body: bytes) -> list[CallDetails]:
        """Return the call details in a body; see `Dialect`. Raises `ParseError` with the reason."""
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
            if isinstance(details, NamedRecord):
                fields |= {name: getattr(details, name) for name in NAME_COLUMNS}
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
    """Return the call details in an unpacked body of any known form. Raises `ParseError` with the reason."""
    envelopes = _find_events(body).events
    check_single_pbx(envelopes)
    members = list(_iter_members(envelopes))
    if not any(members) and any(
        envelope and OLD_EVENT in (envelope.get("event"), envelope.get("action")) for envelope in envelopes
    ):
        raise ParseError(
            _("this is NewCdr, the event of an S-Series, K2 or Cloud PBX, which has another dialect"),
            hint=_("remove the PBX, and add it with `onhook pbx add NAME --dialect newcdr`"),
        )
    if not envelopes:
        reason = _("the body is neither JSON nor the event as printed in the vendor's manual")
        raise parse_error(describe_undecoded(body, reason))
    reason = _("`msg` is not a readable JSON object, and the body has no `call_id`")
    return read_calls(members, _build_details, reason)


def _find_events(body: bytes, values_max: int | None = None) -> BodyEvents:
    return find_events(body, is_event, values_max=values_max, decode_other=_decode_printed_example)


def _build_details(members: Mapping[str, Any]) -> CallDetails:
    members = normalize_case(members)
    return build_details({**members, "time_start": infer_time_start(members)} if "time_start" in members else members)


def _iter_members(envelopes: Iterable[Mapping[str, Any] | None]) -> Iterator[Mapping[str, Any] | None]:
    """Yield the members of each call, and None for each part that cannot be decoded; other events are left out."""
    for envelope in envelopes:
        if envelope is None:
            yield None
        elif _classify(envelope)[0] in ("details", "unparsable"):
            yield from iter_call_members(envelope)


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


def _decode_printed_example(body: bytes) -> Mapping[str, Any] | None:
    """Decode the vendor's printed example, in which the details stand unescaped between quotes; None if it is none."""
    text = body.decode("utf-8", "replace")
    start = _PRINTED_EXAMPLE_START.search(text)
    # Stripped from the end: a forward search takes quadratic time on hostile input.
    details = _strip_suffix(_strip_suffix(text, "}"), '"')
    msg = decode_json(details[start.end() - 1 :].encode()) if start else None
    return {"sn": _search_sn(body), "msg": msg} if isinstance(msg, dict) else None


def _search_sn(body: bytes) -> str:
    match = _SN.search(body)
    return match[1].decode() if match else ""


def _strip_suffix(text: str, suffix: str) -> str:
    """Remove the mark at the end, and the blanks around it."""
    return text.rstrip().removesuffix(suffix).rstrip()


def _peek_text(body: bytes) -> Envelope:
    """Classify a body without an event: broken JSON, or other data."""
    is_like_json = is_compressed(body) or body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
    return Envelope("unparsable" if is_like_json else "not_json", _search_sn(body), "unknown", compute_body_key(body))


def _format_members(details: CallDetails, spec: YeastarFormatSpec) -> dict[str, Any]:
    """Return the members of `msg` in the order observed from PBXs."""
    extra = {name: value for name, value in details.extra.items() if name not in spec.omitted_members}
    members: dict[str, Any] = {}
    for name in DETAIL_FIELDS:
        value = extra.pop(name, getattr(details, name))
        if name not in spec.omitted_members and value is not None:
            members[name] = spec.blank if value == "" and name in _PRINTED_AS_BLANK else value
    return members | dict(spec.added_members) | extra
