"""The file of the settings, and copies of SQLite files."""

import sqlite3
from pathlib import Path

import pytest

from onhook.appdb.sqlite import APPLICATION_ID, SqliteDatabase, check_integrity, copy_database
from onhook.lib.errors import Unavailable, UsageError


def test_a_transaction_counts_whole_or_not_at_all(tmp_path: Path) -> None:
    """What was written before an error is gone."""
    database = SqliteDatabase(tmp_path / "onhook.db")
    with pytest.raises(ZeroDivisionError):
        _write_and_fail(database)
    assert database.rows("SELECT * FROM tokens") == []
    database.close()


def test_the_version_tells_of_every_writer(tmp_path: Path) -> None:
    """It changes when we write and when others do, and at no other time."""
    ours, theirs = SqliteDatabase(tmp_path / "onhook.db"), SqliteDatabase(tmp_path / "onhook.db")
    versions = [ours.version(), ours.version()]
    theirs.write("INSERT INTO tokens VALUES ('a', x'00', 'reader', 1, NULL, NULL)")
    versions += [ours.version(), ours.version()]
    ours.write("DELETE FROM tokens")
    versions += [ours.version(), ours.version()]
    assert [version == other for version, other in zip(versions[::2], versions[1::2], strict=True)] == [True] * 3
    assert len(set(versions)) == 3


def test_a_copy_is_of_one_moment_while_others_write(tmp_path: Path) -> None:
    """What was committed is in it, what was not is not, and it needs no file beside it."""
    source, target = tmp_path / "a.db", tmp_path / "b.db"
    writer = sqlite3.connect(source, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("CREATE TABLE numbers (number)")
    writer.execute("INSERT INTO numbers VALUES (1)")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("INSERT INTO numbers VALUES (2)")
    copy_database(source, target)
    writer.execute("COMMIT")
    copied = sqlite3.connect(target)
    assert copied.execute("SELECT number FROM numbers").fetchall() == [(1,)]
    copied.close()
    writer.close()
    assert check_integrity(target) == ""
    assert target.stat().st_mode & 0o777 == 0o600
    assert not target.with_name("b.db-wal").exists()


def test_a_damaged_file_is_told_from_a_sound_one(tmp_path: Path) -> None:
    """By SQLite's own check."""
    path = tmp_path / "onhook.db"
    SqliteDatabase(path).close()
    assert check_integrity(path) == ""
    path.write_bytes(b"\xff" * path.stat().st_size)
    assert "not a database" in check_integrity(path)
    assert check_integrity(tmp_path / "missing.db")


FOREIGN = {
    "a table": "CREATE TABLE theirs (a)",
    "a form": "PRAGMA user_version = 1",
    "another program": "PRAGMA application_id = 7",
}


@pytest.mark.parametrize("statement", FOREIGN.values(), ids=FOREIGN.keys())
def test_the_database_of_another_program_is_left_alone(tmp_path: Path, statement: str) -> None:
    """Not a byte of it changes."""
    path = tmp_path / "onhook.db"
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(UsageError, match="not our settings"):
        SqliteDatabase(path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["onhook.db"]


def test_a_new_file_is_known_as_ours(tmp_path: Path) -> None:
    """An empty one becomes ours, and is opened again."""
    path = tmp_path / "onhook.db"
    path.touch()
    SqliteDatabase(path).close()
    database = SqliteDatabase(path)
    assert database.rows("PRAGMA application_id") == [(APPLICATION_ID,)]
    database.close()


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Neither its name nor a part; one sentence."""
    with pytest.raises(Unavailable, match="cannot copy"):
        copy_database(tmp_path / "missing.db", tmp_path / "b.db")
    with pytest.raises(Unavailable, match="cannot copy"):
        copy_database(tmp_path / "missing.db", tmp_path / "nowhere" / "b.db")
    assert list(tmp_path.iterdir()) == []


def _write_and_fail(database: SqliteDatabase) -> None:
    with database.transaction():
        database.write("INSERT INTO tokens VALUES ('a', x'00', 'reader', 1, NULL, NULL)")
        _ = 1 / 0
