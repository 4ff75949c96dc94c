"""Health checks of the folders in which PBXs leave files."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.swept_folders import SweptFolder
from onhook.config import Config
from onhook.lib.clock import SystemClock
from onhook.ops.doctor.files import check_swept_folders, find_worst
from onhook.ops.doctor.pbx import check_pbx, load_check_target
from onhook.ops.doctor.settings import check_appdb
from onhook.runtime.engines import ENGINES


@pytest.mark.parametrize(
    ("age_seconds", "unreadable", "error", "statuses"),
    [
        (None, 0, "", {"its files in /CDRLogs were last read: never": "WARNING"}),
        (3_600, 0, "", {"were last read: 20": "WARNING"}),
        (0, 0, "", {"its files in /CDRLogs were read at": "OK"}),
        (0, 1, "", {"were read at": "OK", "1 file or line in /CDRLogs is no event of this PBX": "WARNING"}),
        (0, 0, "no such folder", {"the files of Office cannot be read: no such folder": "ERROR"}),
    ],
)
async def test_check_swept_folder_says_whether_it_is_read(
    tmp_path: Path, age_seconds: int | None, unreadable: int, error: str, statuses: dict[str, str]
) -> None:
    config = Config(data=tmp_path)
    async with AppDb(config.appdb_file) as appdb:
        await appdb.add_pbx(name="Office", sn="3CX", secret=None, dialect="3cx", zone="UTC", now_us=1)
        await appdb.swept_folders.put("3CX", SweptFolder(path="/CDRLogs"))
        if age_seconds is not None:
            now_us = SystemClock().microseconds() - age_seconds * 1_000_000
            await appdb.swept_folders.save_result("3CX", stored=0, unreadable=unreadable, error=error, now_us=now_us)
        target = await load_check_target(appdb, "Office", "", ZoneInfo("UTC"))
        checks = [check async for check in check_pbx(config, appdb, SystemClock(), target, ENGINES.open_ledger)]
        folder_checks = [check for check in checks if "/CDRLogs" in check.detail or "files of Office" in check.detail]
        assert [check.status for check in folder_checks] == list(statuses.values())
        assert all(text in check.detail for text, check in zip(statuses, folder_checks, strict=True))
        assert find_worst(await check_swept_folders(appdb)).status == ("ERROR" if error else "OK")
    appdb_checks = [check async for check in check_appdb(config, SystemClock(), ENGINES)]
    assert any("files of Office" in check.detail for check in appdb_checks) is bool(error)


async def test_check_swept_folder_of_a_pbx_that_has_only_files_must_be_set(tmp_path: Path) -> None:
    """There are no checks of an API or a webhook."""
    config = Config(data=tmp_path)
    async with AppDb(config.appdb_file) as appdb:
        await appdb.add_pbx(name="Campus", sn="CUCM", secret=None, dialect="cucm", now_us=1)
        target = await load_check_target(appdb, "Campus", "", ZoneInfo("UTC"))
        checks = [check async for check in check_pbx(config, appdb, SystemClock(), target, ENGINES.open_ledger)]
        assert "its calls are read from files, and no folder is set" in {
            check.detail for check in checks if check.status == "ERROR"
        }
        assert not any("API" in check.detail for check in checks)
