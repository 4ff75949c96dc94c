"""Commands, given in the test's own process where nothing else is needed, and as processes where it is."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onhook.cli.main import main
from tests.runtime.harness import House, house_in

Command = Callable[..., tuple[int, str, str]]
"""Words in; exit code, standard output and standard error out."""


@pytest.fixture
def onhook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line in an empty directory, with its data directory in `onhook-data`."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["onhook", *words])
        code = main()
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house in which a PBX is declared; not started."""
    with house_in(tmp_path / "house") as one:
        one.add_pbx()
        yield one
