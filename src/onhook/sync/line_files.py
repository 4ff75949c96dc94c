"""Files of lines that a PBX leaves, one call in each line: a file for each call, or one to which lines are appended.

Invariants: a file is stored before it is moved, and moved only if all of its lines are stored. A line is stored once,
whatever its file, and however often that is read: the ledger recognises it. A file that is written on after it was
moved is moved back. A line that may go on is left out: the last one of a file, without its end, counts only once the
PBX writes another file, or has left this one alone for a week.
"""

import hashlib
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import msgspec

from onhook.appdb.swept_files import SweptFile
from onhook.lib.errors import UsageError
from onhook.pbx.dialect import LineDialect
from onhook.pbx.lines import LineSplitter
from onhook.sync.folder_files import (
    NO_MARK,
    SETTLED_SECONDS,
    FileChanges,
    FileMark,
    FileMemory,
    MovedFiles,
    mark_of,
    move_files,
    open_file,
    read_error,
    read_mark,
    run_in_thread,
    scan_folder,
    series_of,
    to_swept_file,
)
from onhook.sync.folder_sweep import ACCEPTED_VERDICTS
from onhook.sync.ingest_retry import BACKFILL_ATTEMPTS_MAX, INGEST_BATCH_SIZE, Ingest, ingest_with_retry

READ_BYTES: Final = 256 * 1024

COMPARED_BYTES: Final = 1024
"""Bytes before the place to go on from, which say whether a file was written anew: three lines."""

UNENDED_SECONDS: Final = 7 * 86_400.0
"""A PBX that collects what it writes may end a line with the next calls: after a weekend, or holidays."""

ResultT = TypeVar("ResultT")

_MICROSECONDS = 1_000_000


class LineTotals(msgspec.Struct, frozen=True, kw_only=True):
    """What became of files and their lines: of `recent` files the last line may go on, `unreadable` lines are none of a
    call.
    """

    files: int = 0
    lines: int = 0
    new: int = 0
    recent: int = 0
    unreadable: int = 0

    def __add__(self, other: "LineTotals") -> "LineTotals":
        names = LineTotals.__struct_fields__
        return LineTotals(**{name: getattr(self, name) + getattr(other, name) for name in names})


class _FileState(msgspec.Struct, frozen=True, kw_only=True):
    """How far a file was read: the mark that it had then, the `offset` behind the last line that had ended, a hash of
    the bytes before it, and how many lines are no calls: those before it, and that behind it, which may go on.
    """

    mark: FileMark
    offset: int = 0
    digest: bytes = b""
    unreadable_ended: int = 0
    unreadable_rest: int = 0

    @property
    def unreadable(self) -> int:
        """Return how many lines are no calls."""
        return self.unreadable_ended + self.unreadable_rest


