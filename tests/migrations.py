"""SQLite files of earlier versions, and checks of their upgrade."""

import re
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onhook.lib.migrations import load_migrations

Row = Mapping[str, Any]
RowsByStep = Mapping[int, Mapping[str, Sequence[Row]]]
"""Rows by table, under the migration after which they are inserted."""


def create_old_file(
    path: Path, package: str, version: int, application_id: int, rows: RowsByStep, *, engine: str = ""
) -> None:
    """Create a file of an earlier schema version, with the rows of each step up to it."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("BEGIN")
    connection.execute(f"PRAGMA application_id = {application_id}")
    for migration in load_migrations(package, engine)[:version]:
        for statement in migration.statements:
            connection.execute(statement)
        for table, table_rows in rows.get(migration.version, {}).items():
            for row in table_rows:
                insert_row(connection, table, row)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.execute("COMMIT")
    connection.close()


def insert_row(connection: sqlite3.Connection, table: str, row: Row) -> None:
    placeholders = ", ".join("?" for _ in row)
    connection.execute((f"INSERT INTO {table} ({', '.join(row)}) VALUES ({placeholders})"), list(row.values()))  # noqa: S608 - constants of the test


def assert_sound(path: Path, version: int) -> None:
    """Check the version, the references and the structure of a file."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA user_version").fetchone() == (version,)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()


def read_schema(path: Path) -> set[tuple[str, str, str, tuple[Any, ...]]]:
    """Return tables and indexes, each with the statement that makes it, without spaces and quotes, and its columns."""
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_schema").fetchall()
        return {
            (
                kind,
                name,
                re.sub(r'[\s"]+', "", statement),
                tuple(connection.execute(f"PRAGMA {kind}_xinfo({name})").fetchall()),
            )
            for kind, name, statement in rows
        }
    finally:
        connection.close()


def read_rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return all rows by table."""
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    try:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")] for name in tables}  # noqa: S608
    finally:
        connection.close()
