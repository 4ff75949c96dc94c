"""Waiting for processes whose coverage is measured."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import measured_processes
from tests.measured_processes import VARIABLE, remove_empty_files, wait_for_measured_processes

SLEEP = "import sys; sys.stdin.read()"
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-S', '-c', {SLEEP!r}])"


def test_measured_process_whose_parent_has_ended_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends with its standard input. A process that is not measured is not waited for."""
    monkeypatch.setenv(VARIABLE, "that of this test")
    monkeypatch.setattr(measured_processes, "SECONDS_MAX", 60.0)
    reader, writer = os.pipe()
    environment = {VARIABLE: "that of this test"}
    subprocess.run([sys.executable, "-S", "-c", PARENT], stdin=reader, env=environment, check=True)
    os.close(reader)
    began_at, polls = time.monotonic(), 0

    def end_process(_seconds: float) -> None:
        nonlocal polls
        polls += 1
        if polls == 2:
            os.close(writer)

    monkeypatch.setattr(time, "sleep", end_process)
    wait_for_measured_processes()
    assert polls >= 2
    assert time.monotonic() - began_at < 60
    monkeypatch.delenv(VARIABLE)
    wait_for_measured_processes()


def test_file_of_a_process_killed_before_it_wrote_is_removed(tmp_path: Path) -> None:
    (tmp_path / "data.1").touch()
    (tmp_path / "data.2").write_text("measured")
    remove_empty_files(tmp_path)
    remove_empty_files(tmp_path / "missing")
    assert [path.name for path in tmp_path.iterdir()] == ["data.2"]
