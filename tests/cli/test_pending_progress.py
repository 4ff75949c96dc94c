"""Progress, for a person who waits."""

from pathlib import Path

import pytest

from onhook.cli.pending_progress import follow_pending
from onhook.config import Config


async def test_nothing_is_shown_in_a_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody waits there."""
    await follow_pending(Config(data=tmp_path), "crm")
    assert capsys.readouterr() == ("", "")


async def test_a_person_is_told_when_nothing_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is owed is sent when the server runs; there is no progress until then."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    await follow_pending(Config(data=tmp_path), "crm")
    assert "It is sent when `onhook serve` runs." in capsys.readouterr().err
