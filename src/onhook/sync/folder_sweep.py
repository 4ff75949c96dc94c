"""A folder in which a PBX leaves what it could not send, one event in each file: the error folder of a FreeSWITCH.

Invariants: a file is stored before it is moved. It is stored once, whatever its name, and however often the folder is
swept: the ledger recognises its content. A file that is being written, or is no event, is left where it is.
"""

import asyncio
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.pbx.dialect import LegDialect
from onhook.sync.ingest_retry import BACKFILL_ATTEMPTS_MAX, Ingest, ingest_with_retry

SETTLED_SECONDS: Final = 10.0
"""A file that was written more recently may be incomplete: FreeSWITCH writes it in one go."""

FILE_BYTES_MAX: Final = 256 * 1024
"""As of a request to the intake."""

FILES_AT_ONCE: Final = 200
"""Files that are read together: 50 MB at most."""

FILES_MAX: Final = 100_000
"""Files of one sweep: days of a busy PBX; the next one goes on with the others where these were moved."""

_MICROSECONDS = 1_000_000
_ACCEPTED_VERDICTS = frozenset({"stored", "duplicate", "deleted"})


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


class FolderSweeper:
    """Sweeps folders of one PBX. `now_us` returns microseconds since 1970, UTC. Files that are stored are moved to
    `target`, if there is one.
    """

    def __init__(
        self, *, dialect: LegDialect, ingest: Ingest, now_us: Callable[[], int], target: Path | None = None
    ) -> None:
        self._dialect = dialect
        self._ingest = ingest
        self._now_us = now_us
        self._target = target

    async def sweep(self, folder: Path) -> SweepTotals:
        """Store the files of a folder. Raises `UsageError` where it cannot be read or a file cannot be moved, and
        `Unavailable` where the ledger cannot be written.
        """
        paths = await asyncio.to_thread(list_files, folder)
        totals = SweepTotals()
        for start in range(0, len(paths), FILES_AT_ONCE):
            totals += await self._sweep_files(paths[start : start + FILES_AT_ONCE])
        return totals

    async def _sweep_files(self, paths: Sequence[Path]) -> SweepTotals:
        bodies, recent_count = await asyncio.to_thread(self._read_files, paths)
        verdicts = await ingest_with_retry(self._ingest, list(bodies.values()), attempts_max=BACKFILL_ATTEMPTS_MAX)
        results = dict(zip(bodies, verdicts, strict=True))
        accepted_paths = [path for path, verdict in results.items() if verdict in _ACCEPTED_VERDICTS]
        if self._target is not None:
            await asyncio.to_thread(move_files, accepted_paths, self._target)
        new_count = sum(verdict == "stored" for verdict in verdicts)
        return SweepTotals(
            files=len(paths),
            new=new_count,
            existing=len(accepted_paths) - new_count,
            recent=recent_count,
            unreadable=len(paths) - recent_count - len(accepted_paths),
        )

    def _read_files(self, paths: Iterable[Path]) -> tuple[dict[Path, bytes], int]:
        """Return the contents of files that are events, and the number of those that may still be written."""
        bodies: dict[Path, bytes] = {}
        recent_count = 0
        for path in paths:
            # A file that is gone, or not readable, is none to this sweep.
            with suppress(OSError):
                body, written_at = _read_file(path)
                if abs(self._now_us() / _MICROSECONDS - written_at) < SETTLED_SECONDS:
                    recent_count += 1
                elif len(body) <= FILE_BYTES_MAX and self._dialect.peek(body).kind == "details":
                    bodies[path] = body
        return bodies, recent_count


def list_files(folder: Path) -> list[Path]:
    """Return the files of a folder by name, without hidden ones. Raises `UsageError`."""
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name
                for entry in entries
                if entry.is_file(follow_symlinks=False) and not entry.name.startswith(".")
            ]
    except OSError as error:
        raise UsageError(
            _("cannot read the folder: {reason}", reason=error.strerror or error), location=str(folder)
        ) from error
    return [folder / name for name in sorted(names)[:FILES_MAX]]


def _read_file(path: Path) -> tuple[bytes, float]:
    """Return the content of a file, one byte more than an event has at most, and when it was written. A name that has
    become a link or a pipe meanwhile is not followed. Raises `OSError`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(_("not a file"))
        return file.read(FILE_BYTES_MAX + 1), status.st_mtime


def move_files(paths: Iterable[Path], target: Path) -> None:
    """Move files into a folder of the same file system. Raises `UsageError`."""
    try:
        target.mkdir(exist_ok=True)
        for path in paths:
            path.replace(target / path.name)
    except OSError as error:
        raise UsageError(
            _("cannot move files that are stored: {reason}", reason=error.strerror or error),
            location=str(target),
            hint=_("name a folder of the same file system that you may write to"),
        ) from error
