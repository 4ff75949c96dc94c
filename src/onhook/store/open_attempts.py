"""Counts the openings of a store that have ended their process, such as by SIGSEGV in the engine: nothing else marks
such a file as damaged, and each further start would end in the same way.

Invariant: only what ends the process without an exception counts, and only while the file is being opened.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

OPENING_SUFFIX = ".opening"
"""Of a file beside a store while it is being opened; it has the number of openings in a row that have not ended."""

DEATHS_MAX = 3
"""One may be a `kill`, or a loss of power while a long write-ahead log is read."""


def opening_mark(path: Path) -> Path:
    """Return the path of the file that has the number of openings."""
    return path.with_name(path.name + OPENING_SUFFIX)


def count_deaths(path: Path) -> int:
    """Return how many openings in a row have ended their process."""
    try:
        return int(opening_mark(path).read_text())
    except (OSError, ValueError):
        return 0


@contextmanager
def counted_opening(path: Path) -> Iterator[None]:
    """Count the opening of a store, until the context ends in whichever way."""
    mark = opening_mark(path)
    # A disk on which nothing can be written is no reason not to read.
    with suppress(OSError):
        mark.write_text(str(count_deaths(path) + 1))
    try:
        yield
    finally:
        with suppress(OSError):
            mark.write_text("0")  # first: in a directory that may not be written the file stays
            mark.unlink(missing_ok=True)
