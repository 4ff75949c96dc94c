"""Import of call files that were downloaded from the PBX, passed line by line to `receiver.ingest`.

Invariants: a line is stored with its own columns, and is the same record as its event. Lines that cannot be parsed are
stored too. Memory holds a few lines, and of a file whose times have no seconds the ids. After an interruption the
import is started again; lines that are stored already are duplicates.
"""

import csv
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, timedelta
from itertools import islice
from typing import TextIO

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.cdr.csv_injection import unescape_cell
from onhook.cdr.identity import fold_sn, record_id, record_key
from onhook.lib.errors import OnhookError, UsageError
from onhook.lib.messages import _
from onhook.pbx.client import FileSurvey, PbxClient, StoredLeg
from onhook.pbx.dialect import Dialect
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.sync.ingest_retry import INGEST_BATCH_SIZE

IMPORT = "import"
"""The ledger's name of this channel."""

CELL_CHARACTERS_MAX = 64 * 1024
"""Characters of one cell; the longest of a row has some hundred."""

EXAMPLES_MAX = 5
"""Number of examples of lines that cannot be parsed: enough to find the error in the file."""

SN_COLUMN, PBX_COLUMN = "sn", "pbx"
"""Columns of Onhook's own export that name the PBX."""

OVERFLOW_COLUMN = "more"
"""Name of the cells beyond the last column heading."""

PREAMBLE_LINES_MAX = 30
"""Lines before the headings, such as a title and `sep=,`."""

_DELIMITERS = ",;\t|"
_BYTE_ORDER_MARK = "\ufeff"

FileRow = Mapping[str, str]


class FileLine(msgspec.Struct, frozen=True):
    """A line of a file by its column headings, and its number: that of the first, if it has line breaks."""

    number: int
    row: FileRow


class StoredCall(msgspec.Struct, frozen=True, kw_only=True):
    """A stored call: its id, empty where it has none but its `uid`, and its legs."""

    call_id: str = ""
    legs: tuple[StoredLeg, ...] = ()


StoredCallLookup = Callable[[Sequence[str]], Awaitable[Mapping[str, StoredCall]]]
"""Return the stored calls with these `uid`s, by `uid`."""

IngestAll = Callable[[Sequence[bytes]], Awaitable[Sequence[str]]]
"""Ingest bodies and return the verdict on each."""


class FileOwner(msgspec.Struct, frozen=True):
    """The PBX whose calls a file is to contain: its name and its serial numbers."""

    name: str
    sns: tuple[str, ...]

    def find_other(self, row: FileRow) -> str:
        """Return another PBX that a line of Onhook's own export names, as `NAME (SN)`; empty where it names none."""
        sn, name = (unescape_cell(row.get(column, "")) for column in (SN_COLUMN, PBX_COLUMN))
        is_other = fold_sn(sn) not in map(fold_sn, self.sns) if sn else bool(name) and name != self.name
        if not is_other:
            return ""
        return f"{name} ({sn})" if name and sn else name or sn


class StoredRecords(msgspec.Struct, frozen=True, kw_only=True):
    """Records that were stored before the import: their ids, and those of their calls."""

    record_ids: frozenset[str] = frozenset()
    call_ids: frozenset[str] = frozenset()


StoredRecordLookup = Callable[[Collection[date]], Awaitable[StoredRecords | None]]
"""Return the records that were stored before the import and started on these days, in UTC; None where they cannot be
read.
"""

TIME_ZONE_MARGIN = timedelta(days=1)
"""No zone is more than a day from UTC."""


class ImportTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Result of an import so far, each line counted once. Of the `new` lines, `stored_before` describe records that are
    stored already from another channel, and `completing` are further records of stored calls: of all lines only where
    `is_split_known`, because else stored records could not be read. `existing_unreadable` of
    the `existing` cannot be parsed. `deleted` are lines that retention has deleted: they are not stored again.
    `examples` are lines that cannot be parsed, each with its number and the error.
    """

    lines: int = 0
    new: int = 0
    stored_before: int = 0
    completing: int = 0
    is_split_known: bool = True
    existing: int = 0
    existing_unreadable: int = 0
    deleted: int = 0
    unreadable: int = 0
    rejected: int = 0
    examples: tuple[str, ...] = ()


_COUNT_NAMES = {"stored": "new", "duplicate": "existing", "deleted": "deleted", "unparsable": "unreadable"}
"""Name of the count by the verdict of the ingestor."""


class FileImporter:
    """Importer of one file of one PBX. `date_format` is that of the PBX's display, or empty if unknown. `on_other_pbx`
    receives the first other PBX that a line names, before anything is stored; what it raises ends the import.
    """

    def __init__(
        self,
        *,
        client: PbxClient,
        dialect: Dialect,
        sender: RegisteredPbx,
        owner: FileOwner,
        on_other_pbx: Callable[[str], None],
        find_calls: StoredCallLookup,
        find_records: StoredRecordLookup,
        date_format: str,
        columns: Mapping[str, str] | None = None,
    ) -> None:
        self._client = client
        self._dialect = dialect
        self._sender = sender
        self._owner = owner
        self._on_other_pbx = on_other_pbx
        self._find_calls = find_calls
        self._find_records = find_records
        self._date_format = date_format
        self._columns = columns

    async def import_file(
        self, file: TextIO, ingest_all: IngestAll, on_progress: Callable[[ImportTotals], None]
    ) -> ImportTotals:
        """Import all lines of a file, which is read twice: what a spreadsheet did to it shows in all lines together.
        Raises `UsageError` for a file that is not a call file of the PBX, and `OSError` for one that cannot be read
        again.
        """
        other_pbxs: list[str] = []
        survey = self._client.survey_file(self._survey_rows(file, other_pbxs))
        if other_pbxs:
            self._on_other_pbx(other_pbxs[0])
        file.seek(0)
        lines = read_rows(file, self._client, self._columns)
        totals = ImportTotals()
        while batch := list(islice(lines, INGEST_BATCH_SIZE)):
            bodies = await self._format_bodies(batch, survey)
            parsed_lines = [self._parse(body) for body in bodies]
            stored_records = await self._find_records(_list_days(parsed_lines))
            verdicts = await ingest_all(bodies)
            totals = self._add_totals(totals, batch, parsed_lines, verdicts, stored_records)
            on_progress(totals)
        return totals

    def _survey_rows(self, file: TextIO, other_pbxs: list[str]) -> Iterator[FileRow]:
        """Yield all lines; meanwhile add the first other PBX that one names to the list."""
        for line in read_rows(file, self._client, self._columns):
            if not other_pbxs and (other_pbx := self._owner.find_other(line.row)):
                other_pbxs.append(other_pbx)
            yield line.row

    async def _format_bodies(self, lines: Sequence[FileLine], survey: FileSurvey) -> list[bytes]:
        uids = [self._client.get_file_row_uid(line.row, survey) for line in lines]
        known_uids = [uid for uid in uids if uid]
        calls = await self._find_calls(known_uids) if known_uids else {}
        bodies: list[bytes] = []
        for line, uid in zip(lines, uids, strict=True):
            call = calls.get(uid, StoredCall())
            body = self._client.format_file_row(
                self._sender.sn, line.row, self._date_format, call.call_id, survey=survey, stored_legs=call.legs
            )
            bodies.append(body)
        return bodies

    def _add_totals(
        self,
        totals: ImportTotals,
        lines: Sequence[FileLine],
        parsed_lines: Sequence["_ParsedLine"],
        verdicts: Sequence[str],
        stored_records: StoredRecords | None,
    ) -> ImportTotals:
        counts: Counter[str] = Counter()
        errors: list[str] = []
        for line, parsed_line, verdict in zip(lines, parsed_lines, verdicts, strict=True):
            error = parsed_line.error
            if error:
                errors.append(_("line {number}: {reason}", number=line.number, reason=error))
            counts[_COUNT_NAMES.get(verdict, "rejected") if verdict != "stored" or not error else "unreadable"] += 1
            counts["existing_unreadable"] += bool(error) and verdict == "duplicate"
            if verdict == "stored" and not error and stored_records is not None:
                counts["stored_before"] += self._is_known(parsed_line, stored_records)
                counts["completing"] += self._completes_call(parsed_line, stored_records)
        members = {name: getattr(totals, name) + count for name, count in counts.items()}
        return msgspec.structs.replace(
            totals,
            **members,
            lines=totals.lines + len(lines),
            is_split_known=totals.is_split_known and stored_records is not None,
            examples=(*totals.examples, *errors)[:EXAMPLES_MAX],
        )

    def _is_known(self, parsed_line: "_ParsedLine", stored_records: StoredRecords) -> bool:
        """Return whether each record of the line is stored already."""
        ids = (record_id(record_key(self._sender.sn, details)) for details in parsed_line.records)
        return all(known_id in stored_records.record_ids for known_id in ids)

    def _completes_call(self, parsed_line: "_ParsedLine", stored_records: StoredRecords) -> bool:
        """Return whether the line is a further record of a stored call."""
        return not self._is_known(parsed_line, stored_records) and any(
            details.call_id in stored_records.call_ids for details in parsed_line.records
        )

    def _parse(self, body: bytes) -> "_ParsedLine":
        try:
            return _ParsedLine(tuple(self._dialect.parse(body)))
        except OnhookError as error:
            return _ParsedLine(error=error.message)


class _ParsedLine(msgspec.Struct, frozen=True):
    """The records of a line, or why it cannot be parsed."""

    records: tuple[CallDetails, ...] = ()
    error: str = ""


def _list_days(parsed_lines: Sequence[_ParsedLine]) -> frozenset[date]:
    """Return the days, in UTC, on which the records may have started: their times are those of the PBX's clock."""
    days: set[date] = set()
    for details in (details for parsed_line in parsed_lines for details in parsed_line.records):
        with suppress(ValueError, OverflowError):
            day = date.fromisoformat(details.time_start[:10])
            days |= {day - TIME_ZONE_MARGIN, day, day + TIME_ZONE_MARGIN}
    return frozenset(days)


