"""The copy of an application database to PostgreSQL."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from onhook.appdb import move
from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.move import copy_to_postgresql
from onhook.appdb.postgresql import PostgresqlDatabase
from onhook.appdb.sqlite import SqliteDatabase
from onhook.lib.errors import OnhookError, UsageError
from tests.appdb.conftest import CreateDatabase

AT = 1_782_844_637_000_000

pytestmark = pytest.mark.slow


async def fill(path: Path) -> None:
    """Make rows in several tables, with every type of value; the last of the saved searches is removed again."""
    async with AppDb(path) as appdb:
        await appdb.add_pbx(name="Büro", sn="3631A2128E66", secret="0123456789abcdef", now_us=AT)
        await appdb.tokens.add("wall", "reader", now_us=AT)
        await appdb.notes.write("3631A2128E66", "1.1", "Zurückrufen ☎", "vip", author="Alice", now_us=AT)
        for name in ("first", "last"):
            await appdb.saved_searches.add(name, "/calls", author="Alice")
        await appdb.saved_searches.remove(2)


async def test_copy_has_all_rows_and_goes_on_with_the_numbers(create_database: CreateDatabase, tmp_path: Path) -> None:
    path, url = tmp_path / "onhook.db", create_database()
    await fill(path)
    tables = {table.name: table for table in await copy_to_postgresql(path, url)}
    assert {name: table.rows for name, table in tables.items() if table.rows} == {
        "pbxs": 1,
        "secrets": 1,
        "secret_owners": 1,
        "tokens": 1,
        "notes": 1,
        "saved_searches": 1,
        "audit": tables["audit"].rows,
    }
    async with AppDb(path) as source, AppDb(PostgresqlDatabase(url)) as target:
        assert await target.pbxs() == await source.pbxs()
        assert await target.audit.latest(100) == await source.audit.latest(100)
        assert await target.notes.history("3631A2128E66", "1.1") == await source.notes.history("3631A2128E66", "1.1")
        await target.saved_searches.add("next", "/calls", author="Alice")
        assert [search.search_id for search in await target.saved_searches.all()] == [1, 3]


async def test_copy_has_each_row_once_of_tables_that_are_read_in_parts(
    create_database: CreateDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the number of a row, and by the key of a table whose rows have no number."""
    monkeypatch.setattr(move, "ROWS_AT_ONCE", 2)
    path, url = tmp_path / "onhook.db", create_database()
    async with AppDb(path) as appdb:
        for name in ("crm", "bi"):
            spec = DestinationSpec(url="http://a.example/")
            await appdb.destinations.add(name, spec, None, after=0, now_us=AT)
    rows = [(destination_id, quarter, quarter, 0) for destination_id in (1, 2) for quarter in (-1, 3, 5)]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executemany("INSERT INTO attempt_counts VALUES (?, ?, ?, ?)", rows)
        connection.executemany("INSERT INTO stores VALUES (?, 1, ?)", [(f"hub{n}", AT) for n in range(5)])
    tables = {table.name: table for table in await copy_to_postgresql(path, url)}
    assert (tables["attempt_counts"].rows, tables["stores"].rows) == (6, 5)
    database = PostgresqlDatabase(url)
    assert await database.rows("SELECT * FROM attempt_counts ORDER BY destination_id, quarter") == rows
    await database.close()


async def test_copy_to_a_database_with_rows_is_refused(create_database: CreateDatabase, tmp_path: Path) -> None:
    path, url = tmp_path / "onhook.db", create_database()
    await fill(path)
    tables = await copy_to_postgresql(path, url)
    assert await copy_to_postgresql(path, url) == tables  # it has these rows already
    async with AppDb(PostgresqlDatabase(url)) as target:
        await target.notes.write("3631A2128E66", "1.2", "", "vip", author="Alice", now_us=AT)
    with pytest.raises(UsageError, match="the database is not empty"):
        await copy_to_postgresql(path, url)


async def test_copy_keeps_writers_from_the_file(
    create_database: CreateDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a command wrote meanwhile would be in the file that is set aside, and nowhere else."""
    path, copy_numbers, errors = tmp_path / "onhook.db", move._copy_numbers, []
    await fill(path)

    async def write_before(source: SqliteDatabase, target: PostgresqlDatabase) -> None:
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
            try:
                connection.execute("DELETE FROM notes")
            except sqlite3.OperationalError as error:
                errors.append(str(error))
        await copy_numbers(source, target)

    monkeypatch.setattr(move, "_copy_numbers", write_before)
    await copy_to_postgresql(path, create_database())
    assert errors == ["database is locked"]


async def test_copy_of_a_damaged_text_is_refused_and_leaves_nothing(
    create_database: CreateDatabase, tmp_path: Path
) -> None:
    path, url = tmp_path / "onhook.db", create_database()
    await fill(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE notes SET author = CAST(x'ff' AS TEXT)")
    with pytest.raises(OnhookError, match="row 1 of notes has a text that PostgreSQL cannot store"):
        await copy_to_postgresql(path, url)
    async with AppDb(PostgresqlDatabase(url)) as target:
        assert await target.pbxs() == []
