"""Progress on a terminal."""

from pathlib import Path

import pytest

from onhook.cli.pending_progress import follow_pending
from onhook.config import Config


async def test_follow_pending_prints_nothing_in_a_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await follow_pending(Config(data=tmp_path), "crm")
    assert capsys.readouterr() == ("", "")


async def test_follow_pending_without_a_server_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pending notifications are sent when the server runs."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    await follow_pending(Config(data=tmp_path), "crm")
    assert "They are sent when `onhook serve` runs." in capsys.readouterr().err
