"""Import: files of calls that were downloaded from the PBX, line by line through the same door as everything else.

Laws: a line is kept as its own columns, and is the same record as its event; what cannot be read is kept too. Memory
holds a few lines. An import that was stopped is simply begun again: what is here already is recognised.
"""

import csv
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TextIO

import msgspec

from onhook.lib.errors import OnhookError, UsageError
from onhook.pbx.client import Link
from onhook.pbx.dialect import Dialect
from onhook.receiver.pbx_registry import RegisteredPbx

IMPORT = "import"
"""What the ledger calls this way in."""

LINE_BATCH_SIZE = 500
"""As many as one commit takes."""

CELL_CHARACTERS_MAX = 64 * 1024
"""Of one cell; a row's longest has some hundred."""

EXAMPLES_MAX = 5
"""Of lines that cannot be read: enough to see what is wrong with the file."""

OVERFLOW_COLUMN = "more"
"""The name of cells beyond the last heading."""

_DELIMITERS = ",;\t"

FileRow = Mapping[str, str]
CallIdLookup = Callable[[Sequence[str]], Awaitable[Mapping[str, str]]]
"""Under which `call_id` the calls with these `uid`s are known, as far as they are."""

IngestAll = Callable[[Sequence[bytes]], Awaitable[Sequence[str]]]
"""Through the door; the verdict on each."""


class ImportTotals(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a file so far. `examples` are lines that cannot be read, each with its number and why."""

    lines: int = 0
    new: int = 0
    here: int = 0
    unreadable: int = 0
    refused: int = 0
    examples: tuple[str, ...] = ()


class FileImporter:
    """Reads one file of one PBX. `date_format` is that of the PBX's display, or empty where nobody said."""

    def __init__(
        self, *, link: Link, dialect: Dialect, sender: RegisteredPbx, ids: CallIdLookup, date_format: str
    ) -> None:
        self._link = link
        self._dialect = dialect
        self._sender = sender
        self._ids = ids
        self._date_format = date_format

    async def take(self, file: TextIO, keep: IngestAll, tell: Callable[[ImportTotals], None]) -> ImportTotals:
        """All lines of a file. Raises `UsageError` for one that is none of the PBX's."""
        lines = read_rows(file, self._link)
        totals = ImportTotals()
        while batch := list(islice(lines, LINE_BATCH_SIZE)):
            bodies = await self._bodies(batch)
            totals = self._counted(totals, bodies, await keep(bodies))
            tell(totals)
        return totals

    async def _bodies(self, lines: Sequence[FileRow]) -> list[bytes]:
        uids = [self._link.uid_of_file(line) for line in lines]
        known_uids = [uid for uid in uids if uid]
        call_ids = await self._ids(known_uids) if known_uids else {}
        return [
            self._link.row_of_file(self._sender.sn, line, self._date_format, call_ids.get(uid, ""))
            for line, uid in zip(lines, uids, strict=True)
        ]

    def _counted(self, done: ImportTotals, bodies: Sequence[bytes], verdicts: Sequence[str]) -> ImportTotals:
        reasons = [(number, self._reason(body)) for number, body in enumerate(bodies, done.lines + 2)]
        parse_errors = tuple(f"line {number}: {reason}" for number, reason in reasons if reason)
        return ImportTotals(
            lines=done.lines + len(bodies),
            new=done.new + verdicts.count("kept"),
            here=done.here + verdicts.count("repeat"),
            unreadable=done.unreadable + len(parse_errors),
            refused=done.refused + sum(verdict not in ("kept", "repeat", "unreadable") for verdict in verdicts),
            examples=(*done.examples, *parse_errors)[:EXAMPLES_MAX],
        )

    def _reason(self, body: bytes) -> str:
        """Why a line cannot be read; empty where it can."""
        try:
            self._dialect.read(body)
        except OnhookError as error:
            return error.what
        return ""


def read_rows(file: TextIO, link: Link) -> Iterator[FileRow]:
    """The lines of a file, each by its headings. Raises `UsageError` for one that is none of the PBX's."""
    csv.field_size_limit(CELL_CHARACTERS_MAX)
    row_number = 0
    try:
        first_line = file.readline()
        delimiter = max(_DELIMITERS, key=first_line.count)
        names = [name.strip() for name in next(csv.reader([first_line], delimiter=delimiter), [])]
        if not link.knows_headings(names):
            raise UsageError(
                "the file's first line does not head columns of calls",
                todo="download the calls as CSV from the PBX, with the columns ID, Time, Call From and Call To",
            )
        for row_number, cells in enumerate(csv.reader(file, delimiter=delimiter), 2):  # noqa: B007 - told where it breaks
            if any(cells):
                yield _build_row(names, cells)
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(
            f"the file is no CSV in UTF-8: {error}", where=f"behind row {row_number}", todo="save it as that"
        ) from error


def _build_row(names: Sequence[str], cells: Sequence[str]) -> FileRow:
    """Cells by their headings; blanks say nothing, and cells without a heading are kept too."""
    line = {name: cell.strip() for name, cell in zip(names, cells, strict=False) if cell.strip()}
    overflow_cells = [cell for cell in cells[len(names) :] if cell.strip()]
    return line | ({OVERFLOW_COLUMN: ",".join(overflow_cells)} if overflow_cells else {})
