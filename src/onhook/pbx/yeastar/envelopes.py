"""What an event of the P-Series contains: its calls, and its number (yeastar-p-series.md 3). Around it may be what
`pbx.envelopes` removes.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from onhook.pbx.json_fields import decode_json

MSG_LAYERS_MAX = 3
"""Of JSON text inside JSON text: one belongs to the event, and each program in between may add one."""

_EVENT_MEMBERS = frozenset({"msg", "call_id", "callid"})


def is_event(value: Mapping[str, Any]) -> bool:
    """Return whether an object is an event, perhaps one of the older generations, and not what is around one."""
    return not _EVENT_MEMBERS.isdisjoint(value)


def iter_call_members(envelope: Mapping[str, Any]) -> Iterator[Mapping[str, Any] | None]:
    """Yield the members of each call in an event: `msg` as text, as an object or as an array of these, or the flat
    event itself; None for a part of `msg` that is none of these.
    """
    msg = envelope.get("msg")
    if msg is None and "call_id" in envelope:
        yield {name: value for name, value in envelope.items() if name not in {"sn", _type_name(envelope)}}
    else:
        yield from _decode_layers(msg, MSG_LAYERS_MAX)


def _decode_layers(msg: Any, layers: int) -> Iterator[Mapping[str, Any] | None]:
    if isinstance(msg, str) and layers:
        yield from _decode_layers(decode_json(msg.strip().encode("utf-8", "surrogatepass")), layers - 1)
    elif isinstance(msg, list) and layers:
        for item in msg:
            yield from _decode_layers(item, layers - 1)
    else:
        yield msg if isinstance(msg, dict) else None


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
