"""A folder in which a PBX leaves files: one event in each, that it could not send, as in the error folder of a
FreeSWITCH; or the rows of many calls, as a CUCM delivers them.

Invariants: a file is stored before it is moved. It is stored once, whatever its name, and however often the folder is
swept: the ledger recognises its content. A file that is being written, or is no event, is left where it is; one that is
written on after it was moved is moved back. Files are read and moved in threads of `executor`: those of a network drive
that does not answer wait for ever.
"""

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from onhook.appdb.swept_files import SweptFile
from onhook.lib.errors import UsageError
from onhook.pbx.dialect import FileDialect, LegDialect
from onhook.receiver.verdict import Verdict
from onhook.sync.folder_files import (
    SETTLED_SECONDS,
    FileChanges,
    FileMark,
    FileMemory,
    MovedFiles,
    find_mark,
    iter_moved,
    mark_of,
    open_file,
    read_error,
    read_mark,
    run_in_thread,
    scan_folder,
    to_swept_file,
)
from onhook.sync.ingest_retry import BACKFILL_ATTEMPTS_MAX, INGEST_BATCH_SIZE, Ingest, ingest_with_retry

FILE_BYTES_MAX: Final = 256 * 1024
"""As of a request to the intake."""

FILES_AT_ONCE: Final = 200
"""Files of one event that are read together: 50 MB at most."""

ROWS_FILE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of a file with the rows of many calls, which is read alone: an hour of a busy PBX."""

ResultT = TypeVar("ResultT")

_MICROSECONDS = 1_000_000
ACCEPTED_VERDICTS: Final = frozenset({"stored", "duplicate", "deleted"})
"""Verdicts on what is in the ledger, or was."""


class SweepTotals(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the files: `recent` ones may still be written, `unreadable` ones are no events, or too large."""

    files: int = 0
    new: int = 0
    existing: int = 0
    recent: int = 0
    unreadable: int = 0

    def __add__(self, other: "SweepTotals") -> "SweepTotals":
        names = SweepTotals.__struct_fields__
        return SweepTotals(**{name: getattr(self, name) + getattr(other, name) for name in names})


class _ReadFiles(msgspec.Struct, frozen=True):
    """Files that were read: the contents of those that are events, how each is marked now, the number of those that may
    still be written, and why the first of those that cannot be read cannot.
    """

    bodies: Mapping[Path, bytes]
    marks: Mapping[Path, FileMark]
    recent_count: int
    error: UsageError | None


