"""Keys of events, and members at the limits of what can be encoded."""

from contextlib import suppress

import pytest

from onhook.lib.errors import ParseError
from onhook.pbx.dialect import Dialect
from onhook.pbx.json_fields import compute_key
from onhook.pbx.newcdr.payload import NewCdr
from onhook.pbx.yeastar.payload import Yeastar

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
