"""The parts of `make test-all`."""

import re
from pathlib import Path

from tests.code_base import ROOT
from tools.all_tests import PARTS


def test_parts_contain_every_slow_test_once() -> None:
    folders = [word for arguments in PARTS.values() for word in arguments if word.startswith("tests/")]
    slow_files = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(r"mark\.slow|counts\.(rounds|seeds|step)|sampled\(", path.read_text("utf-8"))
        and "tests/pbx/" not in path.as_posix()
        and path != Path(__file__)
    ]
    assert len(slow_files) > 10
    parts_of_file = {file: [folder for folder in folders if f"{file}/".startswith(f"{folder}/")] for file in slow_files}
    assert {file: parts for file, parts in parts_of_file.items() if len(parts) != 1} == {}
