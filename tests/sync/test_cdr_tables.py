"""Tables of CDRs are read a page at a time, each row once, by whatever columns they have."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from onhook.lib.errors import Unavailable, UsageError
from onhook.sync.cdr_tables import CdrTable, read_table_rows

COLUMNS = frozenset({"calldate", "uniqueid", "linkedid", "sequence", "channel"})
ROWS = [(f"2026-11-24 10:00:{second:02}", f"1.{second}", part) for second in range(10) for part in range(3)]


def table_of(folder: Path, rows: Sequence[tuple[str, str, int]] = ROWS, *, more: str = "sequence INTEGER") -> CdrTable:
    """A SQLite table with a row for each moment, id and sequence, in no order."""
    with closing(sqlite3.connect(folder / "master.db")) as database, database:
        database.execute(f"CREATE TABLE cdr (CallDate TEXT, uniqueid TEXT, channel TEXT, {more})")
        shuffled = sorted(rows, key=lambda row: (row[2], row[1]))
        database.executemany(
            "INSERT INTO cdr VALUES (?, ?, ?, ?)",
            [(at, name, f"PJSIP/{part}", part) for at, name, part in shuffled],
        )
    return CdrTable(location=str(folder / "master.db"), name="cdr")


def read(table: CdrTable, page_rows: int = 4, **bounds: str) -> list[tuple[str, str, str]]:
    found = read_table_rows(table, COLUMNS, page_rows=page_rows, **bounds)
    return [(row["calldate"], row["uniqueid"], row["channel"].removeprefix("PJSIP/")) for row in found]


@pytest.mark.parametrize("page_rows", [4, 5, 7, 29, 30, 31, 1000])
@pytest.mark.parametrize("more", ["sequence INTEGER", "userfield TEXT"])
def test_each_row_comes_once_and_in_order(tmp_path: Path, page_rows: int, more: str) -> None:
    """Wherever a page ends, with and without a sequence, and whatever the case of the columns."""
    found = read(table_of(tmp_path, more=more), page_rows)
    assert sorted(found) == [(at, name, str(part)) for at, name, part in ROWS]
    assert [row[:2] for row in found] == sorted(row[:2] for row in found)


def test_a_stretch_is_read_and_the_first_row_before_it(tmp_path: Path) -> None:
    """The first row says since when the table has calls at all."""
    found = read(table_of(tmp_path), since="2026-11-24 10:00:03", until="2026-11-24 10:00:05")
    assert found[0] == ("2026-11-24 10:00:00", "1.0", "0")
    assert [row[0][-2:] for row in found[1:]] == ["03"] * 3 + ["04"] * 3


def test_rows_without_an_id_are_read_too(tmp_path: Path) -> None:
    """They come as they are: what cannot be read of them is said later, with the row."""
    with closing(sqlite3.connect(tmp_path / "master.db")) as database, database:
        database.execute("CREATE TABLE cdr (calldate TEXT, uniqueid TEXT)")
        database.executemany("INSERT INTO cdr VALUES (?, ?)", [("2026-11-24 10:00:00", None), (ROWS[0][0], "1.1")] * 4)
    rows = list(read_table_rows(CdrTable(location=str(tmp_path / "master.db"), name="cdr"), COLUMNS, page_rows=20))
    assert len(rows) == 8


@pytest.mark.parametrize(
    ("columns", "name", "says"),
    [
        ("calldate TEXT, uniqueid TEXT", "calls", "'calls' cannot be read: no such table"),
        ("began TEXT, uniqueid TEXT", "cdr", "no column calldate or start"),
        ("calldate TEXT, number TEXT", "cdr", "no column uniqueid or linkedid"),
    ],
)
def test_what_a_table_lacks_is_told(tmp_path: Path, columns: str, name: str, says: str) -> None:
    """By name, with where it is."""
    with closing(sqlite3.connect(tmp_path / "master.db")) as database, database:
        database.execute(f"CREATE TABLE cdr ({columns})")
    with pytest.raises(UsageError, match=says):
        list(read_table_rows(CdrTable(location=str(tmp_path / "master.db"), name=name), COLUMNS))


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_a_database_that_is_not_there_is_told_without_its_password(engine: str) -> None:
    """Another try may help; the address is said."""
    table = CdrTable(location=f"{engine}://asterisk@127.0.0.1:1/asteriskcdrdb", name="cdr", password="correct-horse")
    with pytest.raises(Unavailable, match="cannot read the CDR source") as told:
        list(read_table_rows(table, COLUMNS))
    assert "correct-horse" not in f"{told.value} {table!r}"


def test_more_rows_of_one_moment_than_a_page_are_told(tmp_path: Path) -> None:
    """Instead of reading the same page for ever."""
    rows = [("2026-11-24 10:00:00", "1.1", 1)] * 9
    with pytest.raises(UsageError, match="share one time and id"):
        read(table_of(tmp_path, rows), 4)
