"""Numbered, named SQL files: the steps that bring a database file to the newest schema.

A step is one file `0007_name.sql` in a package's folder `migrations/`; its number is the schema version that it leads
to. A step that was released is never edited; a new one is added after it.
"""

import sqlite3
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import NamedTuple


class Migration(NamedTuple):
    """One step: the version that it leads to, its name, and its statements in order."""

    version: int
    name: str
    statements: tuple[str, ...]


@cache
def load_migrations(package: str) -> tuple[Migration, ...]:
    """Return the steps of a package such as `onhook.appdb`, in order. Their numbers follow each other."""
    steps = sorted(file.name for file in files(package).joinpath("migrations").iterdir() if file.name.endswith(".sql"))
    migrations = tuple(_load(package, name) for name in steps)
    versions = [migration.version for migration in migrations]
    assert versions == list(range(versions[0], versions[0] + len(versions))), f"{package} has gaps in its migrations"
    return migrations


def split_statements(script: str) -> Iterator[str]:
    """Yield the statements of an SQL script; semicolons in texts, comments and triggers do not end one.

    >>> list(split_statements("SELECT ';'; SELECT 2;"))
    ["SELECT ';';", 'SELECT 2;']
    """
    statement = ""
    for part in script.split(";")[:-1]:
        statement += part + ";"
        if sqlite3.complete_statement(statement):
            yield statement.strip()
            statement = ""
    rest = (statement + script.rsplit(";", 1)[-1]).strip()
    assert not rest, f"a statement lacks its semicolon: {rest[:80]}"


def _load(package: str, name: str) -> Migration:
    number, _, title = name.removesuffix(".sql").partition("_")
    script = files(package).joinpath("migrations", name).read_text("utf-8")
    return Migration(version=int(number), name=title, statements=tuple(split_statements(script)))
