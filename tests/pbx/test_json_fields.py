"""Keys of events, and members at the limits of what can be encoded."""

from contextlib import suppress

import pytest

from onhook.lib.errors import ParseError
from onhook.pbx.dialect import Dialect
from onhook.pbx.json_fields import build_details, compute_key
from onhook.pbx.newcdr.payload import NewCdr
from onhook.pbx.yeastar.payload import Yeastar

DETAILS = {"call_id": "1.1", "time_start": "2023-12-11 11:05:25", "call_from": "1", "call_to": "2"}
MEMBERS = {"call_id": "1702285525.1", "call_from": "A\ud800B"}
NEWCDR_MEMBERS = b'"callid":"1.1","timestart":"2023-12-11 11:05:25","callto":"2","zz":'
YEASTAR_MEMBERS = b'"call_id":"1.1","time_start":"2023-12-11 11:05:25","call_from":"1","call_to":"2","zz":'


def test_compute_key_with_lone_surrogate_ignores_member_order() -> None:
    """A lone surrogate cannot be encoded as UTF-8; another value has another key."""
    key = compute_key("S", MEMBERS, b"")
    assert key[:4] == (1702285525).to_bytes(4)
    assert compute_key("S", dict(reversed(MEMBERS.items())), b"other") == key
    assert compute_key("S", MEMBERS | {"call_from": "A\ud801B"}, b"") != key
    assert compute_key("T", MEMBERS, b"") != key


@pytest.mark.parametrize(
    ("dialect", "start", "end"),
    [
        (NewCdr(), b'{"event":"NewCdr","callfrom":"1",' + NEWCDR_MEMBERS, b"}"),
        (NewCdr(), b'{"event":"NewCdr","callfrom":"\\ud800",' + NEWCDR_MEMBERS, b"}"),
        (Yeastar(), b'{"type":30012,"sn":"S","msg":{' + YEASTAR_MEMBERS, b"}}"),
        (Yeastar(), b'{"type":"row","sn":"S","row":{' + YEASTAR_MEMBERS, b"}}"),
    ],
)
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_json_body_nested_to_limit_of_decoder_raises_only_parse_error(
    dialect: Dialect, start: bytes, end: bytes, opening: bytes, closing: bytes
) -> None:
    """Just below the limit, a body can be decoded but not encoded again. Each body has its own key."""
    keys, parsed_levels = set(), []
    for levels in range(800, 1050):
        body = start + opening * levels + b"1" + closing * levels + end
        keys.add(dialect.peek(body).key)
        with suppress(ParseError):
            parsed_levels += [levels for _details in dialect.parse(body)]
    assert len(keys) == 250
    assert parsed_levels == list(range(800, 800 + len(parsed_levels)))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("37s", 37),
        ("30 s", 30),
        ("37 sec.", 37),
        ("37.5 seconds", 37),
        ("5 Min. 3 Sek.", 303),
        ("1h2m3s", 3_723),
        ("1 h", 3_600),
        ("2 min", 120),
        ("1分30秒", 90),
        ("0:30 min", 30),
        ("1:02:03 h", 3_723),
        ("1:30 h", 5_400),
        ("1:30 Std.", 5_400),
        ("12:00:37 AM", 37),
        ("1:00:05 am", 3_605),
        ("12:00:37 PM", 43_237),
        ("1:00:05 PM", 46_805),
        ("1:02:03.000", 3_723),
        ("0:37.250", 37),
        (" 37 ", 37),
        ("37.000", 37),
    ],
)
def test_build_details_duration_of_every_known_form_is_seconds(text: str, seconds: int) -> None:
    details = build_details(DETAILS | {"call_duration": text, "talk_duration": text})
    assert (details.call_duration, details.talk_duration, details.extra) == (seconds, seconds, {})


@pytest.mark.parametrize(
    "text",
    [
        *("soon", "1:75", "-5", "s", "min", "12:00 AM", "13:00:37 AM", "0:00:37 AM", "0.000428", "37.9"),
        *("0.000428240740741", "37.1234", "9999:59:59", "99999999s", "1,234", "1:2:3:04", ":30", "37 s 5"),
    ],
)
def test_build_details_duration_of_another_form_is_kept_beside(text: str) -> None:
    """A fraction of a day is no fraction of a second."""
    details = build_details(DETAILS | {"call_duration": text})
    assert (details.call_duration, details.extra["call_duration"]) == (None, text)
