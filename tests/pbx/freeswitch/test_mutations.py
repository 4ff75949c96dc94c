"""Mutated documents: `ParseError` or possible calls, never another exception and never 1970.

`SEEDS=20000` mutates each of the samples as often (some 2 ms each).
"""

import random

import pytest

from onhook.lib.errors import ParseError
from tests.counts import seeds
from tests.pbx.freeswitch.captures import FREESWITCH, bodies, constructed

SAMPLES = {
    "json": bodies("s40")[2],
    "loopback": bodies("s26")[2],
    "values": bodies("e01")[0],
    "base64": bodies("e05")[0],
    "form": bodies("e03")[0],
    "xml": constructed("fs_xml_cdr_a_leg.xml"),
    "xml form": bodies("x1", "xml")[0],
    "format": bodies("f4", "fmt")[0],
}
SEEDS_EACH = len(seeds(40))
TOKENS = (
    b"",
    b'"',
    b"{}",
    b"[]",
    b"0",
    b"-1",
    b"9" * 25,
    b"<",
    b"</",
    b"%",
    b"%00",
    b"\x00",
    b"\xff",
    b"ARRAY::",
    b"|:",
)


def mutate(body: bytes, source: random.Random) -> bytes:
    """Return a body with one to four changes: bytes replaced, a part removed, repeated or exchanged."""
    for _change in range(source.randint(1, 4)):
        begin = source.randrange(len(body) + 1)
        end = min(len(body), begin + source.choice((0, 1, 1, 4, 40, 400)))
        replacement = source.choice((*TOKENS, body[begin:end] * 2, source.randbytes(end - begin)))
        body = body[:begin] + replacement + body[end:]
    return body


def check_readable_or_refused(body: bytes) -> None:
    envelope = FREESWITCH.peek(body)
    assert len(envelope.key) == 16
    try:
        rows = FREESWITCH.parse(body)
        FREESWITCH.read_links(body)
    except ParseError:
        assert envelope.kind != "details"
        return
    for row in rows:
        assert "1990" <= row.time_start[:4] <= "2100"
        assert 0 <= (row.talk_duration or 0) <= (row.call_duration or 0)


@pytest.mark.parametrize("name", SAMPLES)
def test_mutated_document_is_a_possible_call_or_a_parse_error(name: str) -> None:
    for seed in range(SEEDS_EACH):
        source = random.Random(f"{name} {seed}")
        body = mutate(SAMPLES[name], source)
        try:
            check_readable_or_refused(body)
        except Exception as error:
            raise AssertionError(f"seed {seed} of {name}") from error


@pytest.mark.parametrize(
    "body", [b"", b"{", b"cdr=", b"cdr={", b"cdr=%", b"cdr=====", b"cdr=A", b"<", b"cdr=<cdr/>", b"[]", b"%7B%22"]
)
def test_body_that_is_no_document_is_a_parse_error(body: bytes) -> None:
    assert FREESWITCH.peek(body).kind in ("unparsable", "not_json")
    with pytest.raises(ParseError):
        FREESWITCH.parse(body)
