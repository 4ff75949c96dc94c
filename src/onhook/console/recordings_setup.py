"""Setting the directory with the recordings of a PBX on a page: below the root of the configuration, and nowhere else.

Invariants: a page names no directory outside of the root, by dots, an absolute path or a link, and learns nothing about
what is there: the error is that of a directory that does not exist.
"""

import os
from pathlib import Path

from onhook.lib.errors import UsageError
from onhook.lib.messages import _

LISTED_MAX = 200
"""Directories below the root that the form suggests."""


def find_directory(root: str, text: str) -> Path | None:
    """Return the directory with this path below the root; None for an empty text. Raises `UsageError`. It blocks as
    long as the file system does.
    """
    if not text:
        return None
    if not root:
        raise UsageError(
            _("no page may name a directory with recordings"),
            hint=_("set `recordings_root` in `onhook.toml`: directories below it can be chosen then"),
        )
    path = _resolve(Path(root), text)
    if path is None:
        raise UsageError(
            _("there is no readable directory {text} below {root}", text=repr(text[:80]), root=root),
            hint=_("choose one with the recordings of this PBX"),
        )
    return path


def _resolve(root: Path, text: str) -> Path | None:
    """Return the readable directory below the root; None for any other path."""
    try:
        base = root.resolve()
        path = (base / text).resolve()
        is_readable = path.is_relative_to(base) and path.is_dir() and os.access(path, os.R_OK | os.X_OK)
    except (OSError, ValueError):  # an invalid name: too long, or with a NUL
        return None
    return path if is_readable else None


def list_directories(root: str) -> list[str]:
    """Return the names of the directories directly below the root, without hidden ones; none where it cannot be read.
    It blocks as long as the file system does.
    """
    if not root:
        return []
    try:
        with os.scandir(root) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except OSError:
        return []
    return sorted(names)[:LISTED_MAX]
