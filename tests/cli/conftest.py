"""Commands, run in the test's own process where possible, and as processes where needed."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onhook.cli.main import main
from tests.runtime.harness import Server, create_server

Command = Callable[..., tuple[int, str, str]]
"""Arguments in; exit code, standard output and standard error out."""


@pytest.fixture
def onhook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Yield the command line in an empty directory, with its data directory in `onhook-data`."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["onhook", *arguments])
        exit_code = main()
        captured = capsys.readouterr()
        return exit_code, captured.out, captured.err

    return run


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Yield a server with a registered PBX, not started."""
    with create_server(tmp_path / "data") as new_server:
        new_server.add_pbx()
        yield new_server
