"""The repository of the directory: entries, learnt names, and their erasure."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from onhook.appdb import directory as directory_module
from onhook.appdb.appdb import AppDb
from onhook.appdb.directory import DatedName, LearntState
from onhook.appdb.erasures import NumberRows
from onhook.cdr.directory import DirectoryEntry, LearntName, PbxName
from onhook.cdr.erasure import NumberPattern
from onhook.lib.errors import NotFound, UsageError
from tests.factories import SN

pytestmark = pytest.mark.usefixtures("each_engine")

ALICE = DirectoryEntry(sn=SN, number="1001", name="Alice", department="Sales", site="Berlin")
CAROL = DirectoryEntry(number="+49 30 901820", kind="contact", name="Carol", company="ACME")
QUEUE = DirectoryEntry(sn=SN, number="6400", kind="queue", name="Support")


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    async with AppDb(tmp_path / "onhook.db") as opened:
        yield opened


def dated(number: str, name: str, seq: int = 1) -> DatedName:
    return DatedName(sn=SN, number=number, name=name, started_at=seq, seq=seq)


async def test_put_adds_and_replaces_entries_with_one_audit_entry(appdb: AppDb) -> None:
    revisions = [await appdb.directory.revision()]
    await appdb.directory.put([QUEUE, ALICE, CAROL])
    revisions.append(await appdb.directory.revision())
    assert await appdb.directory.entries() == [CAROL, ALICE, QUEUE]
    renamed = msgspec.structs.replace(ALICE, name="Alice Smith", department="")
    await appdb.directory.put([renamed])
    revisions.append(await appdb.directory.revision())
    assert await appdb.directory.entries() == [CAROL, renamed, QUEUE]
    assert len(set(revisions)) == 3
    assert [entry.action for entry in await appdb.audit.latest(10)] == [
        "change directory entry 1001",
        "add directory entry 6400 and 2 more",
    ]


async def test_put_invalid_or_too_many_changes_nothing(appdb: AppDb, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="name is missing"):
        await appdb.directory.put([ALICE, msgspec.structs.replace(QUEUE, name="")])
    monkeypatch.setattr(directory_module, "ENTRIES_MAX", 1)
    with pytest.raises(UsageError, match="at most 1 entries"):
        await appdb.directory.put([ALICE, QUEUE])
    assert await appdb.directory.entries() == []
    assert await appdb.directory.revision() == 0


async def test_remove_entry_that_is_unknown_is_not_found(appdb: AppDb) -> None:
    await appdb.directory.put([ALICE])
    await appdb.directory.remove(SN, "1001")
    with pytest.raises(NotFound):
        await appdb.directory.remove(SN, "1001")
    assert await appdb.directory.entries() == []


async def test_learn_stores_names_and_position(appdb: AppDb) -> None:
    assert await appdb.directory.learnt_state() == LearntState(position=0, erasures=0)
    assert await appdb.directory.learn([dated("1001", "A"), dated("1002", "Bob")], LearntState(position=7, erasures=0))
    assert await appdb.directory.learn([dated("1001", "Alice", 9)], LearntState(position=9, erasures=0))
    revision = await appdb.directory.revision()
    assert await appdb.directory.learn([], LearntState(position=20, erasures=0))
    assert await appdb.directory.revision() == revision
    assert await appdb.directory.learnt_names() == [
        LearntName(sn=SN, number="1001", name="Alice"),
        LearntName(sn=SN, number="1002", name="Bob"),
    ]
    assert await appdb.directory.dated_names() == [dated("1001", "Alice", 9), dated("1002", "Bob")]
    assert await appdb.directory.learnt_state() == LearntState(position=20, erasures=0)
    assert await appdb.audit.latest(10) == []


def pbx_name(number: str, name: str) -> PbxName:
    return PbxName(sn=SN, number=number, kind="extension", name=name)


async def test_names_of_a_pbx_are_replaced_together_and_go_with_it(appdb: AppDb) -> None:
    """Equal ones change nothing, so that readers keep what they have read."""
    await appdb.directory.put_pbx_names(SN, [pbx_name("1001", "Alice")])
    assert await appdb.directory.pbx_names() == []  # of no PBX
    await appdb.add_pbx(name="office", sn=SN, secret="s" * 32, now_us=1)
    await appdb.directory.put_pbx_names(SN, [pbx_name("1002", "Bob"), pbx_name("1001", "Alice")])
    revision = await appdb.directory.revision()
    await appdb.directory.put_pbx_names(SN, [pbx_name("1001", "Alice"), pbx_name("1002", "Bob")])
    assert await appdb.directory.revision() == revision
    await appdb.directory.put_pbx_names(SN, [pbx_name("1001", "Alice Smith")])
    assert await appdb.directory.revision() > revision
    assert await appdb.directory.pbx_names() == [pbx_name("1001", "Alice Smith")]
    await appdb.remove_pbx("office")
    assert await appdb.directory.pbx_names() == []


async def test_erase_removes_what_pbxs_list(appdb: AppDb) -> None:
    """They are read anew."""
    await appdb.add_pbx(name="office", sn=SN, secret="s" * 32, now_us=1)
    await appdb.directory.put_pbx_names(SN, [pbx_name("1001", "Alice"), pbx_name("1002", "Bob")])
    await erase(appdb, NumberPattern(["1001"], is_internal=True))
    assert await appdb.directory.pbx_names() == []


async def erase(appdb: AppDb, pattern: NumberPattern) -> NumberRows:
    rows = await appdb.erasures.find(pattern.occurs_in, [])
    await appdb.erasures.erase([], rows)
    return rows


async def test_erase_contact_removes_its_entry_and_its_audit_entry(appdb: AppDb) -> None:
    await appdb.directory.put([CAROL])
    await appdb.directory.put([ALICE])
    await erase(appdb, NumberPattern(["+4930901820", "030901820"], is_internal=False))
    assert await appdb.directory.entries() == [ALICE]
    assert [(entry.action, entry.after) for entry in await appdb.audit.latest(10)][1] == ("add (erased)", {})


async def test_erase_extension_removes_its_learnt_name(appdb: AppDb) -> None:
    state = LearntState(position=7, erasures=0)
    await appdb.directory.learn([dated("1001", "Alice"), dated("11001", "Bob")], state)
    await erase(appdb, NumberPattern(["1001"], is_internal=True))
    assert [learnt.number for learnt in await appdb.directory.learnt_names()] == ["11001"]
    assert await appdb.directory.learnt_state() == LearntState(position=7, erasures=1)


async def test_erase_what_was_read_before_is_learnt_no_more(appdb: AppDb) -> None:
    """A name that is learnt between the search and the erasure goes too, and is read again."""
    state = LearntState(position=7, erasures=0)
    await appdb.directory.learn([dated("1002", "Bob")], state)
    rows = await appdb.erasures.find(NumberPattern(["1001"], is_internal=True).occurs_in, [])
    await appdb.directory.learn([dated("1001", "Alice", 8)], LearntState(position=9, erasures=0))
    await appdb.erasures.erase([], rows)
    assert [learnt.name for learnt in await appdb.directory.learnt_names()] == ["Bob"]
    assert await appdb.directory.learnt_state() == LearntState(position=7, erasures=1)
    assert not await appdb.directory.learn([dated("1001", "Alice", 8)], LearntState(position=9, erasures=0))
    assert [learnt.name for learnt in await appdb.directory.learnt_names()] == ["Bob"]
