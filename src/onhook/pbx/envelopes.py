"""From a body to the events in it: programs between a PBX and Onhook wrap, join and encode events in several ways. Of
its own, because every dialect of JSON has the same need (yeastar-p-series.md 3 and 9).

Invariants: a body with one event as the PBX sends it is returned as it is. A part that cannot be decoded is reported,
never left out. Depth and unpacked size are bounded.
"""

import codecs
import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.lib.errors import ParseError
from onhook.lib.messages import _
from onhook.pbx.dialect import Envelope, EnvelopeKind, PartlyParsedCalls
from onhook.pbx.json_fields import (
    compute_body_key,
    compute_key,
    compute_stamped_body_key,
    decode_json,
    parse_error,
    text_or_empty,
)

EVENTS_MAX = 15_000
"""Calls in one body. One takes at least 70 bytes, so that no body within the limits of its size has more."""

VALUES_PEEKED_MAX = 10_000
"""Values that are looked at before the sender is verified: some ten milliseconds."""

UNPACKED_BYTES_MAX = 1024 * 1024
"""Of a compressed body: four times the largest plain one."""

FORM_FIELDS_MAX = 100
WRAPPER_LEVELS_MAX = 8
"""Objects, lists and JSON texts around an event: each program in between adds one or two."""

COMPRESSED_PARTS_MAX = 16
"""Parts of a compressed body, as from programs that compress what they join; each copies what follows it."""

GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WBITS = 31
_ZLIB_WBITS = 15
_BYTE_ORDER_MARK = "\ufeff"
_BLANKS = " \t\r\n" + _BYTE_ORDER_MARK
_BRACKETS = (b"[", b"]", b"")

Event = Mapping[str, Any]
DecodeOther = Callable[[bytes], Event | None]
IsEvent = Callable[[Event], bool]
"""Returns whether an object is an event of the dialect, and not what a program has put around one."""

Members = Mapping[str, Any]
IterMembers = Callable[[Iterable[Event | None]], Iterator[Members | None]]
"""Yields the members of each call in these events, and None for each part that cannot be decoded."""


def unpack(body: bytes) -> bytes:
    """Return a body without its compression (gzip or zlib), in UTF-8 where it is UTF-16 or UTF-32; unchanged where it
    is neither, or where it is damaged or too large.
    """
    body = _decompress(body) if is_compressed(body) else body
    encoding = json.detect_encoding(body)
    return body if encoding.startswith("utf-8") else body.decode(encoding, "replace").encode()


def is_compressed(body: bytes) -> bool:
    """Return whether a body begins as gzip (RFC 1952) or zlib (RFC 1950)."""
    is_zlib = len(body) > 2 and body[0] == 0x78 and int.from_bytes(body[:2]) % 31 == 0
    return is_zlib or body.startswith(GZIP_MAGIC)


def _decompress(body: bytes) -> bytes:
    wbits = _GZIP_WBITS if body.startswith(GZIP_MAGIC) else _ZLIB_WBITS
    rest, unpacked = body, b""
    for _part in range(COMPRESSED_PARTS_MAX):
        decompressor = zlib.decompressobj(wbits=wbits)
        try:
            unpacked += decompressor.decompress(rest, UNPACKED_BYTES_MAX + 1 - len(unpacked))
        except zlib.error:
            return body
        if not decompressor.eof or len(unpacked) > UNPACKED_BYTES_MAX:
            return body
        rest = decompressor.unused_data
        if not rest:
            return unpacked
    return body


class BodyEvents(msgspec.Struct, frozen=True):
    """The events of a body, in order. None stands for a part that is none. `is_complete` is false where the body has
    more of them than were looked at.
    """

    events: Sequence[Event | None]
    is_complete: bool = True


def find_events(
    body: bytes, is_event: IsEvent, *, values_max: int | None = None, decode_other: DecodeOther = lambda body: None
) -> BodyEvents:
    """Return the events of an unpacked body: of an object, an array, several objects or lines, or a form, each without
    what programs have put around it. An object that contains no event is returned as it is. `decode_other` decodes a
    body of another form. No more than `values_max` values are looked at.
    """
    data = decode_json(body)
    if isinstance(data, dict) and is_event(data):  # nearly every body: the search takes as long as decoding it
        return BodyEvents([data])
    finder = _Finder(is_event, math.inf if values_max is None else values_max)
    for forms in (finder.iter_json(data, body), finder.iter_form(body)):
        if events := list(forms):
            return BodyEvents(events, finder.is_complete)
    if other := decode_other(body):
        return BodyEvents([other])
    events = list(finder.iter_lines(body))
    return BodyEvents(events if any(events) else [], finder.is_complete)


