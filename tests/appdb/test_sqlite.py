"""The file of the application database, and copies of SQLite files."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.sqlite import SqliteDatabase
from onhook.appdb.sqlite_file import APPLICATION_ID, check_integrity, copy_database, open_writer
from onhook.lib.errors import Unavailable, UsageError


def test_copy_database_is_consistent_while_others_write(tmp_path: Path) -> None:
    """Committed rows are in it, others are not, and it needs no file beside it."""
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


async def test_close_leaves_all_in_one_file(tmp_path: Path) -> None:
    """Also after reads, whose connections may not write."""
    async with AppDb(tmp_path / "onhook.db") as appdb:
        await appdb.add_pbx(name="Office", sn="3631A2124ABC", secret="0" * 32, now_us=1)
        await appdb.pbxs()
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["onhook.db"]
    assert check_integrity(tmp_path / "onhook.db") == ""


async def test_check_integrity_detects_damage(tmp_path: Path) -> None:
    path = tmp_path / "onhook.db"
    await open_and_close(path)
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
async def test_open_database_of_another_program_is_left_alone(tmp_path: Path, statement: str) -> None:
    """Not a byte of it changes."""
    path = tmp_path / "onhook.db"
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(UsageError, match="database of another program"):
        await SqliteDatabase(path).open()
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["onhook.db"]


async def test_open_new_file_is_identified(tmp_path: Path) -> None:
    """An empty file becomes Onhook's, and is opened again."""
    path = tmp_path / "onhook.db"
    path.touch()
    await open_and_close(path)
    database = SqliteDatabase(path)
    assert await database.rows("PRAGMA application_id") == [(APPLICATION_ID,)]
    await database.close()


def test_open_new_file_waits_for_another_process_that_opens_it(tmp_path: Path) -> None:
    """SQLite does not wait by itself for the lock with which the mode of a file is set."""
    path = tmp_path / "onhook.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other, ThreadPoolExecutor(1) as executor:
        other.execute("BEGIN IMMEDIATE")
        other.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        opening = executor.submit(open_writer, path)
        with pytest.raises(TimeoutError):
            opening.result(0.2)
        other.execute("COMMIT")
        opening.result().close()


def test_copy_database_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Neither its name nor a part."""
    with pytest.raises(Unavailable, match="cannot copy"):
        copy_database(tmp_path / "missing.db", tmp_path / "b.db")
    with pytest.raises(Unavailable, match="cannot copy"):
        copy_database(tmp_path / "missing.db", tmp_path / "nowhere" / "b.db")
    assert list(tmp_path.iterdir()) == []


async def open_and_close(path: Path) -> None:
    database = SqliteDatabase(path)
    await database.open()
    await database.close()


async def test_overwrite_deleted_no_bytes_are_left_in_the_files(tmp_path: Path) -> None:
    """Nor in the audit log, where the change was left out of it."""
    async with AppDb(tmp_path / "onhook.db") as appdb:
        await appdb.saved_searches.add("First", "/calls?q=030901820", author="Eve")
        assert find_bytes(tmp_path, b"030901820")
        rows = await appdb.erasures.find(lambda text: "030901820" in text, [])
        assert (len(rows.saved_searches), len(rows.audit)) == (1, 1)
        await appdb.erasures.erase([], rows)
        await appdb.erasures.overwrite_deleted()
        assert not find_bytes(tmp_path, b"030901820")
        assert [entry.action for entry in await appdb.audit.latest(10)] == ["add (erased)"]


def find_bytes(directory: Path, text: bytes) -> list[str]:
    return [path.name for path in directory.iterdir() if path.is_file() and text in path.read_bytes()]
