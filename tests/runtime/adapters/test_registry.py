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
    door = AppDbPbxRegistry(ours, tell_trouble=_fail)
    assert door.declared("3631A2124ABC") is None
    theirs.add_pbx(name="Office", sn="3631A2124ABC", secret="first-secret", at=1)
    found = door.declared("3631A2124ABC")
    assert found is not None
    assert found.secrets == ("first-secret",)
    theirs.add_secret("Office", "second-secret", at=2)
    assert [one.secrets for one in door.everybody()] == [("second-secret", "first-secret")]
    theirs.remove_pbx("Office")
    assert door.everybody() == ()
    assert door.declared("3631A2124ABC") is None


def test_settings_that_cannot_be_read_keep_no_call_out(path: Path) -> None:
    """What was known counts on, and somebody is told."""
    settings = AppDb(path)
    settings.add_pbx(name="Office", sn="3631A2124ABC", secret="first-secret", at=1)
    troubles: list[OnhookError] = []
    door = AppDbPbxRegistry(settings, tell_trouble=troubles.append)
    AppDb(path).add_secret("Office", "second-secret", at=2)
    with Path(path).open("r+b") as damaged:
        damaged.write(b"\0" * 4096)
    path.with_name("onhook.db-wal").write_bytes(b"")
    assert [one.sn for one in door.everybody()] == ["3631A2124ABC"]
    assert door.declared("3631A2124ABC") is not None


def _fail(error: OnhookError) -> None:
    raise AssertionError(error)
