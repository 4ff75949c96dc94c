"""Files of lines that a PBX leaves, one call in each line: a file for each call, or one to which lines are appended.

Invariants: a file is stored before it is moved, and moved only if all of its lines are stored. A line is stored once,
whatever its file, and however often that is read: the ledger recognises it. A line that is being written is left out.
"""

import asyncio
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.pbx.dialect import LineDialect
from onhook.pbx.lines import LineSplitter
from onhook.sync.folder_sweep import SETTLED_SECONDS, list_files, move_files
from onhook.sync.ingest_retry import BACKFILL_ATTEMPTS_MAX, INGEST_BATCH_SIZE, Ingest, ingest_with_retry

READ_BYTES: Final = 256 * 1024

_ACCEPTED_VERDICTS = frozenset({"stored", "duplicate", "deleted"})
_MICROSECONDS = 1_000_000


class LineTotals(msgspec.Struct, frozen=True, kw_only=True):
    """What became of files and their lines: of `recent` files the last line may still be written, `unreadable` lines
    are none of a call.
    """

    files: int = 0
    lines: int = 0
    new: int = 0
    recent: int = 0
    unreadable: int = 0

    def __add__(self, other: "LineTotals") -> "LineTotals":
        names = LineTotals.__struct_fields__
        return LineTotals(**{name: getattr(self, name) + getattr(other, name) for name in names})


class LineFileSweeper:
    """Reads files of one PBX. `now_us` returns microseconds since 1970, UTC. Files of which all lines are stored are
    moved to `target`, if there is one.
    """

    def __init__(
        self, *, dialect: LineDialect, ingest: Ingest, now_us: Callable[[], int], target: Path | None = None
    ) -> None:
        self._dialect = dialect
        self._ingest = ingest
        self._now_us = now_us
        self._target = target

    async def sweep(self, path: Path) -> LineTotals:
        """Store the lines of a file, or of all files of a folder. Raises `UsageError` where one cannot be read or
        moved, and `Unavailable` where the ledger cannot be written.
        """
        is_file = await asyncio.to_thread(path.is_file)
        paths = [path] if is_file else await asyncio.to_thread(list_files, path)
        totals = LineTotals()
        for file_path in paths:
            totals += await self._sweep_file(file_path)
        return totals

    async def _sweep_file(self, path: Path) -> LineTotals:
        try:
            file, is_settled = await asyncio.to_thread(self._open, path)
        except OSError as error:
            raise UsageError(
                _("cannot read the file: {reason}", reason=error.strerror or error), location=str(path)
            ) from error
        totals = LineTotals(files=1, recent=int(not is_settled))
        splitter = LineSplitter()
        with file:
            batches = _iter_batches(file, splitter, flushes=is_settled)
            while (lines := await asyncio.to_thread(next, batches, None)) is not None:
                totals += await self._store(lines)
        if splitter.is_overlong:
            totals += LineTotals(lines=1, unreadable=1)
        if self._target is not None and is_settled and not totals.unreadable:
            await asyncio.to_thread(move_files, [path], self._target)
        return totals

    async def _store(self, lines: Sequence[bytes]) -> LineTotals:
        call_lines = [line for line in lines if self._dialect.is_line(line)]
        verdicts = await ingest_with_retry(self._ingest, call_lines, attempts_max=BACKFILL_ATTEMPTS_MAX)
        accepted_count = sum(verdict in _ACCEPTED_VERDICTS for verdict in verdicts)
        return LineTotals(
            lines=len(lines),
            new=sum(verdict == "stored" for verdict in verdicts),
            unreadable=len(lines) - accepted_count,
        )

    def _open(self, path: Path) -> tuple[BinaryIO, bool]:
        """Return an open file, and whether it was written some time ago. A link or a pipe is not followed. Raises
        `OSError`.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        file = os.fdopen(descriptor, "rb")
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            file.close()
            raise OSError(_("not a file"))
        return file, abs(self._now_us() / _MICROSECONDS - status.st_mtime) >= SETTLED_SECONDS


def _iter_batches(file: BinaryIO, splitter: LineSplitter, *, flushes: bool) -> Iterator[list[bytes]]:
    """Yield the lines of a file, some at a time; `flushes` says whether its end ends the last one."""
    lines: list[bytes] = []
    while chunk := file.read(READ_BYTES):
        lines += splitter.feed(chunk)
        while len(lines) >= INGEST_BATCH_SIZE:
            yield lines[:INGEST_BATCH_SIZE]
            lines = lines[INGEST_BATCH_SIZE:]
    if flushes:
        lines += splitter.flush()
    if lines:
        yield lines
