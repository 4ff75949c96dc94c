"""Import of call files that were downloaded from the PBX, passed line by line to `receiver.ingest`.

Invariants: a line is stored with its own columns, and is the same record as its event. Lines that cannot be parsed are
stored too. Memory holds a few lines. After an interruption the import is started again; lines that are stored already
are duplicates.
"""

import codecs
import csv
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TextIO

import msgspec

from onhook.lib.errors import OnhookError, UsageError
from onhook.lib.messages import _
from onhook.pbx.client import PbxClient
from onhook.pbx.dialect import Dialect
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.sync.ingest_retry import INGEST_BATCH_SIZE

IMPORT = "import"
"""The ledger's name of this channel."""

CELL_CHARACTERS_MAX = 64 * 1024
"""Characters of one cell; the longest of a row has some hundred."""

EXAMPLES_MAX = 5
"""Number of examples of lines that cannot be parsed: enough to find the error in the file."""

OVERFLOW_COLUMN = "more"
"""Name of the cells beyond the last column heading."""

PREAMBLE_LINES_MAX = 30
"""Lines before the headings, such as a title and `sep=,`."""

SNIFFED_BYTES = 64 * 1024

_DELIMITERS = ",;\t|"
_BYTE_ORDER_MARK = "\ufeff"
_ENCODING_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_WORKBOOK_MAGICS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""Of XLSX and XLS."""

FileRow = Mapping[str, str]
CallIdLookup = Callable[[Sequence[str]], Awaitable[Mapping[str, str]]]
"""Return the `call_id` of the stored calls with these `uid`s."""

IngestAll = Callable[[Sequence[bytes]], Awaitable[Sequence[str]]]
"""Ingest bodies and return the verdict on each."""


class ImportTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Result of an import so far. `deleted` are lines that retention has deleted: they are not stored again. `examples`
    are lines that cannot be parsed, each with its number and the error.
    """

    lines: int = 0
    new: int = 0
    existing: int = 0
    deleted: int = 0
    unreadable: int = 0
    rejected: int = 0
    examples: tuple[str, ...] = ()


class FileImporter:
    """Importer of one file of one PBX. `date_format` is that of the PBX's display, or empty if unknown."""

    def __init__(
        self,
        *,
        client: PbxClient,
        dialect: Dialect,
        sender: RegisteredPbx,
        find_call_ids: CallIdLookup,
        date_format: str,
        columns: Mapping[str, str] | None = None,
    ) -> None:
        self._client = client
        self._dialect = dialect
        self._sender = sender
        self._find_call_ids = find_call_ids
        self._date_format = date_format
        self._columns = columns

    async def import_file(
        self, file: TextIO, ingest_all: IngestAll, on_progress: Callable[[ImportTotals], None]
    ) -> ImportTotals:
        """Import all lines of a file. Raises `UsageError` for a file that is not a call file of the PBX."""
        lines = read_rows(file, self._client, self._columns)
        totals = ImportTotals()
        while batch := list(islice(lines, INGEST_BATCH_SIZE)):
            bodies = await self._format_bodies(batch)
            totals = self._add_totals(totals, bodies, await ingest_all(bodies))
            on_progress(totals)
        return totals

    async def _format_bodies(self, lines: Sequence[FileRow]) -> list[bytes]:
        uids = [self._client.get_file_row_uid(line) for line in lines]
        known_uids = [uid for uid in uids if uid]
        call_ids = await self._find_call_ids(known_uids) if known_uids else {}
        return [
            self._client.format_file_row(self._sender.sn, line, self._date_format, call_ids.get(uid, ""))
            for line, uid in zip(lines, uids, strict=True)
        ]

    def _add_totals(self, totals: ImportTotals, bodies: Sequence[bytes], verdicts: Sequence[str]) -> ImportTotals:
        reasons = [(number, self._parse_error(body)) for number, body in enumerate(bodies, totals.lines + 2)]
        parse_errors = tuple(
            _("line {number}: {reason}", number=number, reason=reason) for number, reason in reasons if reason
        )
        return ImportTotals(
            lines=totals.lines + len(bodies),
            new=totals.new
            + sum(
                verdict == "stored" and not reason for verdict, (_number, reason) in zip(verdicts, reasons, strict=True)
            ),
            existing=totals.existing + verdicts.count("duplicate"),
            deleted=totals.deleted + verdicts.count("deleted"),
            unreadable=totals.unreadable + len(parse_errors),
            rejected=totals.rejected
            + sum(verdict not in ("stored", "duplicate", "deleted", "unparsable") for verdict in verdicts),
            examples=(*totals.examples, *parse_errors)[:EXAMPLES_MAX],
        )

    def _parse_error(self, body: bytes) -> str:
        """Return why a line cannot be parsed, or an empty text."""
        try:
            self._dialect.parse(body)
        except OnhookError as error:
            return error.message
        return ""


