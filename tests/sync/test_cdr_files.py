"""Files are read from where they are wanted on; what a rotation left of them belongs to them."""

import gzip
import os
from pathlib import Path

import pytest

from onhook.lib.errors import NotFound, Unavailable
from onhook.sync.cdr_files import SEARCH_STEP_BYTES, is_sqlite_file, list_rotated_files, read_lines

LINES = [f"{number:08}\n" for number in range(100_000)]


def test_a_long_file_is_read_from_the_first_line_that_is_wanted(tmp_path: Path) -> None:
    """And a little before; the first line of all comes first, for it may name the columns."""
    path = tmp_path / "Master.csv"
    path.write_text("".join(LINES))
    found = list(read_lines(path, lambda line: line < "00090000"))
    assert found[0] == LINES[0]
    assert found[-10_000:] == LINES[90_000:]
    assert len("".join(found[1:])) <= 10_000 * len(LINES[0]) + SEARCH_STEP_BYTES
    assert list(read_lines(path)) == LINES
    assert list(read_lines(path, lambda line: True))[-1] == LINES[-1]


def test_what_a_rotation_left_is_read_first(tmp_path: Path) -> None:
    """The oldest first, packed or not; other files of the folder are none of it."""
    path = tmp_path / "Master.csv"
    for age, name in ((3, "Master.csv.2.gz"), (2, "Master.csv-20261124"), (1, "Master.csv"), (0, "Master.csv2")):
        text = f"{age}\n".encode()
        (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        os.utime(tmp_path / name, (1_000 - age, 1_000 - age))
    found = [line for rotated_file in list_rotated_files(path) for line in read_lines(rotated_file, lambda line: True)]
    assert found == ["3\n", "2\n", "1\n"]


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A file that is not there, a folder, and a packed file that is torn."""
    with pytest.raises(NotFound):
        is_sqlite_file(tmp_path / "Master.csv")
    with pytest.raises(Unavailable, match="cannot read"):
        list(read_lines(tmp_path))
    torn = tmp_path / "Master.csv.1.gz"
    torn.write_bytes(gzip.compress(b"line\n" * 10_000)[:-20])
    with pytest.raises(Unavailable, match="cannot read"):
        list(read_lines(torn))
