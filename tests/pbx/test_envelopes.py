"""Bodies that programs between a PBX and Onhook have joined, wrapped or encoded, in both dialects of JSON: no event in
them is lost.
"""

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from onhook.lib.errors import ParseError
from onhook.pbx.dialect import Dialect, PartlyParsedCalls
from onhook.pbx.envelopes import EVENTS_MAX, UNPACKED_BYTES_MAX, VALUES_PEEKED_MAX, find_events, unpack
from onhook.pbx.newcdr.payload import NewCdr
from onhook.pbx.text_encoding import recode_body
from onhook.pbx.yeastar.payload import Yeastar

SN = "3631A2124ABC"
Event = dict[str, Any]


def yeastar_event(call_id: str = "1795834800.20", **changes: Any) -> Event:
    members = {
        "call_id": call_id,
        "time_start": "2026-11-28 04:00:00",
        "call_from": "1001",
        "call_to": "1002",
        "call_duration": 60,
    }
    return {"type": 30012, "sn": SN, "msg": json.dumps(members | changes)}


def flat_event(call_id: str = "1795834800.20", **changes: Any) -> Event:
    event = yeastar_event(call_id, **changes)
    return {"sn": SN, "event_type": 30012, **json.loads(event["msg"])}


def newcdr_event(call_id: str = "1795834800.20", **changes: Any) -> Event:
    members = {
        "event": "NewCdr",
        "sn": SN,
        "callid": call_id,
        "timestart": "2026-11-28 04:00:00",
        "callfrom": "1001",
        "callto": "1002",
        "callduration": "60",
    }
    return members | {name.replace("_", ""): value for name, value in changes.items()}


CreateEvent = Callable[..., Event]
DIALECTS: list[tuple[Dialect, CreateEvent]] = [
    (Yeastar(), yeastar_event),
    (Yeastar(), flat_event),
    (NewCdr(), newcdr_event),
]


def encode(value: Any) -> bytes:
    return json.dumps(value).encode()


FORMS: dict[str, Callable[[Event], bytes]] = {
    "in an array": lambda event: encode([event]),
    "in an array of arrays": lambda event: encode([[event]]),
    "in an object": lambda event: encode({"headers": {"a": "b"}, "params": {}, "body": event}),
    "in a list in an object": lambda event: encode({"headers": {}, "body": [event]}),
    "in two objects": lambda event: encode({"data": {"body": event}}),
    "in an object of any name": lambda event: encode({"events": [event]}),
    "as text": lambda event: encode({"payload": json.dumps(event)}),
    "as text of lines": lambda event: encode({"payload": json.dumps(event) + "\n\n" + json.dumps(event)}),
    "as text in text": lambda event: encode({"payload": json.dumps({"body": json.dumps([event])})}),
    "as one text": lambda event: encode(json.dumps(event)),
    "in a form": lambda event: b"a=1&payload=" + quote(json.dumps(event)).encode(),
    "as the name in a form": lambda event: quote(json.dumps(event)).encode() + b"=",
    "as a form": lambda event: urlencode(event).encode(),
    "on a line": lambda event: encode(event) + b"\r\n",
    "UTF-16": lambda event: json.dumps(event).encode("utf-16"),
    "UTF-16 without a mark": lambda event: json.dumps(event).encode("utf-16-be"),
    "UTF-32": lambda event: json.dumps(event).encode("utf-32"),
    "gzip": lambda event: gzip.compress(encode(event)),
    "gzip in parts": lambda event: gzip.compress(encode(event)[:20]) + gzip.compress(encode(event)[20:]),
    "gzip and UTF-16": lambda event: gzip.compress(json.dumps([event]).encode("utf-16")),
    "zlib": lambda event: zlib.compress(encode(event)),
}


