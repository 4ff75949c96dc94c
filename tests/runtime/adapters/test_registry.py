"""PBX registry of the receiver."""

from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.runtime.adapters.registry import AppDbPbxRegistry


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "onhook.db"


def test_registry_change_by_another_process_has_effect_at_once(path: Path) -> None:
    """The next look-up finds a PBX added through another connection; a removal has effect soon after."""
    theirs, ours = AppDb(path), AppDb(path)
    registry = AppDbPbxRegistry(ours)
    assert registry.find_by_sn("3631A2124ABC") is None
    theirs.add_pbx(name="Office", sn="3631A2124ABC", secret="first-secret", now_us=1)
    registered = registry.find_by_sn("3631A2124ABC")
    assert registered is not None
    assert registered.secrets == ("first-secret",)
    theirs.add_secret("Office", "second-secret", now_us=2)
    assert [pbx.secrets for pbx in registry.list_all()] == [("second-secret", "first-secret")]
    theirs.remove_pbx("Office")
    assert registry.list_all() == ()
    assert registry.find_by_sn("3631A2124ABC") is None


def test_registry_unreadable_database_rejects_no_call(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The last known registry is used, and the error is logged once."""
    appdb = AppDb(path)
    appdb.add_pbx(name="Office", sn="3631A2124ABC", secret="first-secret", now_us=1)
    registry = AppDbPbxRegistry(appdb)
    AppDb(path).add_secret("Office", "second-secret", now_us=2)
    with Path(path).open("r+b") as damaged:
        damaged.write(b"\0" * 4096)
    path.with_name("onhook.db-wal").write_bytes(b"")
    assert [pbx.sn for pbx in registry.list_all()] == ["3631A2124ABC"]
    assert registry.find_by_sn("3631A2124ABC") is not None
    assert len(registry.list_all()) == 1
    assert [line.message for line in caplog.records] == [
        "cannot read the application database: using the last known PBXs"
    ]