class LineFileSweeper:
    """Reads files of one PBX, again and again: of a file to which lines were appended, the new ones are read. `now_us`
    returns microseconds since 1970, UTC. Files of which all lines are stored are moved to `target`, if there is one.
    `totals` are those of the latest sweep, also where it ended with an error.
    """

    def __init__(
        self,
        *,
        dialect: LineDialect,
        ingest: Ingest,
        now_us: Callable[[], int],
        target: Path | None = None,
        executor: Executor | None = None,
    ) -> None:
        self.totals = LineTotals()
        self._dialect = dialect
        self._ingest = ingest
        self._now_us = now_us
        self._target = target
        self._executor = executor
        self._moved_files = MovedFiles()
        self._states: dict[str, _FileState] = {}
        """By the names of files: all are in one folder."""
        self._memory = FileMemory()
        self._written_ns: Mapping[str, int] = {}
        """When a file of each series was last written, as of the latest sweep."""

    @property
    def unreadable_count(self) -> int:
        """Return how many lines of the files are no calls."""
        return sum(state.unreadable for state in self._states.values())

    def restore(self, files: Iterable[SweptFile]) -> None:
        """Leave out what was read before a restart, as far as the files are as they were."""
        self._states |= {
            file.name: _FileState(mark=read_mark(file), offset=file.position, digest=bytes.fromhex(file.digest))
            for file in files
        }
        self._memory.restore(self._states)

    def take_changes(self) -> FileChanges:
        """Return what to store for the next restart. Files with lines that are no calls are read again then: a later
        version may be able to read them.
        """
        return self._memory.take()

    async def sweep(self, path: Path) -> LineTotals:
        """Store the new lines of a file, or of all files of a folder. Raises `UsageError` where the folder cannot be
        read, and, once the others are stored, where a file cannot be read or moved; and `Unavailable` where the ledger
        cannot be written.
        """
        self.totals = LineTotals()
        first_error = await self._run(self._moved_files.return_changed, self._now_us() / _MICROSECONDS)
        for file_path in await self._run(self._list_changed, path):
            try:
                await self._sweep_file(file_path)
            except UsageError as error:
                first_error = first_error or error
        if first_error is not None:
            raise first_error
        return self.totals

    def _run(self, function: Callable[..., ResultT], *arguments: Any) -> Awaitable[ResultT]:
        return run_in_thread(self._executor, function, *arguments)

    def _list_changed(self, path: Path) -> list[Path]:
        """Return the files to read, and forget those that are no longer there. Raises `UsageError`."""
        if os.path.isfile(path):  # noqa: PTH113 - `Path.is_file` raises where a folder may not be entered
            self._written_ns = {}
            return [path]
        marks = {name: state.mark for name, state in self._states.items()}
        changed, unchanged, self._written_ns = scan_folder(path, marks)
        for name in self._states.keys() - unchanged - {file_path.name for file_path in changed}:
            self._forget(name)
        return changed

    async def _sweep_file(self, path: Path) -> None:
        try:
            await self._store_file(path)
        except FileNotFoundError:
            return  # It was moved or deleted meanwhile.
        except OSError as error:
            raise read_error(path, error) from error

    async def _store_file(self, path: Path) -> None:
        """Store the new lines of a file. Raises `OSError` too."""
        file, status = await self._run(_open, path)
        try:
            totals, state = await self._read(path, file, status, self._states.get(path.name))
        finally:
            self._close(file)
        self.totals += totals
        self._remember(path.name, state)
        if self._target is not None and state.mark != NO_MARK and not state.unreadable:
            await self._move(path, state, self._target)

    def _remember(self, name: str, state: _FileState) -> None:
        if self._states.get(name) == state:
            return
        self._states[name] = state
        if state.unreadable:
            self._memory.remove(name)
        else:
            self._memory.add(to_swept_file(name, state.mark, position=state.offset, digest=state.digest))

    def _forget(self, name: str) -> None:
        del self._states[name]
        self._memory.remove(name)

    async def _read(
        self, path: Path, file: BinaryIO, status: os.stat_result, earlier: _FileState | None
    ) -> tuple[LineTotals, _FileState]:
        """Store the lines of a file behind those that were read already; return how far it was read. A file that may
        still be written, or of which the last line may go on, has no mark: it is read again.
        """
        state = await self._run(_find_state, file, earlier)
        seconds = abs(self._now_us() / _MICROSECONDS - status.st_mtime)
        reader = _LineReader(file, state.offset, flushes=self._is_final(path, status, seconds))
        totals = LineTotals(files=1)
        unreadable_ended = state.unreadable_ended
        while (lines := await self._run(reader.read)) is not None:
            stored = await self._store(lines)
            totals += stored
            unreadable_ended += 0 if reader.is_at_rest else stored.unreadable
        unreadable_ended += reader.ended_overlong_count
        is_recent = seconds < SETTLED_SECONDS or reader.has_partial_line
        totals += LineTotals(lines=reader.overlong_count, unreadable=reader.overlong_count, recent=int(is_recent))
        return totals, _FileState(
            mark=NO_MARK if is_recent else mark_of(status),
            offset=reader.offset,
            digest=await self._run(_compute_digest, file, reader.offset),
            unreadable_ended=unreadable_ended,
            unreadable_rest=state.unreadable_ended + totals.unreadable - unreadable_ended,
        )

    def _is_final(self, path: Path, status: os.stat_result, seconds: float) -> bool:
        """Return whether the end of a file, which was written so many seconds ago, ends its last line."""
        is_followed = self._written_ns.get(series_of(path.name), 0) > status.st_mtime_ns
        return seconds >= (SETTLED_SECONDS if is_followed else UNENDED_SECONDS)

    async def _move(self, path: Path, state: _FileState, target: Path) -> None:
        """Move a file; what was appended to it meanwhile is read where it is then. A file of which the last line may go
        on is moved back. Where it cannot be moved, the next sweep tries again.
        """
        self._remember(path.name, msgspec.structs.replace(state, mark=NO_MARK))
        (moved_path,) = await self._run(move_files, [path], target)
        self._forget(path.name)
        file, status = await self._run(_open, moved_path)
        try:
            if status.st_size == state.mark.size:
                self._note_moved(path, moved_path, state.mark)
                return
            totals, moved_state = await self._read(moved_path, file, status, state)
        finally:
            self._close(file)
        is_ended = moved_state.offset == status.st_size
        self.totals += msgspec.structs.replace(totals, files=0, recent=int(not is_ended))
        self._note_moved(path, moved_path, mark_of(status) if is_ended else state.mark)
        if not is_ended:
            await self._run(move_files, [moved_path], path.parent)

    def _close(self, file: BinaryIO) -> None:
        """Close a file in the thread that reads it, without waiting: `close` waits for a read that is cancelled."""
        _closed = self._run(file.close)

    def _note_moved(self, path: Path, moved_path: Path, mark: FileMark) -> None:
        self._moved_files.add([path], [moved_path], [mark], self._now_us() / _MICROSECONDS)

    async def _store(self, lines: Sequence[bytes]) -> LineTotals:
        call_lines = [line for line in lines if self._dialect.is_line(line)]
        verdicts = await ingest_with_retry(self._ingest, call_lines, attempts_max=BACKFILL_ATTEMPTS_MAX)
        accepted_count = sum(verdict in ACCEPTED_VERDICTS for verdict in verdicts)
        return LineTotals(
            lines=len(lines),
            new=sum(verdict == "stored" for verdict in verdicts),
            unreadable=len(lines) - accepted_count,
        )


