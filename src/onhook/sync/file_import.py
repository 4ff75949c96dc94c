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
from onhook.receiver.pbx_registry import Declared

IMPORT = "import"
"""What the ledger calls this way in."""

LINES_AT_ONCE = 500
"""As many as one commit takes."""

CELL_CHARACTERS_MAX = 64 * 1024
"""Of one cell; a row's longest has some hundred."""

EXAMPLES_MAX = 5
"""Of lines that cannot be read: enough to see what is wrong with the file."""

MORE = "more"
"""The name of cells beyond the last heading."""

_DELIMITERS = ",;\t"

Line = Mapping[str, str]
Ids = Callable[[Sequence[str]], Awaitable[Mapping[str, str]]]
"""Under which `call_id` the calls with these `uid`s are known, as far as they are."""

KeepAll = Callable[[Sequence[bytes]], Awaitable[Sequence[str]]]
"""Through the door; the verdict on each."""


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a file so far. `examples` are lines that cannot be read, each with its number and why."""

    lines: int = 0
    new: int = 0
    here: int = 0
    unreadable: int = 0
    refused: int = 0
    examples: tuple[str, ...] = ()


class Importer:
    """Reads one file of one PBX. `date_format` is that of the PBX's display, or empty where nobody said."""

    def __init__(self, *, link: Link, dialect: Dialect, sender: Declared, ids: Ids, date_format: str) -> None:
        self._link = link
        self._dialect = dialect
        self._sender = sender
        self._ids = ids
        self._date_format = date_format

    async def take(self, file: TextIO, keep: KeepAll, tell: Callable[[Imported], None]) -> Imported:
        """All lines of a file. Raises `UsageError` for one that is none of the PBX's."""
        lines = lines_of(file, self._link)
        done = Imported()
        while some := list(islice(lines, LINES_AT_ONCE)):
            bodies = await self._bodies(some)
            done = self._counted(done, bodies, await keep(bodies))
            tell(done)
        return done

    async def _bodies(self, lines: Sequence[Line]) -> list[bytes]:
        uids = [self._link.uid_of_file(line) for line in lines]
        wanted = [uid for uid in uids if uid]
        ids = await self._ids(wanted) if wanted else {}
        return [
            self._link.row_of_file(self._sender.sn, line, self._date_format, ids.get(uid, ""))
            for line, uid in zip(lines, uids, strict=True)
        ]

    def _counted(self, done: Imported, bodies: Sequence[bytes], verdicts: Sequence[str]) -> Imported:
        reasons = [(number, self._reason(body)) for number, body in enumerate(bodies, done.lines + 2)]
        wrong = tuple(f"line {number}: {reason}" for number, reason in reasons if reason)
        return Imported(
            lines=done.lines + len(bodies),
            new=done.new + verdicts.count("kept"),
            here=done.here + verdicts.count("repeat"),
            unreadable=done.unreadable + len(wrong),
            refused=done.refused + sum(one not in ("kept", "repeat", "unreadable") for one in verdicts),
            examples=(*done.examples, *wrong)[:EXAMPLES_MAX],
        )

    def _reason(self, body: bytes) -> str:
        """Why a line cannot be read; empty where it can."""
        try:
            self._dialect.read(body)
        except OnhookError as error:
            return error.what
        return ""


def lines_of(file: TextIO, link: Link) -> Iterator[Line]:
    """The lines of a file, each by its headings. Raises `UsageError` for one that is none of the PBX's."""
    csv.field_size_limit(CELL_CHARACTERS_MAX)
    number = 0
    try:
        first = file.readline()
        delimiter = max(_DELIMITERS, key=first.count)
        names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
        if not link.knows_headings(names):
            raise UsageError(
                "the file's first line does not head columns of calls",
                todo="download the calls as CSV from the PBX, with the columns ID, Time, Call From and Call To",
            )
        for number, cells in enumerate(csv.reader(file, delimiter=delimiter), 2):  # noqa: B007 - told where it breaks
            if any(cells):
                yield _line(names, cells)
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(
            f"the file is no CSV in UTF-8: {error}", where=f"behind row {number}", todo="save it as that"
        ) from error


def _line(names: Sequence[str], cells: Sequence[str]) -> Line:
    """Cells by their headings; blanks say nothing, and cells without a heading are kept too."""
    line = {name: cell.strip() for name, cell in zip(names, cells, strict=False) if cell.strip()}
    more = [cell for cell in cells[len(names) :] if cell.strip()]
    return line | ({MORE: ",".join(more)} if more else {})
