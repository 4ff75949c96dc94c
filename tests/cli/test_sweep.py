"""`onhook sweep`: files of the error folder of a FreeSWITCH."""

import os
import shutil
from pathlib import Path

from tests.cli.conftest import Command
from tests.pbx.freeswitch.captures import PAYLOADS

LINES = Path(__file__).parents[1] / "payloads" / "lines"


def test_sweep_stores_files_and_moves_them(onhook: Command, tmp_path: Path) -> None:
    folder, target = tmp_path / "json_cdr_err", tmp_path / "sent"
    folder.mkdir()
    for path in PAYLOADS.glob("e22*/disk/*/*.cdr.json"):
        os.utime(shutil.copy(path, folder), (0, 0))
    add = ("pbx", "add", "Fusion", "--sn", "FUSION-1", "--dialect", "freeswitch", "--from", "192.0.2.7")
    assert onhook(*add)[0] == 0
    code, text, _error = onhook("sweep", str(folder), "--pbx", "Fusion")
    assert (code, text.startswith("2 files: 2 new, 0 already stored")) == (0, True)
    code, text, _error = onhook("sweep", str(folder), "--pbx", "Fusion", "--move-to", str(target))
    assert (code, text.startswith("2 files: 0 new, 2 already stored")) == (0, True)
    assert (len(list(folder.iterdir())), len(list(target.iterdir()))) == (0, 2)


def test_sweep_stores_the_lines_of_files(onhook: Command, tmp_path: Path) -> None:
    folder = tmp_path / "CDRLogs"
    folder.mkdir()
    for path in LINES.glob("3cx_v20_2024*.txt"):
        os.utime(shutil.copy(path, folder), (0, 0))
    assert onhook("pbx", "add", "Office", "--type", "3cx", "--listen", "127.0.0.1:5015")[0] == 0
    code, text, _error = onhook("sweep", str(folder), "--pbx", "Office")
    assert (code, text.startswith("2 files with 2 lines: 2 new, 0 already stored, 0 that are no calls")) == (0, True)
    code, text, _error = onhook("sweep", str(next(folder.iterdir())), "--pbx", "Office")
    assert (code, text.startswith("1 files with 1 lines: 0 new, 1 already stored")) == (0, True)


def test_sweep_of_a_pbx_that_leaves_no_files_is_an_error(onhook: Command, tmp_path: Path) -> None:
    assert onhook("pbx", "add", "Office", "--sn", "3631A2124ABC", "--secret", "first-secret")[0] == 0
    code, _text, error = onhook("sweep", str(tmp_path), "--pbx", "Office")
    assert (code, "leaves no files" in error) == (2, True)