class _LineReader:
    """Reads lines from an offset on, some at a time; `flushes` says whether the end of the file ends the last one.
    `offset` is behind the last line that has ended; `is_at_rest` is set once the one behind it was returned.
    """

    def __init__(self, file: BinaryIO, offset: int, *, flushes: bool) -> None:
        self.offset = offset
        self.is_at_rest = False
        self._file = file
        self._splitter = LineSplitter()
        self._batches = self._iter_batches(flushes=flushes)

    @property
    def has_partial_line(self) -> bool:
        """Return whether the end of the file does not end its last line."""
        return self._splitter.has_partial_line

    @property
    def overlong_count(self) -> int:
        """Return how many lines were too long, and were left out."""
        return self._splitter.overlong_count

    @property
    def ended_overlong_count(self) -> int:
        """Return how many of them are before `offset`."""
        return self.overlong_count - self._splitter.is_in_overlong_line

    def read(self) -> list[bytes] | None:
        """Return the next lines, or None at the end. Raises `OSError`."""
        return next(self._batches, None)

    def _iter_batches(self, *, flushes: bool) -> Iterator[list[bytes]]:
        position = self._file.seek(self.offset)
        lines: list[bytes] = []
        while chunk := self._file.read(READ_BYTES):
            lines += self._splitter.feed(chunk)
            if b"\n" in chunk:
                self.offset = position + chunk.rindex(b"\n") + 1
            position += len(chunk)
            while len(lines) >= INGEST_BATCH_SIZE:
                yield lines[:INGEST_BATCH_SIZE]
                lines = lines[INGEST_BATCH_SIZE:]
        if lines:
            yield lines
        if flushes and (rest := self._splitter.flush()):
            self.is_at_rest = True
            yield rest


def _open(path: Path) -> tuple[BinaryIO, os.stat_result]:
    file = open_file(path)
    return file, os.fstat(file.fileno())


def _find_state(file: BinaryIO, state: _FileState | None) -> _FileState:
    """Return how far a file was read; from its beginning where it was written anew. Raises `OSError`."""
    if state is not None and state.offset and _compute_digest(file, state.offset) == state.digest:
        return state
    return _FileState(mark=NO_MARK)


def _compute_digest(file: BinaryIO, offset: int) -> bytes:
    """Return a hash of the bytes before an offset; of fewer bytes where the file is shorter. Raises `OSError`."""
    start = max(0, offset - COMPARED_BYTES)
    file.seek(start)
    return hashlib.sha256(file.read(offset - start)).digest()
