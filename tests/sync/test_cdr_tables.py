"""CDR tables, read a page at a time, each row once, with different columns."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from onhook.lib.errors import Unavailable, UsageError
from onhook.pbx.asterisk.call import CUSTOM_COLUMN_CHARACTERS_MAX, CUSTOM_COLUMNS_MAX
from onhook.sync.cdr_tables import CdrTable, read_table_rows

COLUMNS = frozenset({"calldate", "uniqueid", "linkedid", "sequence", "channel"})
ROWS = [(f"2026-11-24 10:00:{second:02}", f"1.{second}", part) for second in range(10) for part in range(3)]


def table_of(folder: Path, rows: Sequence[tuple[str, str, int]] = ROWS, *, more: str = "sequence INTEGER") -> CdrTable:
    """Return a SQLite table with a row for each time, id and sequence, in no order."""
    with closing(sqlite3.connect(folder / "master.db")) as database, database:
        database.execute(f"CREATE TABLE cdr (CallDate TEXT, uniqueid TEXT, channel TEXT, {more})")
        shuffled = sorted(rows, key=lambda row: (row[2], row[1]))
        database.executemany(
            "INSERT INTO cdr VALUES (?, ?, ?, ?)",
            [(started_at, name, f"PJSIP/{part}", part) for started_at, name, part in shuffled],
        )
    return CdrTable(location=str(folder / "master.db"), name="cdr")


def read(table: CdrTable, page_rows: int = 4, **bounds: str) -> list[tuple[str, str, str]]:
    rows = read_table_rows(table, COLUMNS, page_rows=page_rows, **bounds)
    return [(row["calldate"], row["uniqueid"], row["channel"].removeprefix("PJSIP/")) for row in rows]


@pytest.mark.parametrize("page_rows", [4, 5, 7, 29, 30, 31, 1000])
@pytest.mark.parametrize("more", ["sequence INTEGER", "userfield TEXT"])
def test_read_table_rows_each_row_once_and_in_order(tmp_path: Path, page_rows: int, more: str) -> None:
    """Wherever a page ends, with and without a sequence, and whatever the case of the columns."""
    rows = read(table_of(tmp_path, more=more), page_rows)
    assert sorted(rows) == [(started_at, name, str(part)) for started_at, name, part in ROWS]
    assert [row[:2] for row in rows] == sorted(row[:2] for row in rows)


def test_read_table_rows_window_includes_the_first_row_of_the_table(tmp_path: Path) -> None:
    """The first row says since when the table has calls."""
    rows = read(table_of(tmp_path), since="2026-11-24 10:00:03", until="2026-11-24 10:00:05")
    assert rows[0] == ("2026-11-24 10:00:00", "1.0", "0")
    assert [row[0][-2:] for row in rows[1:]] == ["03"] * 3 + ["04"] * 3


def test_read_table_rows_has_the_columns_of_the_operator(tmp_path: Path) -> None:
    """Bounded in number and length; numbers of rows are left out."""
    table = table_of(tmp_path)
    names = ("id", "Team", *(f"column{number}" for number in range(CUSTOM_COLUMNS_MAX + 5)))
    with closing(sqlite3.connect(table.location)) as database, database:
        for name in names:
            database.execute(f"ALTER TABLE cdr ADD COLUMN {name} TEXT DEFAULT '{300 * 'x'}'")
    row = next(iter(read_table_rows(table, COLUMNS)))
    added = {name: value for name, value in row.items() if name not in COLUMNS}
    assert len(added) == CUSTOM_COLUMNS_MAX
    assert "id" not in added
    assert set(added.values()) == {CUSTOM_COLUMN_CHARACTERS_MAX * "x"}


def test_read_table_rows_with_few_columns_has_all_of_them(tmp_path: Path) -> None:
    table = table_of(tmp_path)
    with closing(sqlite3.connect(table.location)) as database, database:
        database.execute("ALTER TABLE cdr ADD COLUMN Team TEXT DEFAULT 'red'")
    assert {row["team"] for row in read_table_rows(table, COLUMNS)} == {"red"}


def test_read_table_rows_without_an_id_are_included(tmp_path: Path) -> None:
    """The projector reports what is missing."""
    with closing(sqlite3.connect(tmp_path / "master.db")) as database, database:
        database.execute("CREATE TABLE cdr (calldate TEXT, uniqueid TEXT)")
        database.executemany("INSERT INTO cdr VALUES (?, ?)", [("2026-11-24 10:00:00", None), (ROWS[0][0], "1.1")] * 4)
    rows = list(read_table_rows(CdrTable(location=str(tmp_path / "master.db"), name="cdr"), COLUMNS, page_rows=20))
    assert len(rows) == 8


@pytest.mark.parametrize(
    ("columns", "name", "expected_text"),
    [
        ("calldate TEXT, uniqueid TEXT", "calls", "'calls' cannot be read: no such table"),
        ("began TEXT, uniqueid TEXT", "cdr", "no column calldate / start"),
        ("calldate TEXT, number TEXT", "cdr", "no column uniqueid / linkedid"),
    ],
)
def test_read_table_rows_missing_column_is_named(tmp_path: Path, columns: str, name: str, expected_text: str) -> None:
    with closing(sqlite3.connect(tmp_path / "master.db")) as database, database:
        database.execute(f"CREATE TABLE cdr ({columns})")
    with pytest.raises(UsageError, match=expected_text):
        list(read_table_rows(CdrTable(location=str(tmp_path / "master.db"), name=name), COLUMNS))


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_read_table_rows_unreachable_database_error_shows_no_password(engine: str) -> None:
    """The error is temporary and names the address."""
    table = CdrTable(location=f"{engine}://asterisk@127.0.0.1:1/asteriskcdrdb", name="cdr", password="correct-horse")
    with pytest.raises(Unavailable, match="cannot read the CDR source") as error_info:
        list(read_table_rows(table, COLUMNS))
    assert "correct-horse" not in f"{error_info.value} {table!r}"


def test_read_table_rows_too_many_of_one_time_is_an_error(tmp_path: Path) -> None:
    """Instead of reading the same page for ever."""
    rows = [("2026-11-24 10:00:00", "1.1", 1)] * 9
    with pytest.raises(UsageError, match="have the same time and id"):
        read(table_of(tmp_path, rows), 4)
