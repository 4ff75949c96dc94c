"""Files of swept folders that were read: storage, and when they are forgotten."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onhook.appdb import swept_files
from onhook.appdb.appdb import AppDb
from onhook.appdb.swept_files import SweptFile
from onhook.appdb.swept_folders import SweptFolder

pytestmark = pytest.mark.usefixtures("each_engine")

SN, PATH = "3cx-5015", "/CDRLogs"
FILES = [SweptFile(f"cdr-{number}.log", number, 300, 2**60, number, "00ff") for number in range(5)]


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    opened_appdb = AppDb(tmp_path / "onhook.db")
    await opened_appdb.add_pbx(name="Office", sn=SN, secret=None, dialect="3cx", now_us=1)
    await opened_appdb.swept_folders.put(SN, SweptFolder(path=PATH))
    yield opened_appdb
    await opened_appdb.close()


async def load(appdb: AppDb, last_seq: int = 9) -> list[SweptFile]:
    files = await appdb.swept_folders.files.load(SN, PATH, last_seq=last_seq)
    return sorted(files, key=lambda file: file.name)


async def test_swept_files_are_those_of_the_last_changes(appdb: AppDb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swept_files, "FILES_AT_ONCE", 2)
    await appdb.swept_folders.files.save(SN, PATH, FILES, (), last_seq=7)
    assert await load(appdb) == FILES
    changed = SweptFile("cdr-4.log", 9, 1, 2)
    await appdb.swept_folders.files.save(SN, PATH, [changed], {file.name for file in FILES[:3]}, last_seq=8)
    assert await load(appdb) == [FILES[3], changed]
    await appdb.swept_folders.files.forget_all()
    assert await load(appdb) == []


async def test_swept_files_of_a_ledger_that_is_shorter_now_are_forgotten(appdb: AppDb) -> None:
    """As after a restore: events of them may be missing."""
    await appdb.swept_folders.files.save(SN, PATH, FILES, (), last_seq=9)
    assert await load(appdb, 9) == FILES
    assert await load(appdb, 8) == []
    assert await load(appdb, 9) == []


async def test_swept_files_belong_to_one_folder(appdb: AppDb) -> None:
    await appdb.swept_folders.files.save(SN, "/other", FILES, (), last_seq=9)
    assert await load(appdb) == []
    await appdb.swept_folders.files.save(SN, PATH, FILES, (), last_seq=9)
    await appdb.swept_folders.put(SN, SweptFolder(path=PATH, target="/stored"))
    assert await load(appdb) == []
    await appdb.swept_folders.files.save(SN, PATH, FILES, (), last_seq=9)
    await appdb.swept_folders.put(SN, None)
    await appdb.swept_folders.files.save(SN, PATH, FILES, (), last_seq=9)
    assert await load(appdb) == []
