"""From a body to the events in it: senders between the PBX and Onhook wrap, join and encode them in several ways
(yeastar-p-series.md 3).

Invariants: a body with one event as the PBX sends it is returned as it is. The number of events and the size of what
is unpacked are bounded.
"""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from onhook.pbx.json_fields import decode_json

EVENTS_MAX = 1_000
"""Events in one body; the largest body has some 400."""

UNPACKED_BYTES_MAX = 1024 * 1024
"""Of a compressed body: four times the largest plain one."""

FORM_FIELDS_MAX = 100
MSG_LAYERS_MAX = 3
"""Of JSON text inside JSON text: one belongs to the event, and each program in between may add one."""

GZIP_MAGIC = b"\x1f\x8b"
_WRAPPERS = ("body", "payload", "json", "data")
"""Members in which programs such as n8n forward a request's body."""

_BYTE_ORDER_MARK = "\ufeff"


def unpack(body: bytes) -> bytes:
    """Return a body without its gzip compression; unchanged where it has none, or where it is damaged or too large."""
    if not body.startswith(GZIP_MAGIC):
        return body
    decompressor = zlib.decompressobj(wbits=31)
    try:
        unpacked = decompressor.decompress(body, UNPACKED_BYTES_MAX)
    except zlib.error:
        return body
    return unpacked if decompressor.eof else body


def decode_envelopes(body: bytes) -> list[Mapping[str, Any]]:
    """Return the events of a body: of an object, an array, several lines, or a form. Empty if it has none of these."""
    data = decode_json(body)
    if isinstance(data, dict):
        return [_unwrap(data)]
    values = data if isinstance(data, list) else _decode_values(body) or _decode_form(body)
    return [_unwrap(value) for value in values[:EVENTS_MAX] if isinstance(value, dict)]


def _unwrap(envelope: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the event that a program has wrapped; unchanged where it is none of its wrappers."""
    if "msg" in envelope or "call_id" in envelope:
        return envelope
    values = (envelope.get(name) for name in _WRAPPERS)
    decoded = (decode_json(_encode(value)) if isinstance(value, str) else value for value in values)
    is_event = (value for value in decoded if isinstance(value, dict) and value.keys() & {"msg", "call_id", "type"})
    return next(is_event, envelope)


def _decode_values(body: bytes) -> list[Any]:
    """Return the JSON objects that stand one after the other, as on lines; none if anything else stands there."""
    text = body.decode("utf-8", "replace").lstrip(_BYTE_ORDER_MARK)
    decoder = json.JSONDecoder(strict=False, parse_float=str, parse_constant=str)
    values: list[Any] = []
    position = _skip_separators(text, 0)
    if not text.startswith("{", position):
        return []
    while position < len(text) and len(values) < EVENTS_MAX:
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            return []
        values.append(value)
        position = _skip_separators(text, position)
    return values


def _skip_separators(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n,":
        position += 1
    return position


def _decode_form(body: bytes) -> list[Any]:
    """Return the event of a form: its fields, or one field with the event as JSON text."""
    if b"=" not in body[:4_096] or body.lstrip()[:1] in (b"{", b"[", b"<"):
        return []
    try:
        fields = dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX))
    except ValueError:
        return []
    if "call_id" in fields or "msg" in fields:
        return [fields]
    for value in fields.values():
        data = decode_json(_encode(value))
        if isinstance(data, dict | list):
            return data if isinstance(data, list) else [data]
    return []


def member_lists(envelope: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the members of each call in an event: `msg` as text, as an object or as an array of these, or the flat
    event itself; none if it has no call.
    """
    msg = envelope.get("msg")
    if msg is None and "call_id" in envelope:
        return [{name: value for name, value in envelope.items() if name not in {"sn", _type_name(envelope)}}]
    return list(_decode_layers(msg, MSG_LAYERS_MAX))


def _decode_layers(msg: Any, layers: int) -> Iterator[Mapping[str, Any]]:
    if isinstance(msg, str) and layers:
        yield from _decode_layers(decode_json(_encode(msg.strip())), layers - 1)
    elif isinstance(msg, dict):
        yield msg
    elif isinstance(msg, list) and layers:
        for item in msg[:EVENTS_MAX]:
            yield from _decode_layers(item, layers - 1)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def get_event_type(envelope: Mapping[str, Any]) -> Any:
    """Return the event's number as it was sent; None without one."""
    return envelope.get("event_type", envelope.get("type"))


def _type_name(envelope: Mapping[str, Any]) -> str:
    """Return which member of a flat body is the event's number: `event_type`, else `type` where that is not the call's
    direction; an empty text for none.
    """
    if "event_type" in envelope:
        return "event_type"
    return "type" if str(envelope.get("type")).strip() == EVENT_TYPE_TEXT else ""


EVENT_TYPE_TEXT = "30012"
