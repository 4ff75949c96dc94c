"""Notes, tags and saved searches."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.lib.errors import NotFound, UsageError
from tests.factories import SN

pytestmark = pytest.mark.usefixtures("each_engine")

CALL = (SN, "1777287876.1")


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    opened = AppDb(tmp_path / "onhook.db")
    yield opened
    await opened.close()


async def test_note_versions_are_never_overwritten(appdb: AppDb) -> None:
    """The latest counts and is first; an unchanged one is not stored again; an empty one removes the note."""
    notes = appdb.notes
    await notes.write(*CALL, "", "", author="Alice", now_us=1)
    assert await notes.history(*CALL) == []
    for now_us, (text, tags) in enumerate(
        [("calls back", "sales, VIP"), ("calls back", "sales,VIP"), ("done", ""), ("", "")]
    ):
        await notes.write(*CALL, text, tags, author="Alice", now_us=now_us)
    assert [(note.text, note.tags) for note in await notes.history(*CALL)] == [
        ("", ()),
        ("done", ()),
        ("calls back", ("sales", "VIP")),
    ]
    assert await notes.tags() == []


async def test_find_calls_by_tag_matches_current_whole_tags(appdb: AppDb) -> None:
    """Whatever characters are in them."""
    for number, tags in enumerate(("sales", "sales 100%,x", "after sales", "x")):
        await appdb.notes.write(SN, f"1777287876.{number}", "", tags, author="Alice", now_us=number)
    await appdb.notes.write(SN, "1777287876.3", "", "y", author="Bob", now_us=9)
    assert await appdb.notes.find_calls("sales", "") == [(SN, "1777287876.0")]
    assert await appdb.notes.find_calls("sales 100%", "") == [(SN, "1777287876.1")]
    assert await appdb.notes.find_calls("x", "") == [(SN, "1777287876.1")]
    assert await appdb.notes.find_calls("%", "") == []
    assert await appdb.notes.tags() == ["after sales", "sales", "sales 100%", "x", "y"]


@pytest.mark.parametrize(("text", "tags"), [("x" * 4_001, ""), ("", ",".join(map(str, range(21)))), ("", "t" * 41)])
async def test_note_over_the_limits_is_rejected(appdb: AppDb, text: str, tags: str) -> None:
    """With one sentence; nothing is stored."""
    with pytest.raises(UsageError):
        await appdb.notes.write(*CALL, text, tags, author="Alice", now_us=1)
    assert await appdb.notes.history(*CALL) == []


async def test_saved_search_is_stored_and_removed(appdb: AppDb) -> None:
    """Each name once; only addresses of searches."""
    await appdb.saved_searches.add("missed", "/calls?status=%21ANSWERED", author="Alice")
    (saved_search,) = await appdb.saved_searches.all()
    assert (saved_search.name, saved_search.path, saved_search.author) == (
        "missed",
        "/calls?status=%21ANSWERED",
        "Alice",
    )
    for name, path in (
        ("Missed", "/calls"),
        ("x", "//evil.example"),
        ("x", "/people"),
        ("x", "/calls\\x"),
        ("", "/calls"),
    ):
        with pytest.raises(UsageError):
            await appdb.saved_searches.add(name, path, author="Alice")
    await appdb.saved_searches.remove(saved_search.search_id)
    with pytest.raises(NotFound):
        await appdb.saved_searches.remove(saved_search.search_id)
