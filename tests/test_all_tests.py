"""The parts of `make test-all`."""

import re

from tests.code_base import ROOT
from tools.all_tests import PARTS


def test_parts_contain_every_slow_test() -> None:
    folders = {word for arguments in PARTS.values() for word in arguments if word.startswith("tests/")}
    slow_files = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(r"mark\.slow|counts\.(rounds|seeds|step)|sampled\(", path.read_text("utf-8"))
        and "tests/pbx/" not in path.as_posix()
    ]
    assert len(slow_files) > 10
    left_out = [file for file in slow_files if not any(f"{file}/".startswith(f"{folder}/") for folder in folders)]
    assert [file for file in left_out if file != "tests/test_all_tests.py"] == []
