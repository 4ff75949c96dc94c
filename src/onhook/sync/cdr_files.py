"""Files in which a PBX keeps its calls, read as they lie there, line by line.

Laws: what is read is not changed; no more than a line is held; what lies long before the moment that is asked for is
skipped without being read, for such a file grows for years.
"""

import gzip
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO

from onhook.lib.errors import NotFound, Unavailable

LINE_CHARACTERS_MAX = 64 * 1024
"""A CDR has some 400; a longer line is cut, and then no CDR."""

STEP_BYTES = 64 * 1024
"""How near to the first line that is wanted the search for it ends."""

ROTATED_MAX = 100
"""As many as a rotation leaves; the oldest beyond that are not looked at."""

PACKED = ".gz"

_SQLITE_BEGIN = b"SQLite format 3\x00"

IsBefore = Callable[[str], bool]
"""Whether a line is surely older than what is asked for."""


def is_table_file(path: Path) -> bool:
    """Whether it is a SQLite file. Raises `NotFound`, `Unavailable`."""
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE_BEGIN)) == _SQLITE_BEGIN
    except FileNotFoundError:
        raise NotFound(
            "there is no such file", where=str(path), todo="name the file in which the PBX keeps CDRs"
        ) from None
    except OSError as error:
        raise unreadable(str(path), error.strerror or str(error)) from error


def rotated(path: Path) -> list[Path]:
    """A file and those that a rotation has left of it (`NAME.1`, `NAME.2.gz`, `NAME-20261124`), the oldest first."""
    try:
        left = [one for mark in ".-" for one in path.parent.glob(f"{path.name}{mark}*") if one.is_file()]
        left.sort(key=lambda one: one.stat().st_mtime)
    except OSError as error:
        raise unreadable(str(path), error.strerror or str(error)) from error
    return [*left[-ROTATED_MAX:], path]


def lines_of(path: Path, is_before: IsBefore = lambda line: False) -> Iterator[str]:
    """The lines of a text file: the first, and those from the first on that is not surely too old, or a little before.

    Bytes that are no UTF-8 are shown as such. Raises `Unavailable`.
    """
    try:
        with gzip.open(path) if path.suffix == PACKED else path.open("rb") as file:
            first = file.readline(LINE_CHARACTERS_MAX)
            begin = file.tell() if path.suffix == PACKED else _first_wanted(file, is_before)
            file.seek(begin)
            rest = iter(lambda: file.readline(LINE_CHARACTERS_MAX), b"")
            yield from (line.decode("utf-8", "replace") for line in chain([first] if first else [], rest))
    except (OSError, EOFError) as error:
        raise unreadable(str(path), getattr(error, "strerror", None) or str(error)) from error


def _first_wanted(file: IO[bytes] | gzip.GzipFile, is_before: IsBefore) -> int:
    """Where to begin after the first line: halves what is left as long as the line in the middle is too old."""
    low, high = file.tell(), file.seek(0, 2)
    while high - low > STEP_BYTES:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline(LINE_CHARACTERS_MAX)
        begin = file.tell()
        line = file.readline(LINE_CHARACTERS_MAX)
        if begin < high and is_before(line.decode("utf-8", "replace")):
            low = begin
        else:
            high = middle
    return low


def unreadable(where: str, why: str) -> Unavailable:
    """The error for what a PBX keeps and we cannot read."""
    return Unavailable(
        f"cannot read what the PBX keeps: {why}", where=where, todo="look whether our user may read it, and how it is"
    )
