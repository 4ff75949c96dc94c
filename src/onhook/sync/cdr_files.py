"""CDR files of a PBX, read line by line in place.

Invariants: files are never changed. One line is held in memory. Lines long before the requested time are skipped
without being read, because such a file grows for years.
"""

import gzip
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO

from onhook.lib.errors import NotFound, Unavailable
from onhook.lib.messages import _
from onhook.pbx.text_encoding import escape_bytes

LINE_CHARACTERS_MAX = 64 * 1024
"""A CDR has some 400; a longer line is cut, and then cannot be parsed."""

SEARCH_STEP_BYTES = 64 * 1024
"""Precision of the search for the first requested line."""

ROTATED_FILES_MAX = 100
"""As many as a rotation leaves; older files are ignored."""

GZIP_SUFFIX = ".gz"

_SQLITE_MAGIC = b"SQLite format 3\x00"

IsBefore = Callable[[str], bool]
"""Return whether a line is certainly older than requested."""


def is_sqlite_file(path: Path) -> bool:
    """Return whether the file is a SQLite file. Raises `NotFound`, `Unavailable`."""
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC
    except FileNotFoundError:
        raise NotFound(
            _("no such file"), location=str(path), hint=_("name the file in which the PBX stores its CDRs")
        ) from None
    except OSError as error:
        raise read_error(str(path), error.strerror or str(error)) from error


def list_rotated_files(path: Path) -> list[Path]:
    """Return a file and its rotated files (`NAME.1`, `NAME.2.gz`, `NAME-20261124`), the oldest first."""
    try:
        rotated_files = [
            candidate
            for separator in ".-"
            for candidate in path.parent.glob(f"{path.name}{separator}*")
            if candidate.is_file()
        ]
        rotated_files.sort(key=lambda candidate: candidate.stat().st_mtime)
    except OSError as error:
        raise read_error(str(path), error.strerror or str(error)) from error
    return [*rotated_files[-ROTATED_FILES_MAX:], path]


def read_lines(path: Path, is_before: IsBefore = lambda line: False) -> Iterator[str]:
    """Yield the lines of a text file: the first one, and all from shortly before the first requested one on.

    The lines are escaped text (`pbx.text_encoding`). Raises `Unavailable`.
    """
    try:
        with gzip.open(path) if path.suffix == GZIP_SUFFIX else path.open("rb") as file:
            first_line = file.readline(LINE_CHARACTERS_MAX)
            start = file.tell() if path.suffix == GZIP_SUFFIX else _find_start(file, is_before)
            file.seek(start)
            lines = iter(lambda: file.readline(LINE_CHARACTERS_MAX), b"")
            yield from (escape_bytes(line) for line in chain([first_line] if first_line else [], lines))
    except (OSError, EOFError) as error:
        raise read_error(str(path), getattr(error, "strerror", None) or str(error)) from error


def _find_start(file: IO[bytes] | gzip.GzipFile, is_before: IsBefore) -> int:
    """Return the offset to start from after the first line, by bisection."""
    low, high = file.tell(), file.seek(0, 2)
    while high - low > SEARCH_STEP_BYTES:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline(LINE_CHARACTERS_MAX)
        start = file.tell()
        line = file.readline(LINE_CHARACTERS_MAX)
        if start < high and is_before(escape_bytes(line)):
            low = start
        else:
            high = middle
    return low


def read_error(location: str, reason: str) -> Unavailable:
    """Return the error for a CDR source that cannot be read."""
    return Unavailable(
        _("cannot read the CDR source: {reason}", reason=reason),
        location=location,
        hint=_("check the permissions and the format of the file"),
    )
