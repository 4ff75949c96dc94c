"""Count of the records in an exported file: of CSV and JSON lines while it is written, of the other formats after that.

Invariant: a line break in a cell is no record.
"""

import re
import zipfile
from pathlib import Path

import duckdb

from onhook.store.contract import ExportFormat

READ_BYTES = 1024 * 1024
"""Bytes of a sheet that are read at once."""

_PATTERN_CHARACTER = re.compile(r"[*?\[]")

_ROW_TAG = b"<row "
_SHEETS = "xl/worksheets/sheet"


class RecordCounter:
    """Counts the records of one export: call `add` with each chunk, and `total` with the complete file."""

    def __init__(self, export_format: ExportFormat) -> None:
        self._format = export_format
        self._line_count = 0
        self._is_quoted = False

    def add(self, chunk: bytes) -> None:
        """Count the lines of a chunk; chunks may end anywhere."""
        if self._format == "jsonl":
            self._line_count += chunk.count(b"\n")
        elif self._format == "csv":
            self._add_csv(chunk)

    def total(self, file: Path) -> int:
        """Return the number of records. Raises `OSError`."""
        match self._format:
            case "parquet":
                return _count_parquet_rows(file)
            case "xlsx":
                return _count_sheet_rows(file)
            case "csv":
                return self._line_count - 1  # The first line has the headings.
            case "jsonl":
                return self._line_count

    def _add_csv(self, chunk: bytes) -> None:
        """Count the line breaks outside of quotation marks; a doubled mark changes the state twice."""
        parts = chunk.split(b'"')
        self._line_count += sum(part.count(b"\n") for part in parts[int(self._is_quoted) :: 2])
        self._is_quoted ^= len(parts) % 2 == 0


def _count_parquet_rows(file: Path) -> int:
    # DuckDB takes a path for a pattern, a leading tilde for the home directory, and a URL for a remote file.
    pattern = _PATTERN_CHARACTER.sub(r"[\g<0>]", str(file.absolute()))
    with duckdb.connect() as connection:
        ((rows,),) = connection.execute("SELECT num_rows FROM parquet_file_metadata(?)", [pattern]).fetchall()
    return int(rows)


def _count_sheet_rows(file: Path) -> int:
    """Return the rows of all sheets without their headings."""
    rows = 0
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            if name.startswith(_SHEETS):
                rows += _count_row_tags(archive, name) - 1
    return rows


def _count_row_tags(archive: zipfile.ZipFile, name: str) -> int:
    count, rest = 0, b""
    with archive.open(name) as sheet:
        while chunk := sheet.read(READ_BYTES):
            text = rest + chunk
            count += text.count(_ROW_TAG)
            rest = text[-len(_ROW_TAG) + 1 :]
    return count
