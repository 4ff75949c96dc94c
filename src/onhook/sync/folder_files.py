"""Files of a folder in which a PBX leaves them: which are there, which have changed since they were read, and moving
them away.

Invariants: links and pipes are not followed. A file that is moved replaces no other one.
"""

import asyncio
import contextvars
import os
import re
import stat
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, TypeVar

from onhook.appdb.swept_files import SweptFile
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

SETTLED_SECONDS: Final = 10.0
"""A file that was written more recently may be incomplete: PBXs write theirs in one go, or line by line."""

FILES_MAX: Final = 100_000
"""Files of one sweep: days of a busy PBX; the next one goes on with the others."""

UNCHANGED_FILES_MAX: Final = 500_000
"""Files that stay in a folder and are compared with each sweep; more take longer than the sweep of new ones."""

MOVED_NAMES_MAX: Final = 1_000
"""Moved files of one name, such as those of a log of each day."""


MOVED_SECONDS: Final = 600.0
"""A PBX, or an upload, that stands still for longer in the middle of a file has ended."""

MOVED_FILES_MAX: Final = 1_000
"""Moved files that are looked at with each sweep: a second on a network drive."""

ResultT = TypeVar("ResultT")

INODE_MASK: Final = 2**63 - 1
"""What a database stores of a number on the disk: some network file systems use more bits."""

_AFTER_SERIES = re.compile(r"[^A-Za-z]")


class FileMark(NamedTuple):
    """What changes when a file is written: its number on the disk, its size, and its time in nanoseconds."""

    inode: int
    size: int
    written_ns: int


NO_MARK: Final = FileMark(0, 0, 0)
"""The mark of no file."""


def mark_of(status: os.stat_result) -> FileMark:
    """Return the mark of a file."""
    return FileMark(status.st_ino & INODE_MASK, status.st_size, status.st_mtime_ns)


def to_swept_file(name: str, mark: FileMark, *, position: int = 0, digest: bytes = b"") -> SweptFile:
    """Return what is stored of a file that need not be read again."""
    return SweptFile(name, *mark, position, digest.hex())


def read_mark(file: SweptFile) -> FileMark:
    """Return the mark of a stored file."""
    return FileMark(file.inode, file.size, file.written_ns)


class FileChanges(NamedTuple):
    """The files that were read since the last time, and the names of those that are to be read again, or are gone."""

    changed: Sequence[SweptFile]
    removed_names: frozenset[str]


class FileMemory:
    """Which files are to be stored as read, and which no longer, since the last changes. Names that are not
    UTF-8 are not stored: such files are read again after a restart.
    """

    def __init__(self) -> None:
        self._stored_names: set[str] = set()
        self._changed: dict[str, SweptFile] = {}
        self._removed_names: set[str] = set()

    def restore(self, names: Iterable[str]) -> None:
        """Note what is stored since before a restart."""
        self._stored_names.update(names)

    def add(self, file: SweptFile) -> None:
        """Note a file that need not be read again."""
        if _is_storable(file.name):
            self._changed[file.name] = file
            self._removed_names.discard(file.name)

    def remove(self, name: str) -> None:
        """Note a file that is to be read again, or is gone."""
        self._changed.pop(name, None)
        if name in self._stored_names:
            self._removed_names.add(name)

    def take(self) -> FileChanges:
        """Return the changes since the last time."""
        changes = FileChanges(list(self._changed.values()), frozenset(self._removed_names))
        self._stored_names.update(self._changed)
        self._stored_names -= self._removed_names
        self._changed, self._removed_names = {}, set()
        return changes


def _is_storable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def find_mark(path: Path | os.DirEntry[str]) -> FileMark | None:
    """Return the mark that a file has now; None where it is gone, or cannot be looked at."""
    try:
        return mark_of(path.stat(follow_symlinks=False))
    except OSError:
        return None


class FolderContent(NamedTuple):
    """The `changed` files of a folder by name, and the names of those that are as they were. `written_ns` says when a
    file of each series was last written.
    """

    changed: list[Path]
    unchanged: frozenset[str]
    written_ns: Mapping[str, int]


def series_of(name: str) -> str:
    """Return what the names of files have in common that a PBX writes one after another.

    >>> series_of("cdr-2026-11-30.log") == series_of("cdr.log.1") == series_of("cdr.log")
    True
    """
    return _AFTER_SERIES.split(name, maxsplit=1)[0].lower()


