"""Numbered, named SQL files: the steps that bring a database file to the newest schema.

A step is one file `0007_name.sql` in a package's folder `migrations/`, or in the folder of an engine inside it. Its
number is the schema version that it leads to. A step that was released is never edited; a new one is added after it.
"""

import sqlite3
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple


class Migration(NamedTuple):
    """One step: the version that it leads to, its name, and its statements in order."""

    version: int
    name: str
    statements: tuple[str, ...]


@cache
def load_migrations(package: str, engine: str = "") -> tuple[Migration, ...]:
    """Return the steps of a package such as `onhook.ledger`, in order; none where the baseline is the newest version.
    Their numbers follow each other.

    A package with several engines has a folder for each: `engine` names it.
    """
    folder = files(package).joinpath("migrations", engine)
    migrations = tuple(_load(file) for file in sorted(folder.iterdir(), key=lambda file: file.name) if _is_step(file))
    versions = [migration.version for migration in migrations]
    assert versions == list(range(min(versions, default=0), min(versions, default=0) + len(versions))), (
        f"{package} has gaps in its migrations"
    )
    return migrations


@cache
def load_baseline(package: str, engine: str) -> Migration:
    """Return the statements with which a new file begins, instead of the steps up to that version: the only file in the
    folder `baseline` of the engine. A newer one may replace it, with the schema that the steps lead to.
    """
    (file,) = (file for file in files(package).joinpath("migrations", engine, "baseline").iterdir() if _is_step(file))
    return _load(file)


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


def _is_step(file: Traversable) -> bool:
    return file.name.endswith(".sql")


def _load(file: Traversable) -> Migration:
    number, _, title = file.name.removesuffix(".sql").partition("_")
    return Migration(version=int(number), name=title, statements=tuple(split_statements(file.read_text("utf-8"))))
