"""A folder in which a PBX leaves what it could not send, one event in each file: the error folder of a FreeSWITCH.

Invariants: a file is stored before it is moved. It is stored once, whatever its name, and however often the folder is
swept: the ledger recognises its content. A file that is being written, or is no event, is left where it is.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from onhook.pbx.dialect import LegDialect
from onhook.receiver.verdict import Verdict
from onhook.sync.folder_files import SETTLED_SECONDS, FileMark, mark_of, move_files, open_file, scan_folder
from onhook.sync.ingest_retry import BACKFILL_ATTEMPTS_MAX, Ingest, ingest_with_retry

FILE_BYTES_MAX: Final = 256 * 1024
"""As of a request to the intake."""

FILES_AT_ONCE: Final = 200
"""Files that are read together: 50 MB at most."""

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
    """Files that were read: the contents of those that are events, how each is marked now, and the number of those that
    may still be written.
    """

    bodies: Mapping[Path, bytes]
    marks: Mapping[Path, FileMark]
    recent_count: int


class FolderSweeper:
    """Sweeps folders of one PBX, again and again: a file is read again only once it has changed. `now_us` returns
    microseconds since 1970, UTC. Files that are stored are moved to `target`, if there is one.
    """

    def __init__(
        self, *, dialect: LegDialect, ingest: Ingest, now_us: Callable[[], int], target: Path | None = None
    ) -> None:
        self._dialect = dialect
        self._ingest = ingest
        self._now_us = now_us
        self._target = target
        self._marks: dict[str, FileMark] = {}
        self._unreadable: set[str] = set()

    @property
    def unreadable_count(self) -> int:
        """Return how many files of the folder are no events."""
        return len(self._unreadable)

    async def sweep(self, folder: Path) -> SweepTotals:
        """Store the files of a folder that are new or have changed. Raises `UsageError` where it cannot be read or a
        file cannot be moved, and `Unavailable` where the ledger cannot be written.
        """
        paths, unchanged = await asyncio.to_thread(scan_folder, folder, self._marks)
        self._marks = {name: self._marks[name] for name in unchanged}
        self._unreadable &= unchanged
        totals = SweepTotals()
        for start in range(0, len(paths), FILES_AT_ONCE):
            totals += await self._sweep_files(paths[start : start + FILES_AT_ONCE])
        return totals

    async def _sweep_files(self, paths: Sequence[Path]) -> SweepTotals:
        files = await asyncio.to_thread(self._read_files, paths)
        verdicts = await ingest_with_retry(
            self._ingest, list(files.bodies.values()), attempts_max=BACKFILL_ATTEMPTS_MAX
        )
        results = dict(zip(files.bodies, verdicts, strict=True))
        accepted_paths = [path for path, verdict in results.items() if verdict in ACCEPTED_VERDICTS]
        self._note(files.marks, accepted_paths)
        if self._target is not None:
            await asyncio.to_thread(move_files, accepted_paths, self._target)
        return _count(files, len(paths), results)

    def _note(self, marks: Mapping[Path, FileMark], accepted_paths: Iterable[Path]) -> None:
        self._marks |= {path.name: mark for path, mark in marks.items()}
        self._unreadable |= {path.name for path in marks} - {path.name for path in accepted_paths}

    def _read_files(self, paths: Iterable[Path]) -> _ReadFiles:
        bodies: dict[Path, bytes] = {}
        marks: dict[Path, FileMark] = {}
        recent_count = 0
        for path in paths:
            # A file that is gone, or not readable, is none to this sweep.
            with suppress(OSError), open_file(path) as file:
                status = os.fstat(file.fileno())
                if abs(self._now_us() / _MICROSECONDS - status.st_mtime) < SETTLED_SECONDS:
                    recent_count += 1
                    continue
                body = file.read(FILE_BYTES_MAX + 1)
                marks[path] = mark_of(status)
                if len(body) <= FILE_BYTES_MAX and self._dialect.peek(body).kind == "details":
                    bodies[path] = body
        return _ReadFiles(bodies, marks, recent_count)


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