def detect_encoding(path: Path) -> str:
    """Return the encoding of a text file: by its mark or its bytes, UTF-8 where it is valid, else that of Western
    Windows. Raises `UsageError` for a file that is no text, and `OSError`.
    """
    with path.open("rb") as file:
        head = file.read(SNIFFED_BYTES)
        if head.startswith(_WORKBOOK_MAGICS):
            raise UsageError(
                _("this is a workbook, not a text file"),
                location=str(path),
                hint=_("save it as CSV with its ids as text, or download it as CSV from the PBX"),
            )
        for mark, encoding in _ENCODING_MARKS.items():
            if head.startswith(mark):
                return encoding
        if head[1::2].count(0) > len(head) // 4 or head[::2].count(0) > len(head) // 4:
            return "utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be"
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            chunk = head
            while chunk:
                decoder.decode(chunk)
                chunk = file.read(SNIFFED_BYTES)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8"


def read_rows(file: TextIO, client: PbxClient, columns: Mapping[str, str] | None = None) -> Iterator[FileRow]:
    """Yield the lines of a file, each by its column headings; `columns` maps headings to the names of the PBX's list.
    Lines before the headings are skipped. Raises `UsageError` for a file that is not a call file of the PBX.
    """
    csv.field_size_limit(CELL_CHARACTERS_MAX)
    row_number = 0
    try:
        delimiter, names, heading_line = _find_headings(file, client, columns or {})
        for row_number, cells in enumerate(csv.reader(file, delimiter=delimiter), heading_line + 1):  # noqa: B007 - used in the error message
            if any(cells):
                yield _build_row(names, cells)
    except (csv.Error, UnicodeError) as error:
        raise UsageError(
            _("the file is not a CSV: {error}", error=error),
            location=_("after row {number}", number=row_number),
            hint=_("save it as UTF-8 CSV, or name its encoding with --encoding"),
        ) from error


def _find_headings(file: TextIO, client: PbxClient, columns: Mapping[str, str]) -> tuple[str, list[str], int]:
    """Return the delimiter, the headings and the number of their line. Raises `UsageError` where there are none."""
    first_line = ""
    for line_number in range(1, PREAMBLE_LINES_MAX + 1):
        line = file.readline(CELL_CHARACTERS_MAX)
        first_line = first_line or line.strip()
        for delimiter in _DELIMITERS:
            cells = [
                cell.strip().lstrip(_BYTE_ORDER_MARK) for cell in next(csv.reader([line], delimiter=delimiter), [])
            ]
            names = [columns.get(cell, cell) for cell in cells]
            if client.recognizes_headings(names):
                return delimiter, names, line_number
    raise UsageError(
        _("no header of call columns was found: {line!r}", line=first_line[:80]),
        hint=_(
            "download the calls as CSV from the PBX, with the columns ID, Time, Call From and Call To, or name them by"
            " --columns HEADING=NAME"
        ),
    )


def _build_row(names: Sequence[str], cells: Sequence[str]) -> FileRow:
    """Return cells by their headings; blank cells are left out, and cells without a heading are included."""
    line = {name: cell.strip() for name, cell in zip(names, cells, strict=False) if cell.strip()}
    overflow_cells = [cell for cell in cells[len(names) :] if cell.strip()]
    return line | ({OVERFLOW_COLUMN: ",".join(overflow_cells)} if overflow_cells else {})
