"""Recording directories on this machine, written by the PBX or by a copying program.

The command line sets any, a page those below `recordings_root`: one that could name any directory could read any file.
"""

import os
from collections.abc import Mapping
from pathlib import Path, PurePath
from types import MappingProxyType

from onhook.appdb.cluster import is_here
from onhook.appdb.contract import Database
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_row
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

AUDIO_TYPES: Mapping[str, str] = MappingProxyType(
    {
        ".wav": "audio/wav",
        ".mp3": "audio/mpeg",
        ".ogg": "audio/ogg",
        ".opus": "audio/ogg",
        ".m4a": "audio/mp4",
        ".flac": "audio/flac",
    }
)
"""Formats that PBXs write and browsers play; no others are served."""


class Recordings:
    """Repository of recording directories, by serial number."""

    def __init__(self, database: Database, node: str = "") -> None:
        """`node` is the name of this machine among several."""
        self._database = database
        self._node = node

    async def get(self, sn: str) -> Path | None:
        """Return the directory of a PBX on this machine, or None. Raises `RowUnreadable`."""
        rows = await self._database.rows("SELECT directory, node FROM recordings WHERE sn = ?", (sn,))
        if not rows:
            return None
        directory, node = read_row(rows[0], lambda row: (Path(row[0]), str(row[1])))
        return directory if is_here(node, self._node) else None

    async def other_machines(self) -> dict[str, str]:
        """Return the names of the machines that have directories which this one does not have, by serial number."""
        rows = await self._database.rows("SELECT sn, node FROM recordings ORDER BY sn")
        return {str(sn): str(node) for sn, node in rows if not is_here(str(node), self._node)}

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read."""
        rows = await self._database.rows("SELECT sn, directory, node FROM recordings ORDER BY sn")
        return list_unreadable("recordings", rows, lambda row: Path(row[1]))

    async def put(self, sn: str, directory: Path | None) -> None:
        """Set the directory of a registered PBX; None removes it. `directory` is validated already."""
        if directory is None:
            await self._database.write("DELETE FROM recordings WHERE sn = ?", (sn,))
            return
        await self._database.write(
            "INSERT INTO recordings VALUES (?, ?, ?)"
            " ON CONFLICT (sn) DO UPDATE SET directory = excluded.directory, node = excluded.node",
            (sn, str(directory), self._node),
        )


def parse_directory(text: str) -> Path | None:
    """Return the absolute path of a readable directory; None for an empty text. Raises `UsageError`."""
    if not text:
        return None
    path = Path(text).absolute()
    if not os.access(path, os.R_OK | os.X_OK) or not path.is_dir():
        raise UsageError(
            _("there is no readable directory {text}", text=repr(text[:80])), hint=_("name the one with the recordings")
        )
    return path


def find_recording_file(directory: Path, name: str) -> Path | None:
    """Return the file with this name; None for a name that is not audio, and for a file elsewhere, by dots, an absolute
    path or a link.
    """
    if PurePath(name).suffix.lower() not in AUDIO_TYPES:
        return None
    try:
        root = directory.resolve()
        path = (root / name).resolve()
        return path if path.is_relative_to(root) and path.is_file() else None
    except (OSError, ValueError):  # an invalid name: too long, or with a NUL
        return None
