"""A search as an XLSX workbook. Telephone numbers stay texts; it contains no formulas and no links."""

import importlib
import tempfile
from collections.abc import AsyncGenerator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from onhook.cdr.csv_injection import escape_formula
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.store.connections import DuckDbDatabase
from onhook.store.export.csv import time_expressions
from onhook.store.export.leg_source import ROW_ORDER, LegSource
from onhook.store.queries.conditions import SqlCondition
from onhook.store.queries.zones import ZoneOffset
from onhook.store.rows import Row
from onhook.store.schema import RECORD_COLUMNS, column_expression

SHEET_ROWS_MAX = 1_048_575
"""Maximum rows of an XLSX sheet, without the header."""

SHEETS_MAX = 5
"""No known spreadsheet program opens more than five million rows."""

CHUNK_BYTES_MAX = 256 * 1024

CELL_CHARACTERS_MAX = 32_767
"""Excel's limit; XlsxWriter would truncate without a warning."""

TRUNCATION_NOTE = " … truncated: the cell is full; CSV and JSON lines have the whole text"


def check_size(snapshot: duckdb.DuckDBPyConnection, condition: SqlCondition) -> None:
    """Raise `UsageError` for more records than a workbook can hold, before anything is sent."""
    ((records,),) = snapshot.execute(f"SELECT count(*) FROM legs WHERE {condition.sql}", condition.values).fetchall()
    if records > SHEETS_MAX * SHEET_ROWS_MAX:
        raise UsageError(
            _(
                "a workbook holds at most {limit} records; this search has {records}",
                limit=SHEETS_MAX * SHEET_ROWS_MAX,
                records=records,
            ),
            hint=_("narrow the search, or export CSV"),
        )


async def workbook_chunks(
    database: DuckDbDatabase,
    snapshot: duckdb.DuckDBPyConnection,
    sources: Sequence[LegSource],
    zone_offsets: Sequence[ZoneOffset],
) -> AsyncGenerator[bytes, None]:
    """Yield the file; `sources` are its time ranges in order, times are by the offsets of a zone."""
    with tempfile.TemporaryDirectory(prefix="onhook-xlsx-") as directory:
        path = Path(directory) / "records.xlsx"
        await database.run_in_thread(partial(_write, path, snapshot, sources, zone_offsets), snapshot)
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES_MAX):
                yield chunk


def _write(
    path: Path,
    snapshot: duckdb.DuckDBPyConnection,
    sources: Sequence[LegSource],
    zone_offsets: Sequence[ZoneOffset],
) -> None:
    # Loaded by the first such export: it is large, and most installations make none.
    options = {"constant_memory": True, "tmpdir": str(path.parent)}
    workbook = importlib.import_module("xlsxwriter").Workbook(str(path), options)
    try:
        columns = sources[0].columns if sources else RECORD_COLUMNS
        _write_rows(workbook, columns, _read_rows(snapshot, sources, zone_offsets))
    except BaseException:
        for sheet in workbook.worksheets():
            sheet.row_data_fh.close()
        raise
    workbook.close()


def _write_rows(workbook: Any, columns: Sequence[str], rows: Iterator[Row]) -> None:
    # Excel keeps a text in such a cell as a text even after an edit.
    text_format = workbook.add_format({"quote_prefix": True})
    sheet, row_index = _add_sheet(workbook, columns), 0
    for row in rows:
        if row_index == SHEET_ROWS_MAX:
            sheet, row_index = _add_sheet(workbook, columns), 0
        row_index += 1
        for column_index, value in enumerate(row):
            if isinstance(value, int):
                sheet.write_number(row_index, column_index, value)
            elif value:
                needs_text_format = value[0] == "+" or escape_formula(value) != value
                sheet.write_string(
                    row_index, column_index, _truncate(value), text_format if needs_text_format else None
                )


def _truncate(text: str) -> str:
    """Truncate a text to what a cell holds, with a note."""
    return (
        text
        if len(text) <= CELL_CHARACTERS_MAX
        else text[: CELL_CHARACTERS_MAX - len(TRUNCATION_NOTE)] + TRUNCATION_NOTE
    )


def _add_sheet(workbook: Any, columns: Sequence[str]) -> Any:
    """Add a sheet with the column names."""
    sheet = workbook.add_worksheet()
    for column_index, name in enumerate(columns):
        sheet.write_string(0, column_index, name)
    return sheet


def _read_rows(
    snapshot: duckdb.DuckDBPyConnection, sources: Sequence[LegSource], zone_offsets: Sequence[ZoneOffset]
) -> Iterator[Row]:
    time_columns = time_expressions(zone_offsets)
    for source in sources:
        columns = ", ".join(
            f"{time_columns.get(name) or column_expression(name)} AS {name}_" for name in source.columns
        )
        yield from snapshot.execute(
            f"SELECT {source.adapt(columns)} FROM {source.rows_sql} ORDER BY {ROW_ORDER}",
            source.values,
        ).fetchall()
