"""Bodies that programs between the PBX and Onhook have joined, wrapped or encoded: each event in them is read."""

import gzip
import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from onhook.lib.errors import ParseError
from onhook.pbx.envelopes import EVENTS_MAX, UNPACKED_BYTES_MAX
from onhook.pbx.yeastar.payload import Yeastar

YEASTAR = Yeastar()
SN = "3631A2124ABC"


def members(call_id: str = "1795834800.27") -> dict[str, Any]:
    return {
        "call_id": call_id,
        "time_start": "2026-11-28 04:00:00",
        "call_from": "1001",
        "call_to": "1002",
        "call_duration": 60,
        "talk_duration": 50,
        "status": "ANSWERED",
        "type": "Internal",
    }


def event(call_id: str = "1795834800.27", **changes: Any) -> dict[str, Any]:
    return {"type": 30012, "sn": SN, "msg": json.dumps(members(call_id))} | changes


ONE = json.dumps(event()).encode()
TWO = [event("1795834800.27"), event("1795834801.28")]

FORMS = {
    "an array of one event": json.dumps([event()]).encode(),
    "`msg` as an array": json.dumps(event(msg=[members()])).encode(),
    "`msg` as the text of an array": json.dumps(event(msg=json.dumps([members()]))).encode(),
    "wrapped as n8n does": json.dumps({"headers": {}, "body": event()}).encode(),
    "wrapped as n8n does, in an array": json.dumps([{"headers": {}, "body": event()}]).encode(),
    "wrapped as text": json.dumps({"payload": json.dumps(event())}).encode(),
    "a form with the event in a field": b"payload=" + quote(json.dumps(event())).encode(),
    "a form with the event's members": urlencode({**event(), "type": "30012"}).encode(),
    "a line": ONE + b"\n",
    "compressed": gzip.compress(ONE),
}


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS)
def test_body_in_other_form_is_the_same_call(body: bytes) -> None:
    """With the same key, so that a repeat in the usual form changes nothing."""
    assert YEASTAR.parse(body) == YEASTAR.parse(ONE)
    envelope = YEASTAR.peek(body)
    assert (envelope.kind, envelope.sn, envelope.key) == ("details", SN, YEASTAR.peek(ONE).key)


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(TWO).encode(),
        b"\n".join(json.dumps(item).encode() for item in TWO),
        b"\xef\xbb\xbf" + b"\r\n\r\n".join(json.dumps(item).encode() for item in TWO) + b"\r\n",
        b"".join(json.dumps(item).encode() for item in TWO),
        json.dumps(event(msg=[members("1795834800.27"), members("1795834801.28")])).encode(),
        json.dumps([{"body": item} for item in TWO]).encode(),
        gzip.compress(json.dumps(TWO).encode()),
    ],
)
def test_body_with_several_events_gives_all_calls(body: bytes) -> None:
    assert [details.call_id for details in YEASTAR.parse(body)] == ["1795834800.27", "1795834801.28"]
    envelope = YEASTAR.peek(body)
    assert (envelope.kind, envelope.sn) == ("details", SN)
    assert envelope.key[:4] == (1795834800).to_bytes(4)


def test_body_with_other_events_among_calls_gives_the_calls() -> None:
    body = json.dumps([{"type": 30011, "sn": SN, "msg": "{}"}, event()]).encode()
    assert YEASTAR.parse(body) == YEASTAR.parse(ONE)
    assert YEASTAR.peek(body).kind == "details"


def test_body_with_other_events_only_is_another_event() -> None:
    assert YEASTAR.peek(json.dumps([{"type": 30011, "sn": SN, "msg": "{}"}]).encode()).kind == "other_event"


def test_body_with_events_of_several_pbxs_is_rejected() -> None:
    """It is signed by one of them alone."""
    with pytest.raises(ParseError, match="several PBXs"):
        YEASTAR.parse(json.dumps([event(), event(sn="3631A2199ZZZ")]).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"[1, 2]",
        b'{"a": 1} and more',
        b"call_id",
        b"a=b&c=d",
        b"=" * 5_000,
        b"a=\xff",
        b"&".join(b"a%d=b" % number for number in range(200)),
        gzip.compress(ONE)[:-9],
        b"\x1f\x8b" + b"x" * 100,
        gzip.compress(b" " * (UNPACKED_BYTES_MAX + 1)),
        b"[" * 100_000,
    ],
)
def test_body_without_an_event_has_a_reason(body: bytes) -> None:
    assert YEASTAR.peek(body).kind in ("unparsable", "not_json")
    with pytest.raises(ParseError):
        YEASTAR.parse(body)


def test_body_with_very_many_events_is_bounded() -> None:
    lines = b"\n".join(json.dumps(event(f"17958348{number:02}.{number}")).encode() for number in range(EVENTS_MAX + 5))
    assert len(YEASTAR.parse(lines)) == EVENTS_MAX
