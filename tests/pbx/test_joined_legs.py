"""Joined documents about the legs of one call."""

import pytest

from onhook.cdr.call_details import CallDetails
from onhook.lib.errors import ParseError, UsageError
from onhook.pbx.joined_legs import JoinedLegsDialect, decode_joined, join_bodies, recode_joined
from onhook.pbx.registry import dialects
from tests.pbx.freeswitch.captures import FREESWITCH, bodies

DIALECT = JoinedLegsDialect(dialects())


def test_joined_legs_have_the_bytes_of_each_document() -> None:
    documents = {7: b'{"name":"\xe5\xbc\xa0"}', 3: b"\xff\x00 not UTF-8", 5: b""}
    joined = decode_joined(join_bodies("freeswitch", documents, (9, 2)))
    assert {leg.seq: leg.body for leg in joined.legs} == documents
    assert (joined.seqs, joined.replaced_seqs, joined.dialect) == (frozenset({3, 5, 7}), (2, 9), "freeswitch")


def test_joined_legs_are_parsed_together() -> None:
    legs = bodies("s01")
    body = join_bodies("freeswitch", dict(enumerate(legs, 1)), ())
    assert DIALECT.parse(body) == FREESWITCH.parse_legs(legs)
    assert DIALECT.peek(body).sn == ""


@pytest.mark.parametrize("body", [b"", b"{}", b'{"version":2,"dialect":"freeswitch","legs":[]}', b"\xff"])
def test_joined_legs_that_cannot_be_read_raise(body: bytes) -> None:
    with pytest.raises(ParseError, match="joined legs"):
        DIALECT.parse(body)


def test_joined_legs_in_another_encoding_become_utf_8() -> None:
    body = join_bodies("avaya", {1: "Jörg".encode("cp1252"), 2: "Größe".encode()}, (9,))
    assert recode_joined(body, "") == body
    joined = decode_joined(recode_joined(body, "cp1252"))
    assert [leg.body.decode() for leg in joined.legs] == ["Jörg", "Größe"]
    assert joined.replaced_seqs == (9,)


def test_joined_legs_are_sent_by_no_pbx() -> None:
    details = CallDetails(call_id="1", time_start="2026-11-29 10:00:00", call_from="1", call_to="2")
    with pytest.raises(UsageError, match="no PBX"):
        DIALECT.format(details, "", "json")
