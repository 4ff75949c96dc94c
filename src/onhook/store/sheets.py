"""A search as an XLSX workbook. Numbers of people stay texts; nothing in it is a formula or a link."""

import tempfile
from collections.abc import AsyncGenerator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import xlsxwriter

from onhook.cdr.cells import harmless
from onhook.errors import UsageError
from onhook.store.conditions import Condition
from onhook.store.csv_lines import moments
from onhook.store.database import Database
from onhook.store.schema import RECORD_COLUMNS, expression
from onhook.store.zones import Offset

SHEET_ROWS_MAX = 1_048_575
"""Besides the line of names: what a sheet of XLSX can hold."""

SHEETS_MAX = 5
"""More than five million rows open in no spreadsheet that we know."""

PIECE_BYTES_MAX = 256 * 1024


async def pieces(
    database: Database, view: duckdb.DuckDBPyConnection, conditions: Sequence[Condition], known: Sequence[Offset]
) -> AsyncGenerator[bytes, None]:
    """The file; `conditions` are its stretches of time in order, moments are by the offsets of a zone."""
    with tempfile.TemporaryDirectory(prefix="onhook-xlsx-", ignore_cleanup_errors=True) as directory:
        path = Path(directory) / "records.xlsx"
        await database.in_thread(partial(_write, path, view, conditions, known))
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES_MAX):
                yield piece


def _write(
    path: Path, view: duckdb.DuckDBPyConnection, conditions: Sequence[Condition], known: Sequence[Offset]
) -> None:
    book = xlsxwriter.Workbook(str(path), {"constant_memory": True, "tmpdir": str(path.parent), "in_memory": False})
    # Excel takes a text in such a cell for a text even after somebody edited it.
    as_text = book.add_format({"quote_prefix": True})
    sheet, line, sheets = _sheet(book), 0, 1
    for row in _rows(view, conditions, known):
        if line == SHEET_ROWS_MAX:
            if sheets == SHEETS_MAX:
                raise UsageError(
                    f"a workbook holds {SHEETS_MAX * SHEET_ROWS_MAX} records at most", todo="ask for less, or for CSV"
                )
            sheet, line, sheets = _sheet(book), 0, sheets + 1
        line += 1
        for place, value in enumerate(row):
            if isinstance(value, int):
                sheet.write_number(line, place, value)
            elif value:
                sheet.write_string(line, place, value, as_text if harmless(value) != value or value[0] == "+" else None)
    book.close()


def _sheet(book: Any) -> Any:
    """The next sheet, with the names of the columns."""
    sheet = book.add_worksheet()
    for place, name in enumerate(RECORD_COLUMNS):
        sheet.write_string(0, place, name)
    return sheet


def _rows(
    view: duckdb.DuckDBPyConnection, conditions: Sequence[Condition], known: Sequence[Offset]
) -> Iterator[tuple[Any, ...]]:
    texts = moments(known)
    columns = ", ".join(f"{texts.get(name) or expression(name)} AS {name}_" for name in RECORD_COLUMNS)
    for condition in conditions:
        yield from view.execute(
            f"SELECT {columns} FROM legs WHERE {condition.sql} ORDER BY started_at, sn, call_id, place",
            condition.values,
        ).fetchall()
