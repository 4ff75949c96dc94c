"""Conventions of a PBX."""

from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbx_conventions import PbxConventions, parse_encoding, parse_ring_time_meaning
from onhook.appdb.pbx_facts import AppDbPbxFacts
from onhook.lib.errors import UsageError

pytestmark = pytest.mark.usefixtures("each_engine")


async def test_pbx_conventions_are_stored_and_removed(tmp_path: Path) -> None:
    """The projector gets the encoding."""
    async with AppDb(tmp_path / "onhook.db") as appdb:
        for name in ("office", "branch"):
            await appdb.add_pbx(name=name, sn=name, secret="0123456789", now_us=1)
        await appdb.pbx_conventions.put("office", PbxConventions(encoding="gbk", ring_time_meaning="wait"))
        await appdb.pbx_conventions.put("branch", PbxConventions(encoding="big5"))
        facts = await AppDbPbxFacts(appdb)()
        assert (facts["OFFICE"].encoding, facts["BRANCH"].encoding) == ("gbk", "big5")
        await appdb.pbx_conventions.put("office", PbxConventions())
        await appdb.remove_pbx("branch")
        assert await appdb.pbx_conventions.all() == {}


@pytest.mark.parametrize("text", ["", "gkb", "utf-16", "hex", "rot13", "x" * 5_000, "\0"])
def test_parse_encoding_that_cannot_hold_json_is_rejected(text: str) -> None:
    with pytest.raises(UsageError, match="is not an encoding"):
        parse_encoding(text)


def test_parse_ring_time_meaning_unknown_word_is_rejected() -> None:
    assert [parse_ring_time_meaning(text) for text in ("ring", "wait", "auto")] == ["ring", "wait", ""]
    with pytest.raises(UsageError, match="is no meaning"):
        parse_ring_time_meaning("both")