class FolderSweeper:
    """Sweeps folders of one PBX, again and again: a file is read again only once it has changed. `now_us` returns
    microseconds since 1970, UTC. Files that are stored are moved to `target`, if there is one. `totals` are those of
    the latest sweep, also where it ended with an error.
    """

    def __init__(
        self,
        *,
        dialect: LegDialect,
        ingest: Ingest,
        now_us: Callable[[], int],
        target: Path | None = None,
        executor: Executor | None = None,
    ) -> None:
        self.totals = SweepTotals()
        self._dialect = dialect
        self._file_dialect = dialect if isinstance(dialect, FileDialect) else None
        self._ingest = ingest
        self._now_us = now_us
        self._target = target
        self._executor = executor
        self._moved_files = MovedFiles()
        self._marks: dict[str, FileMark] = {}
        self._unreadable: set[str] = set()
        self._memory = FileMemory()
        self._error: UsageError | None = None
        """The first error of a sweep."""

    @property
    def unreadable_count(self) -> int:
        """Return how many files of the folder are no events."""
        return len(self._unreadable)

    def restore(self, files: Iterable[SweptFile]) -> None:
        """Leave out files that were read before a restart, until they change."""
        self._marks |= {file.name: read_mark(file) for file in files}
        self._memory.restore(self._marks)

    def take_changes(self) -> FileChanges:
        """Return what to store for the next restart. Unreadable files are read again then: a later version may be able
        to read them.
        """
        return self._memory.take()

    async def sweep(self, folder: Path) -> SweepTotals:
        """Store the files of a folder that are new or have changed. Raises `UsageError` where it cannot be read, and,
        once the others are stored, where a file cannot be read or moved; and `Unavailable` where the ledger cannot be
        written.
        """
        self.totals = SweepTotals()
        self._error = await self._run(self._return_changed)
        paths = await self._run(self._list_changed, folder)
        step = 1 if self._file_dialect is not None else FILES_AT_ONCE
        for start in range(0, len(paths), step):
            self.totals += await self._sweep_files(paths[start : start + step])
        if paths:
            self._error = await self._run(self._return_changed) or self._error
        if self._error is not None:
            raise self._error
        return self.totals

    def _run(self, function: Callable[..., ResultT], *arguments: Any) -> Awaitable[ResultT]:
        return run_in_thread(self._executor, function, *arguments)

    def _return_changed(self) -> UsageError | None:
        """Move back moved files that were written on; return why one cannot be moved back."""
        return self._moved_files.return_changed(self._now_us() / _MICROSECONDS)

    def _list_changed(self, folder: Path) -> list[Path]:
        """Return the files to read, and forget those that are no longer there. Raises `UsageError`."""
        paths, unchanged, _written_at = scan_folder(folder, self._marks)
        for name in self._marks.keys() - unchanged:
            self._memory.remove(name)
        self._marks = {name: self._marks[name] for name in unchanged}
        self._unreadable &= unchanged
        return paths

    async def _sweep_files(self, paths: Sequence[Path]) -> SweepTotals:
        files = await self._run(self._read_files, paths)
        results = await self._ingest_files(files.bodies)
        accepted_paths = [path for path, verdict in results.items() if verdict in ACCEPTED_VERDICTS]
        self._error = self._error or files.error
        self._note(files.marks, accepted_paths)
        if self._target is not None:
            await self._run(self._move, accepted_paths, files.marks, self._target)
        return _count(files, len(paths), results)

    async def _ingest_files(self, bodies: Mapping[Path, bytes]) -> Mapping[Path, Verdict]:
        """Store the events of files; return what became of each file. Raises `Unavailable`."""
        if self._file_dialect is not None:
            return {path: await self._ingest_rows(self._file_dialect, body) for path, body in bodies.items()}
        verdicts = await ingest_with_retry(self._ingest, list(bodies.values()), attempts_max=BACKFILL_ATTEMPTS_MAX)
        return dict(zip(bodies, verdicts, strict=True))

    async def _ingest_rows(self, dialect: FileDialect, content: bytes) -> Verdict:
        """Store the rows of a file, some at a time; return "stored" if one of them is new. A row that cannot be read is
        in the quarantine, and kept as the others are.
        """
        rows = iter(dialect.split_file(content))
        is_new = False
        while bodies := await self._run(lambda: list(islice(rows, INGEST_BATCH_SIZE))):
            verdicts = await ingest_with_retry(self._ingest, bodies, attempts_max=BACKFILL_ATTEMPTS_MAX)
            is_new = is_new or not {"duplicate", "deleted"}.issuperset(verdicts)
        return "stored" if is_new else "duplicate"

    def _note(self, marks: Mapping[Path, FileMark], accepted_paths: Sequence[Path]) -> None:
        """Note what need not be read again. A file that is to be moved has no mark: it is tried again until it is."""
        unreadable = {path.name for path in marks} - {path.name for path in accepted_paths}
        self._marks |= {
            path.name: mark for path, mark in marks.items() if self._target is None or path.name in unreadable
        }
        self._unreadable |= unreadable
        for path in accepted_paths if self._target is None else ():
            self._memory.add(to_swept_file(path.name, marks[path]))

    def _move(self, paths: Sequence[Path], marks: Mapping[Path, FileMark], target: Path) -> None:
        """Move files but those that were written anew since they were read: the next sweep reads them."""
        try:
            unchanged = [path for path in paths if find_mark(path) == marks[path]]
            now = self._now_us() / _MICROSECONDS
            self._moved_files.add(unchanged, iter_moved(unchanged, target), [marks[path] for path in unchanged], now)
        except UsageError as error:
            self._error = self._error or error

    def _read_files(self, paths: Iterable[Path]) -> _ReadFiles:
        bodies: dict[Path, bytes] = {}
        marks: dict[Path, FileMark] = {}
        recent_count = 0
        first_error: UsageError | None = None
        for path in paths:
            try:
                with open_file(path) as file:
                    status = os.fstat(file.fileno())
                    body = file.read(self._bytes_max + 1)
            except FileNotFoundError:
                continue  # It was moved or deleted meanwhile.
            except OSError as error:
                first_error = first_error or read_error(path, error)
                continue
            if abs(self._now_us() / _MICROSECONDS - status.st_mtime) < SETTLED_SECONDS:
                recent_count += 1
                continue
            marks[path] = mark_of(status)
            if len(body) <= self._bytes_max and self._is_readable(body):
                bodies[path] = body
        return _ReadFiles(bodies, marks, recent_count, first_error)

    @property
    def _bytes_max(self) -> int:
        return FILE_BYTES_MAX if self._file_dialect is None else ROWS_FILE_BYTES_MAX

    def _is_readable(self, body: bytes) -> bool:
        if self._file_dialect is not None:
            return self._file_dialect.is_file(body)
        return self._dialect.peek(body).kind == "details"


def _count(files: _ReadFiles, file_count: int, results: Mapping[Path, Verdict]) -> SweepTotals:
    accepted_count = sum(verdict in ACCEPTED_VERDICTS for verdict in results.values())
    new_count = sum(verdict == "stored" for verdict in results.values())
    return SweepTotals(
        files=file_count,
        new=new_count,
        existing=accepted_count - new_count,
        recent=files.recent_count,
        unreadable=file_count - files.recent_count - accepted_count,
    )
