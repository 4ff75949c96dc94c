"""What a PBX keeps itself, read as it lies there: lines of a file, or rows of a table in a SQLite file.

Laws: what is read is not changed; no more than a line or a page of rows is held.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from onhook.errors import NotFound, Unavailable, UsageError

LINE_CHARACTERS_MAX = 64 * 1024
"""A CDR has some 400; a longer line is cut, and then no CDR."""

BUSY_SECONDS = 10.0
"""How long to wait for the PBX, which writes the same file."""

_SQLITE_BEGIN = b"SQLite format 3\x00"


def is_table_file(path: Path) -> bool:
    """Whether it is a SQLite file. Raises `NotFound`, `Unavailable`."""
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE_BEGIN)) == _SQLITE_BEGIN
    except FileNotFoundError:
        raise NotFound(
            "there is no such file", where=str(path), todo="name the file in which the PBX keeps CDRs"
        ) from None
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a text file; bytes that are no UTF-8 are shown as such. Raises `Unavailable`."""
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            while line := file.readline(LINE_CHARACTERS_MAX):
                yield line
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error


def rows_of_table(path: Path, table: str) -> Iterator[Mapping[str, Any]]:
    """The rows of a table, in the order in which they were written. Raises `UsageError`, `Unavailable`."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=BUSY_SECONDS, uri=True)
        try:
            connection.row_factory = sqlite3.Row
            names = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            if table not in names:
                raise UsageError(
                    f"there is no table {table!r}", where=str(path), todo=f"name one of {', '.join(names)} with --table"
                )
            # The name is one of those that the file itself has just told.
            quoted = table.replace('"', '""')
            for row in connection.execute(f'SELECT * FROM "{quoted}" ORDER BY rowid'):  # noqa: S608 - a name, not a value
                yield dict(zip(row.keys(), row, strict=True))
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, why: str) -> Unavailable:
    return Unavailable(f"cannot read what the PBX keeps: {why}", where=str(path), todo="look at the rights of the file")
