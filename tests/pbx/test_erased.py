"""The dialect of rewritten events: what was written is read back, in any encoding of a PBX."""

import pytest

from onhook.lib.errors import ParseError, UsageError
from onhook.pbx.erased import DIALECT, ErasedDialect, format_erased
from onhook.pbx.registry import dialects
from onhook.pbx.text_encoding import recode_body
from tests.factories import details

EXTRA = {"channel": "SIP/1001-1", "raw": {"billsec": 3, "x": [1.5]}}
LEG = details(call_from="erased", call_to="王<1001>", extra=EXTRA)


@pytest.mark.parametrize("encoding", ["", "gbk", "utf-16", "latin-1"])
def test_erased_body_is_read_back(encoding: str) -> None:
    body = format_erased("3631", [LEG, LEG])
    assert ErasedDialect().parse(recode_body(body, encoding)) == (LEG, LEG)
    envelope = ErasedDialect().peek(body)
    assert (envelope.kind, envelope.sn, envelope.label) == ("details", "3631", DIALECT)
    assert ErasedDialect().parse(format_erased("", ())) == ()


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"legs": [1]}'])
def test_erased_body_that_is_damaged_is_unparsable(body: bytes) -> None:
    assert ErasedDialect().peek(body).kind == "unparsable"
    with pytest.raises(ParseError, match="erased event"):
        ErasedDialect().parse(body)


def test_erased_is_the_dialect_of_no_pbx() -> None:
    assert DIALECT not in dialects()
    with pytest.raises(UsageError, match="no PBX"):
        ErasedDialect().format(LEG, "3631", "p-2026")
