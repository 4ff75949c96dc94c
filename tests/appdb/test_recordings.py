"""Recording directories."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.recordings import parse_directory
from onhook.lib.errors import UsageError

pytestmark = pytest.mark.usefixtures("each_engine")


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    async with AppDb(tmp_path / "onhook.db") as opened:
        yield opened


async def test_recordings_directory_is_stored_and_removed(appdb: AppDb, tmp_path: Path) -> None:
    """One per PBX; removed with its PBX."""
    await appdb.add_pbx(name="office", sn="SN1", secret="0123456789", now_us=1)
    await appdb.recordings.put("SN1", tmp_path)
    assert await appdb.recordings.get("SN1") == tmp_path
    assert await appdb.recordings.get("SN2") is None
    await appdb.recordings.put("SN1", None)
    assert await appdb.recordings.get("SN1") is None
    await appdb.recordings.put("SN1", tmp_path)
    await appdb.remove_pbx("office")
    assert await appdb.recordings.get("SN1") is None


def test_parse_directory_accepts_existing_directories_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path is stored absolute, because a server may be started elsewhere."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sound").mkdir()
    (tmp_path / "file").write_text("")
    assert parse_directory("sound") == tmp_path / "sound"
    assert parse_directory("") is None
    for wrong in ("file", "nowhere", "x" * 5_000):
        with pytest.raises(UsageError):
            parse_directory(wrong)