@pytest.mark.parametrize("wrap", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(("dialect", "create_event"), DIALECTS)
def test_event_in_other_form_is_the_same_call(
    dialect: Dialect, create_event: CreateEvent, wrap: Callable[[Event], bytes]
) -> None:
    event = create_event()
    body = wrap(event)
    (expected,) = dialect.parse(encode(event))
    assert {details.call_id for details in dialect.parse(body)} == {"1795834800.20"}
    assert dialect.parse(body)[0].call_to == expected.call_to
    envelope = dialect.peek(body)
    assert (envelope.kind, envelope.sn) == ("details", SN)
    if len(dialect.parse(body)) == 1 and wrap is not FORMS["as a form"]:
        assert envelope.key == dialect.peek(encode(event)).key


@pytest.mark.parametrize(("dialect", "create_event"), DIALECTS)
def test_serial_number_beside_the_events_counts_for_all(dialect: Dialect, create_event: CreateEvent) -> None:
    events = [{name: value for name, value in create_event(f"17958348{n}.1").items() if name != "sn"} for n in (10, 11)]
    body = encode({"sn": SN, "events": events})
    assert (dialect.peek(body).sn, len(dialect.parse(body))) == (SN, 2)


@pytest.mark.parametrize(("dialect", "create_event"), DIALECTS)
def test_call_id_as_a_number_keeps_its_zeros_at_any_depth(dialect: Dialect, create_event: CreateEvent) -> None:
    body = encode({"body": [create_event()]}).replace(b'\\"1795834800.20\\"', b"1795834800.20")
    body = body.replace(b'"1795834800.20"', b"1795834800.20")
    assert [details.call_id for details in dialect.parse(body)] == ["1795834800.20"]


@pytest.mark.parametrize(("dialect", "create_event"), DIALECTS)
@pytest.mark.parametrize("count", [1_500, 3_000])
def test_body_with_very_many_events_gives_all_calls(dialect: Dialect, create_event: CreateEvent, count: int) -> None:
    """In the order of the body; another body of as many events has another key."""
    events = [create_event(f"1795834800.{number}") for number in range(count)]
    for body in (encode(events), b"\n".join(map(encode, events)), encode({"data": events})):
        details = dialect.parse(body)
        assert [leg.call_id for leg in details] == [f"1795834800.{number}" for number in range(count)]
        assert not isinstance(details, PartlyParsedCalls)
        other_body = body.replace(f"1795834800.{count - 1}".encode(), b"1795834800.x")
        envelope = dialect.peek(body)
        assert (envelope.kind, envelope.sn, envelope.key[:4]) == ("details", SN, (1795834800).to_bytes(4))
        assert dialect.peek(other_body).key != envelope.key


@pytest.mark.parametrize(("dialect", "create_event"), DIALECTS)
def test_body_with_more_values_than_are_looked_at_has_its_own_key(dialect: Dialect, create_event: CreateEvent) -> None:
    """An event after them is another one, though the intake does not see it."""
    headers = dict.fromkeys(map(str, range(VALUES_PEEKED_MAX)), 0)
    bodies = [encode([create_event(), headers, create_event(f"1795834801.{number}")]) for number in range(3)]
    assert len({dialect.peek(body).key for body in bodies}) == 3
    assert {dialect.peek(body).kind for body in bodies} == {"details"}
    assert [leg.call_id for leg in dialect.parse(bodies[2])] == ["1795834800.20", "1795834801.2"]


def test_msg_as_an_array_of_very_many_gives_all_calls() -> None:
    calls = [json.loads(yeastar_event(f"1795834800.{number}")["msg"]) for number in range(VALUES_PEEKED_MAX + 1)]
    body = encode({"type": 30012, "sn": SN, "msg": calls})
    assert len(Yeastar().parse(body)) == VALUES_PEEKED_MAX + 1
    assert Yeastar().peek(body).key != Yeastar().peek(body.replace(b"1001", b"1003")).key


def test_body_with_more_events_than_the_limit_says_so() -> None:
    details = NewCdr().parse(encode([newcdr_event()] * (EVENTS_MAX + 2)))
    assert isinstance(details, PartlyParsedCalls)
    assert (len(details), "more than 15000 calls" in details.reason) == (EVENTS_MAX, True)


PARTS: dict[str, Callable[[CreateEvent], bytes]] = {
    "an invalid call in an array": lambda create: encode([create(), create("1795834801.21", time_start="soon")]),
    "an invalid call first": lambda create: encode([create("1795834801.21", time_start="soon"), create()]),
    "no object": lambda create: encode([create(), "call"]),
    "an object without a call": lambda create: encode([create(), {"a": 1}]),
    "an invalid call on a line": lambda create: encode(create("1.1", time_start="soon")) + b"\n" + encode(create()),
    "a cut line": lambda create: encode(create()) + b"\n" + encode(create("1795834801.21"))[:-9],
    "a line of something else": lambda create: b"xx\n" + encode(create()),
    "a broken line of an array": lambda create: b"[\n" + encode(create()) + b",\n{broken},\n]\n",
    "a broken line after a mark": lambda create: b"\xef\xbb\xbf" + encode(create()) + b"\n{broken\n",
}


@pytest.mark.parametrize("join", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize(("dialect", "create_event"), DIALECTS)
def test_body_with_an_unreadable_part_gives_the_other_calls_and_the_reason(
    dialect: Dialect, create_event: CreateEvent, join: Callable[[CreateEvent], bytes]
) -> None:
    body = join(create_event)
    details = dialect.parse(body)
    assert [leg.call_id for leg in details] == ["1795834800.20"]
    assert isinstance(details, PartlyParsedCalls)
    assert details.reason.startswith("1 of 2 events in the body could not be parsed")
    assert (dialect.peek(body).kind, dialect.peek(body).sn) == ("details", SN)


def test_msg_with_an_unreadable_item_gives_the_other_calls_and_the_reason() -> None:
    event = yeastar_event()
    for item in ("{broken", 7, None):
        details = Yeastar().parse(encode(event | {"msg": [event["msg"], item]}))
        assert isinstance(details, PartlyParsedCalls)
        assert len(details) == 1


@pytest.mark.parametrize(("dialect", "create_event"), DIALECTS)
def test_body_of_unreadable_events_alone_has_the_first_reason(dialect: Dialect, create_event: CreateEvent) -> None:
    with pytest.raises(ParseError, match="soon"):
        dialect.parse(encode([create_event(time_start="soon"), {"a": 1}]))


@pytest.mark.parametrize(("dialect", "create_event"), DIALECTS)
def test_body_with_events_of_several_pbxs_is_rejected(dialect: Dialect, create_event: CreateEvent) -> None:
    with pytest.raises(ParseError, match="several PBXs"):
        dialect.parse(encode({"events": [create_event(), create_event() | {"sn": "3631A2199ZZZ"}]}))


@pytest.mark.parametrize(("dialect", "create_event"), DIALECTS)
@pytest.mark.parametrize("levels", [20, 400])
def test_body_wrapped_too_deep_is_kept_with_a_reason(dialect: Dialect, create_event: CreateEvent, levels: int) -> None:
    body = b'{"a":' * levels + encode(create_event()) + b"}" * levels
    assert dialect.peek(body).kind == "unparsable"
    with pytest.raises(ParseError):
        dialect.parse(body)


@pytest.mark.parametrize(("dialect", "create_event"), DIALECTS)
def test_compressed_body_that_cannot_be_unpacked_is_named(dialect: Dialect, create_event: CreateEvent) -> None:
    packed = gzip.compress(encode(create_event()))
    too_large = gzip.compress(b" " * UNPACKED_BYTES_MAX + encode(create_event()))
    for body in (packed[:-9], packed + b"x" * 9, too_large, zlib.compress(b"[1]")[:-5]):
        assert (unpack(body), dialect.peek(body).kind) == (body, "unparsable")
        with pytest.raises(ParseError, match="the compressed body is damaged, or larger than"):
            dialect.parse(body)


def test_compressed_body_of_another_encoding_is_recoded() -> None:
    body = json.dumps(newcdr_event(call_from="王<1001>"), ensure_ascii=False).encode("gbk")
    for packed in (body, gzip.compress(body), zlib.compress(body)):
        assert NewCdr().parse(recode_body(packed, "gbk"))[0].call_from == "王<1001>"


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_unpack_of_many_parts_is_left_as_it_is(compress: Callable[[bytes], bytes]) -> None:
    """Each part costs a copy of what follows it."""
    parts = compress(b"{}") * 15
    assert unpack(parts) == b"{}" * 15
    many_parts = compress(b"") * 10_000
    assert unpack(many_parts) == many_parts


@pytest.mark.parametrize(
    ("body", "values_max", "is_complete"),
    [(b"1\n2\nx", None, True), (b"1\n2\nx", 2, False), (b'"text"', None, True), (b"[[1, 2], 3]", 2, False)],
)
def test_find_events_says_whether_it_has_looked_at_all_of_a_body(
    body: bytes, values_max: int | None, is_complete: bool
) -> None:
    body_events = find_events(body, lambda _event: False, values_max=values_max)
    assert ([event for event in body_events.events if event], body_events.is_complete) == ([], is_complete)


@pytest.mark.parametrize(
    ("dialect", "reason"),
    [
        (Yeastar(), "the body is neither JSON nor the event as printed in the vendor's manual"),
        (NewCdr(), "the body is not a JSON object"),
    ],
)
def test_body_without_an_event_has_the_sentence_of_its_dialect(dialect: Dialect, reason: str) -> None:
    with pytest.raises(ParseError) as caught:
        dialect.parse(b"hello")
    assert caught.value.message == f"could not parse the raw event: {reason}"