class _Finder:
    """A search for events in decoded values, which ends after a number of them."""

    def __init__(self, is_event: IsEvent, values_max: float) -> None:
        self._is_event = is_event
        self._values_left = values_max

    @property
    def is_complete(self) -> bool:
        return self._values_left > 0

    def iter_json(self, data: Any, body: bytes) -> Iterator[Event | None]:
        """Yield the events of an object, an array, or objects one after the other; nothing for another body. `data` is
        what the whole body decodes to.
        """
        values = data if isinstance(data, list) else [data]
        if not isinstance(data, dict | list | str):
            values = _decode_sequence(body, self._values_left)
        for value in values:
            if not self.is_complete:
                return
            events = self._iter_value(value)
            first = next(events, None)
            if first is not None:
                yield first
                yield from events
            elif isinstance(value, dict):
                yield value
            elif isinstance(data, list):
                yield None

    def iter_form(self, body: bytes) -> Iterator[Event]:
        """Yield the events of a form: its fields, or JSON texts in them."""
        return self._iter_value(_decode_form(body))

    def iter_lines(self, body: bytes) -> Iterator[Event | None]:
        """Yield the events on lines, and None for each line without one."""
        for line in body.removeprefix(codecs.BOM_UTF8).splitlines():
            if not self.is_complete:
                return
            text = line.strip().rstrip(b",")
            if text not in _BRACKETS:
                yield from list(self._iter_value(text.decode("utf-8", "replace"))) or (None,)

    def _iter_value(self, value: Any, sn: str = "", levels: int = WRAPPER_LEVELS_MAX) -> Iterator[Event]:
        """Yield the events in a value, each with the serial number of what is around it if it has none itself."""
        self._values_left -= 1
        if not self.is_complete:
            return
        if isinstance(value, dict) and self._is_event(value):
            yield {**value, "sn": sn} if sn and "sn" not in value else value
        elif isinstance(value, dict | list) and levels:
            sn = (text_or_empty(value.get("sn")) if isinstance(value, dict) else "") or sn
            for member in value.values() if isinstance(value, dict) else value:
                yield from self._iter_value(member, sn, levels - 1)
        elif isinstance(value, str) and levels and value.lstrip(_BLANKS)[:1] in ("{", "["):
            body = value.encode("utf-8", "surrogatepass")
            data = decode_json(body)
            data = _decode_sequence(body, self._values_left) if data is None else data
            yield from self._iter_value(data, sn, levels - 1)


def _decode_sequence(body: bytes, values_max: float) -> list[Any]:
    """Return the JSON objects that stand one after the other, as on lines, at most `values_max`; none if anything else
    stands there.
    """
    text = body.decode("utf-8", "replace").lstrip(_BYTE_ORDER_MARK)
    decoder = json.JSONDecoder(strict=False, parse_float=str, parse_constant=str)
    values: list[Any] = []
    position = _skip_separators(text, 0)
    if not text.startswith("{", position):
        return []
    while position < len(text) and len(values) < values_max:
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
    """Return the fields of a form as one object, and the names without a value: one may be the event as JSON text."""
    if b"=" not in body or body.lstrip()[:1] in (b"{", b"[", b"<"):
        return []
    try:
        fields = dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX))
    except ValueError:
        return []
    return [fields, *(name for name, value in fields.items() if not value)]


def read_calls(
    members_of_calls: Iterable[Members | None], build: Callable[[Members], CallDetails], undecoded_reason: str
) -> list[CallDetails]:
    """Return the call details by the members of each call; None stands for a part that could not be decoded. Returns
    `PartlyParsedCalls` where only some are readable; raises the first `ParseError` where none is.
    """
    details: list[CallDetails] = []
    first_error: ParseError | None = None
    unread_count = 0
    for members in members_of_calls:
        try:
            if len(details) == EVENTS_MAX:
                raise parse_error(_("the body has more than {limit} calls", limit=EVENTS_MAX))
            if members is None:
                raise parse_error(undecoded_reason)
            details.append(build(members))
        except ParseError as error:
            unread_count += 1
            first_error = first_error or error
    if not details:
        raise first_error or parse_error(undecoded_reason)
    if first_error is None:
        return details
    reason = _(
        "{count} of {total} events in the body could not be parsed, the others are calls; the first: {reason}",
        count=unread_count,
        total=unread_count + len(details),
        reason=first_error.message,
    )
    return PartlyParsedCalls(details, reason)


def describe_undecoded(body: bytes, other_reason: str) -> str:
    """Return why an unpacked body has no event: it is damaged or too large, else the sentence of the dialect."""
    if is_compressed(body):
        return _("the compressed body is damaged, or larger than {limit} bytes", limit=UNPACKED_BYTES_MAX)
    return other_reason


def check_single_pbx(events: Iterable[Event | None]) -> None:
    """Raise `ParseError` for events of several PBXs: one of them alone has signed the body."""
    if len({sn for event in events if event and (sn := text_or_empty(event.get("sn")))}) > 1:
        raise parse_error(_("the body has events of several PBXs"))


def peek_calls(
    body_events: BodyEvents,
    classify: Callable[[Event], tuple[EnvelopeKind, str]],
    iter_members: IterMembers,
    body: bytes,
) -> Envelope | None:
    """Classify a body by its events; None if it has none. The key of one call is the same as if it had come alone."""
    classes = [classify(event) for event in body_events.events if event]
    if not classes:
        return None
    sn = next((sn for event in body_events.events if event and (sn := text_or_empty(event.get("sn")))), "")
    kind, label = next((kind_and_label for kind_and_label in classes if kind_and_label[0] == "details"), classes[0])
    if kind != "details":
        return Envelope(kind, sn, label, compute_body_key(body))
    members = list(islice(filter(None, iter_members(body_events.events)), VALUES_PEEKED_MAX))
    if not members:
        return Envelope("unparsable", sn, label, compute_body_key(body))
    if not body_events.is_complete or len(members) == VALUES_PEEKED_MAX:
        key = compute_stamped_body_key(members[0], body)
    elif len(members) == 1:
        key = compute_key(sn, members[0], body)
    else:
        key = compute_key(sn, {"call_id": members[0].get("call_id", ""), "events": members}, body)
    return Envelope("details", sn, label, key)
