"""`onhook backup` and `onhook restore`."""

from pathlib import Path

from tests.hub.houses import House, call_id, call_ids, report, wait_until


def test_a_backup_made_while_it_runs_can_be_restored(house: House, tmp_path: Path) -> None:
    """What was kept until then is there, PBXs and secrets too; what came later is not."""
    house.start()
    assert house.post(report(1)) == 200
    copy = tmp_path / "copy"
    house.onhook("backup", str(copy))
    assert house.post(report(2)) == 200
    assert copy.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in copy.iterdir()} == {"backup.json", "ledger.db", "onhook.db"}
    house.stop()
    other = House(tmp_path / "other")
    other.onhook("restore", str(copy))
    assert call_ids(other.calls()) == [call_id(1)]
    assert "Office" in other.onhook("pbx", "list")
    house.onhook("restore", str(copy), "--replace")
    assert call_ids(house.calls()) == [call_id(1)]
    house.start()
    assert house.post(report(3)) == 200
    wait_until(lambda: call_ids(house.calls()) == [call_id(1), call_id(3)])


def test_nothing_is_lost_that_nobody_said_to_replace(house: House, tmp_path: Path) -> None:
    """Neither what is in the data directory, nor an earlier backup, nor anything under a running server."""
    house.start()
    assert house.post(report(1)) == 200
    copy = tmp_path / "copy"
    house.onhook("backup", str(copy))
    assert "already" in house.run("backup", str(copy)).stderr
    assert "already running" in house.run("restore", str(copy), "--replace").stderr
    house.stop()
    assert "--replace" in house.run("restore", str(copy)).stderr
    assert call_ids(house.calls()) == [call_id(1)]


def test_a_damaged_backup_is_refused(house: House, tmp_path: Path) -> None:
    """Before anything is replaced."""
    house.start()
    assert house.post(report(1)) == 200
    copy = tmp_path / "copy"
    house.onhook("backup", str(copy))
    house.stop()
    (copy / "ledger.db").write_bytes(b"\xff" * 8192)
    assert "damaged" in house.run("restore", str(copy), "--replace").stderr
    (copy / "backup.json").unlink()
    assert "no whole backup" in house.run("restore", str(copy), "--replace").stderr
    assert call_ids(house.calls()) == [call_id(1)]
