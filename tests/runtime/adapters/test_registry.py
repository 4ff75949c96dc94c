"""The look-up that intake is handed."""

from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.lib.errors import OnhookError
from onhook.runtime.adapters.registry import AppDbPbxRegistry


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "onhook.db"


def test_what_another_process_declares_counts_at_once(path: Path) -> None:
    """The very next question finds a PBX that was declared through another connection, and its removal soon after."""
    theirs, ours = AppDb(path), AppDb(path)
    door = AppDbPbxRegistry(ours, on_error=_fail)
    assert door.find_by_sn("3631A2124ABC") is None
    theirs.add_pbx(name="Office", sn="3631A2124ABC", secret="first-secret", now_us=1)
    found = door.find_by_sn("3631A2124ABC")
    assert found is not None
    assert found.secrets == ("first-secret",)
    theirs.add_secret("Office", "second-secret", now_us=2)
    assert [one.secrets for one in door.list_all()] == [("second-secret", "first-secret")]
    theirs.remove_pbx("Office")
    assert door.list_all() == ()
    assert door.find_by_sn("3631A2124ABC") is None


def test_settings_that_cannot_be_read_keep_no_call_out(path: Path) -> None:
    """What was known counts on, and somebody is told."""
    appdb = AppDb(path)
    appdb.add_pbx(name="Office", sn="3631A2124ABC", secret="first-secret", now_us=1)
    troubles: list[OnhookError] = []
    door = AppDbPbxRegistry(appdb, on_error=troubles.append)
    AppDb(path).add_secret("Office", "second-secret", now_us=2)
    with Path(path).open("r+b") as damaged:
        damaged.write(b"\0" * 4096)
    path.with_name("onhook.db-wal").write_bytes(b"")
    assert [one.sn for one in door.list_all()] == ["3631A2124ABC"]
    assert door.find_by_sn("3631A2124ABC") is not None


def _fail(error: OnhookError) -> None:
    raise AssertionError(error)
