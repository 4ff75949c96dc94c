"""A search as an XLSX workbook. Numbers of people stay texts; nothing in it is a formula or a link."""

import tempfile
from collections.abc import AsyncGenerator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import xlsxwriter

from onhook.cdr.csv_injection import harmless
from onhook.lib.errors import UsageError
from onhook.store.connections import Database
from onhook.store.export.csv import moments
from onhook.store.queries.conditions import Condition
from onhook.store.queries.zones import Offset
from onhook.store.rows import Row
from onhook.store.schema import RECORD_COLUMNS, expression

SHEET_ROWS_MAX = 1_048_575
"""Besides the line of names: what a sheet of XLSX can hold."""

SHEETS_MAX = 5
"""More than five million rows open in no spreadsheet that we know."""

PIECE_BYTES_MAX = 256 * 1024

CELL_CHARACTERS_MAX = 32_767
"""Excel's; XlsxWriter would cut without a word."""

CUT = " … cut: a cell holds no more; CSV and JSON lines have all of it"


def check(view: duckdb.DuckDBPyConnection, condition: Condition) -> None:
    """Raises `UsageError` for more records than a workbook holds, before anything is sent."""
    ((records,),) = view.execute(f"SELECT count(*) FROM legs WHERE {condition.sql}", condition.values).fetchall()
    if records > SHEETS_MAX * SHEET_ROWS_MAX:
        raise UsageError(
            f"a workbook holds {SHEETS_MAX * SHEET_ROWS_MAX} records at most, and these are {records}",
            todo="ask for less, or for CSV",
        )


async def pieces(
    database: Database, view: duckdb.DuckDBPyConnection, conditions: Sequence[Condition], known: Sequence[Offset]
) -> AsyncGenerator[bytes, None]:
    """The file; `conditions` are its stretches of time in order, moments are by the offsets of a zone."""
    with tempfile.TemporaryDirectory(prefix="onhook-xlsx-") as directory:
        path = Path(directory) / "records.xlsx"
        await database.in_thread(partial(_write, path, view, conditions, known), view)
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES_MAX):
                yield piece


def _write(
    path: Path, view: duckdb.DuckDBPyConnection, conditions: Sequence[Condition], known: Sequence[Offset]
) -> None:
    book = xlsxwriter.Workbook(str(path), {"constant_memory": True, "tmpdir": str(path.parent)})
    try:
        _fill(book, _rows(view, conditions, known))
    except BaseException:
        for sheet in book.worksheets():
            sheet.row_data_fh.close()
        raise
    book.close()


def _fill(book: Any, rows: Iterator[Row]) -> None:
    # Excel takes a text in such a cell for a text even after somebody edited it.
    marked = book.add_format({"quote_prefix": True})
    sheet, line = _sheet(book), 0
    for row in rows:
        if line == SHEET_ROWS_MAX:
            sheet, line = _sheet(book), 0
        line += 1
        for place, value in enumerate(row):
            if isinstance(value, int):
                sheet.write_number(line, place, value)
            elif value:
                is_odd = value[0] == "+" or harmless(value) != value
                sheet.write_string(line, place, _fitting(value), marked if is_odd else None)


def _fitting(text: str) -> str:
    """As much as a cell holds, saying so where that is not all."""
    return text if len(text) <= CELL_CHARACTERS_MAX else text[: CELL_CHARACTERS_MAX - len(CUT)] + CUT


def _sheet(book: Any) -> Any:
    """The next sheet, with the names of the columns."""
    sheet = book.add_worksheet()
    for place, name in enumerate(RECORD_COLUMNS):
        sheet.write_string(0, place, name)
    return sheet


def _rows(view: duckdb.DuckDBPyConnection, conditions: Sequence[Condition], known: Sequence[Offset]) -> Iterator[Row]:
    texts = moments(known)
    columns = ", ".join(f"{texts.get(name) or expression(name)} AS {name}_" for name in RECORD_COLUMNS)
    for condition in conditions:
        yield from view.execute(
            f"SELECT {columns} FROM legs WHERE {condition.sql} ORDER BY started_at, sn, call_id, place",
            condition.values,
        ).fetchall()
