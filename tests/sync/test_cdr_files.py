"""CDR files and their rotated parts."""

import gzip
import os
from pathlib import Path

import pytest

from onhook.lib.errors import NotFound, Unavailable
from onhook.sync.cdr_files import SEARCH_STEP_BYTES, is_sqlite_file, list_rotated_files, read_lines

LINES = [f"{number:08}\n" for number in range(100_000)]


def test_read_lines_of_a_long_file_begins_near_the_requested_line(tmp_path: Path) -> None:
    """The first line of the file is always included, because it may name the columns."""
    path = tmp_path / "Master.csv"
    path.write_text("".join(LINES))
    lines = list(read_lines(path, lambda line: line < "00090000"))
    assert lines[0] == LINES[0]
    assert lines[-10_000:] == LINES[90_000:]
    assert len("".join(lines[1:])) <= 10_000 * len(LINES[0]) + SEARCH_STEP_BYTES
    assert list(read_lines(path)) == LINES
    assert list(read_lines(path, lambda line: True))[-1] == LINES[-1]


def test_list_rotated_files_is_oldest_first(tmp_path: Path) -> None:
    """Compressed or not; other files of the folder are ignored."""
    path = tmp_path / "Master.csv"
    for age, name in ((3, "Master.csv.2.gz"), (2, "Master.csv-20261124"), (1, "Master.csv"), (0, "Master.csv2")):
        text = f"{age}\n".encode()
        (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        os.utime(tmp_path / name, (1_000 - age, 1_000 - age))
    lines = [line for rotated_file in list_rotated_files(path) for line in read_lines(rotated_file, lambda line: True)]
    assert lines == ["3\n", "2\n", "1\n"]


def test_read_lines_unreadable_file_is_an_error(tmp_path: Path) -> None:
    """A missing file, a folder, and a damaged compressed file."""
    with pytest.raises(NotFound):
        is_sqlite_file(tmp_path / "Master.csv")
    with pytest.raises(Unavailable, match="cannot read"):
        list(read_lines(tmp_path))
    torn = tmp_path / "Master.csv.1.gz"
    torn.write_bytes(gzip.compress(b"line\n" * 10_000)[:-20])
    with pytest.raises(Unavailable, match="cannot read"):
        list(read_lines(torn))
