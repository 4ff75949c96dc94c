"""Files that only their owner can read."""

import stat
from pathlib import Path

import pytest

from onhook.cli.private_file import private_file


@pytest.mark.parametrize("left", ["nothing", "readable file", "link"])
def test_private_file_is_readable_for_its_owner_alone(tmp_path: Path, left: str) -> None:
    """Also where another run has left a file that all can read, or where a link has the name of the unfinished file."""
    path, partial_path, other_path = tmp_path / "calls.csv", tmp_path / "calls.csv.part", tmp_path / "other"
    other_path.write_bytes(b"other")
    if left == "readable file":
        partial_path.write_bytes(b"left")
        partial_path.chmod(0o644)
    elif left == "link":
        partial_path.symlink_to(other_path)
    with private_file(path) as output:
        output.write(b"calls")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"calls", 0o600)
    assert not path.is_symlink()
    assert (other_path.read_bytes(), partial_path.exists()) == (b"other", False)
