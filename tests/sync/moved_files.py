"""Files that a sweep cannot move."""

from pathlib import Path

import pytest

from onhook.sync import folder_files


def refuse_to_move(monkeypatch: pytest.MonkeyPatch, refused: Path, *, is_back: bool = False) -> None:
    """Let one file of a folder not be moved from there, or not back to there."""

    def move(path: Path, target: Path) -> Path:
        if (target / path.name if is_back else path) == refused:
            raise PermissionError(13, "Permission denied")
        return original_move(path, target)

    original_move = folder_files._move_file
    monkeypatch.setattr(folder_files, "_move_file", move)
