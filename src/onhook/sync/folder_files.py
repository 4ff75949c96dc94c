"""Files of a folder in which a PBX leaves them: which are there, which have changed since they were read, and moving
them away.

Invariants: links and pipes are not followed. A file that is moved replaces no other one.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

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


class FileMark(NamedTuple):
    """What changes when a file is written: its number on the disk, its size, and its time in nanoseconds."""

    inode: int
    size: int
    written_ns: int


NO_MARK: Final = FileMark(0, 0, 0)
"""The mark of no file."""


def mark_of(status: os.stat_result) -> FileMark:
    """Return the mark of a file."""
    return FileMark(status.st_ino, status.st_size, status.st_mtime_ns)


def find_mark(path: Path | os.DirEntry[str]) -> FileMark | None:
    """Return the mark that a file has now; None where it is gone, or cannot be looked at."""
    try:
        return mark_of(path.stat(follow_symlinks=False))
    except OSError:
        return None


class FolderContent(NamedTuple):
    """The `changed` files of a folder by name, and the names of those that are as they were."""

    changed: list[Path]
    unchanged: frozenset[str]


def scan_folder(folder: Path, marks: Mapping[str, FileMark]) -> FolderContent:
    """Return the files of a folder, without hidden ones; those with one of these `marks` are unchanged. Raises
    `UsageError`.
    """
    changed: list[str] = []
    unchanged: set[str] = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or not entry.is_file(follow_symlinks=False):
                    continue
                if entry.name in marks and marks[entry.name] == find_mark(entry):
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
    return FolderContent([folder / name for name in sorted(changed)[:FILES_MAX]], frozenset(unchanged))


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
    try:
        target.mkdir(exist_ok=True)
        if paths and paths[0].parent.samefile(target):
            raise UsageError(
                _("the stored files would be in the folder from which they are moved"),
                location=str(target),
                hint=_("name another folder"),
            )
        return [_move_file(path, target) for path in paths]
    except OSError as error:
        raise UsageError(
            _("cannot move files that are stored: {reason}", reason=error.strerror or error),
            location=str(target),
            hint=_("name a folder of the same file system that you may write to"),
        ) from error


def _move_file(path: Path, target: Path) -> Path:
    """Move a file, under a name with a number where another file has its name. Raises `OSError`."""
    names = (f"{path.name}.{number}" if number else path.name for number in range(MOVED_NAMES_MAX))
    moved_path = next((target / name for name in names if not os.path.lexists(target / name)), None)
    if moved_path is None:
        raise OSError(_("it has too many files with the name {name}", name=path.name))
    path.rename(moved_path)
    return moved_path