def scan_folder(folder: Path, marks: Mapping[str, FileMark]) -> FolderContent:
    """Return the files of a folder, without hidden ones; those with one of these `marks` are unchanged. Raises
    `UsageError`.
    """
    changed: list[str] = []
    unchanged: set[str] = set()
    written_ns: dict[str, int] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or not entry.is_file(follow_symlinks=False):
                    continue
                mark = find_mark(entry) or NO_MARK
                series = series_of(entry.name)
                written_ns[series] = max(mark.written_ns, written_ns.get(series, 0))
                if mark != NO_MARK and marks.get(entry.name) == mark:
                    unchanged.add(entry.name)
                else:
                    changed.append(entry.name)
    except OSError as error:
        raise UsageError(
            _("cannot read the folder: {reason}", reason=error.strerror or error), location=str(folder)
        ) from error
    if len(unchanged) > UNCHANGED_FILES_MAX:
        raise UsageError(
            _("there are more than {maximum} stored files in the folder", maximum=UNCHANGED_FILES_MAX),
            location=str(folder),
            hint=_("delete them, or have stored files moved to another folder"),
        )
    paths = [folder / name for name in sorted(changed)[:FILES_MAX]]
    return FolderContent(paths, frozenset(unchanged), written_ns)


def open_file(path: Path) -> BinaryIO:
    """Return an open file. A name that is, or has become meanwhile, a link or a pipe is not followed. Raises
    `OSError`.
    """
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(_("not a file"))
    return file


def read_error(path: Path, error: OSError) -> UsageError:
    """Return the error that says why a file cannot be read."""
    return UsageError(_("cannot read the file: {reason}", reason=error.strerror or error), location=str(path))


def move_files(paths: Sequence[Path], target: Path) -> list[Path]:
    """Move files of one folder into another one of the same file system; return where they are. Raises `UsageError`."""
    return list(iter_moved(paths, target))


def iter_moved(paths: Sequence[Path], target: Path) -> Iterator[Path]:
    """Move files as `move_files` does; yield where each one is as soon as it is there."""
    try:
        target.mkdir(exist_ok=True)
        if paths and paths[0].parent.samefile(target):
            raise UsageError(
                _("the stored files would be in the folder from which they are moved"),
                location=str(target),
                hint=_("name another folder"),
            )
        for path in paths:
            yield _move_file(path, target)
    except OSError as error:
        raise UsageError(
            _("cannot move files that are stored: {reason}", reason=error.strerror or error),
            location=str(target),
            hint=_("name a folder of the same file system that you may write to"),
        ) from error


def run_in_thread(executor: Executor | None, function: Callable[..., ResultT], *arguments: Any) -> Awaitable[ResultT]:
    """Run a function in a thread of an executor, with the context of the caller, such as its lease."""
    context = contextvars.copy_context()
    return asyncio.get_running_loop().run_in_executor(executor, partial(context.run, function, *arguments))


class MovedFiles:
    """Files that were moved lately: one to which its PBX goes on writing is moved back, and is read again."""

    def __init__(self) -> None:
        self._files: deque[tuple[float, Path, Path, FileMark]] = deque(maxlen=MOVED_FILES_MAX)

    def add(self, paths: Sequence[Path], moved_paths: Iterable[Path], marks: Sequence[FileMark], now: float) -> None:
        """Note files with the marks that they had when they were read. `now` is in seconds. Where `moved_paths` moves
        them, and ends with an error, those that were moved before it are noted.
        """
        self._files.extend(
            (now, path.parent, moved_path, mark)
            for path, moved_path, mark in zip(paths, moved_paths, marks, strict=True)
        )

    def return_changed(self, now: float) -> UsageError | None:
        """Move back what has grown since it was read. Return why the first of those that cannot be moved back cannot:
        the next time tries again.
        """
        remaining: list[tuple[float, Path, Path, FileMark]] = []
        first_error: UsageError | None = None
        for moved_file in self._files:
            moved_at, folder, path, mark = moved_file
            current_mark = find_mark(path)
            if current_mark is None or current_mark.inode != mark.inode:
                continue
            if current_mark.size > mark.size:
                try:
                    move_files([path], folder)
                except UsageError as error:
                    first_error = first_error or error
                    remaining.append(moved_file)
            elif abs(now - moved_at) < MOVED_SECONDS:
                remaining.append(moved_file)
        self._files = deque(remaining, maxlen=MOVED_FILES_MAX)
        return first_error


def _move_file(path: Path, target: Path) -> Path:
    """Move a file, under a name with a number where another file has its name. Raises `OSError`."""
    names = (f"{path.name}.{number}" if number else path.name for number in range(MOVED_NAMES_MAX))
    moved_path = next((target / name for name in names if not os.path.lexists(target / name)), None)
    if moved_path is None:
        raise OSError(_("it has too many files with the name {name}", name=path.name))
    path.rename(moved_path)
    return moved_path