def read_rows(file: TextIO, client: PbxClient, columns: Mapping[str, str] | None = None) -> Iterator[FileLine]:
    """Yield the lines of a file, each by its column headings; `columns` maps headings to the names of the PBX's list.
    Lines before the headings are skipped. Raises `UsageError` for a file that is not a call file of the PBX.
    """
    csv.field_size_limit(CELL_CHARACTERS_MAX)
    row_number = 0
    try:
        delimiter, names, heading_line = _find_headings(file, client, columns or {})
        row_number = heading_line
        reader = csv.reader(file, delimiter=delimiter)
        for cells in reader:
            if any(cells):
                yield FileLine(row_number + 1, _build_row(names, cells))
            row_number = heading_line + reader.line_num
    except (csv.Error, UnicodeError) as error:
        raise UsageError(
            _("the file is not a CSV: {error}", error=error),
            location=_("after line {number}", number=row_number),
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
            " --columns HEADING=NAME; name the file's encoding with --encoding if letters are wrong"
        ),
    )


def _build_row(names: Sequence[str], cells: Sequence[str]) -> FileRow:
    """Return cells by their headings; blank cells are left out, and cells without a heading are included."""
    line = {name: cell.strip() for name, cell in zip(names, cells, strict=False) if cell.strip()}
    overflow_cells = [cell for cell in cells[len(names) :] if cell.strip()]
    return line | ({OVERFLOW_COLUMN: ",".join(overflow_cells)} if overflow_cells else {})
