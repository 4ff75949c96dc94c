"""Folders in which PBXs leave files: storage and limits."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.swept_folders import SweptFolder, parse_swept_folder
from onhook.lib.errors import UsageError
from onhook.lib.timestamps import to_datetime

pytestmark = pytest.mark.usefixtures("each_engine")

SN = "3cx-5015"
FOLDER = SweptFolder(path="/CDRLogs", target="/stored")


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    opened_appdb = AppDb(tmp_path / "onhook.db")
    await opened_appdb.add_pbx(name="Office", sn=SN, secret=None, dialect="3cx", now_us=1)
    yield opened_appdb
    await opened_appdb.close()


async def test_swept_folder_is_stored_with_its_results_and_removed_with_its_pbx(appdb: AppDb) -> None:
    assert await appdb.swept_folders.get(SN) is None
    await appdb.swept_folders.put(SN, FOLDER)
    for _round in range(2):
        await appdb.swept_folders.save_result(SN, stored=2, unreadable=1, error="e" * 600, now_us=5)
    assert await appdb.swept_folders.get(SN) == SweptFolder(
        path="/CDRLogs", target="/stored", swept_at=to_datetime(5), stored=4, unreadable=1, error="e" * 500
    )
    await appdb.swept_folders.put(SN, SweptFolder(path="/other"))
    assert await appdb.swept_folders.get(SN) == SweptFolder(path="/other")
    await appdb.swept_folders.put(SN, None)
    await appdb.swept_folders.save_result(SN, stored=1, unreadable=0, error="", now_us=6)
    assert await appdb.swept_folders.all() == {}
    await appdb.swept_folders.put(SN, FOLDER)
    await appdb.remove_pbx(SN)
    assert await appdb.swept_folders.all() == {}


async def test_swept_folder_of_texts_is_a_whole_path_and_another_target() -> None:
    assert parse_swept_folder(" ", "") is None
    assert parse_swept_folder(" /CDRLogs ", "/CDRLogs/stored") == SweptFolder(path="/CDRLogs", target="/CDRLogs/stored")
    for path, target in (
        ("", "/stored"),
        ("CDRLogs", ""),
        ("/a", "b"),
        ("/a\nb", ""),
        ("/a/", "/a"),
        ("/a", "/a/b/.."),
        ("/" * 5_000, ""),
    ):
        with pytest.raises(UsageError):
            parse_swept_folder(path, target)
