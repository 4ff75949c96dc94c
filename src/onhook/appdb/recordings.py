"""Recording directories on this machine, written by the PBX or by a copying program.

Only the command line sets them: a page that could name a directory could read any file on this machine.
"""

import os
from pathlib import Path

from onhook.appdb.sqlite import SqliteDatabase
from onhook.lib.errors import UsageError
from onhook.lib.messages import _


class Recordings:
    """Repository of recording directories, by serial number."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def get(self, sn: str) -> Path | None:
        """Return the directory of a PBX, or None."""
        rows = self._database.rows("SELECT directory FROM recordings WHERE sn = ?", (sn,))
        return Path(rows[0][0]) if rows else None

    def put(self, sn: str, directory: Path | None) -> None:
        """Set the directory of a registered PBX; None removes it. `directory` is validated already."""
        if directory is None:
            self._database.write("DELETE FROM recordings WHERE sn = ?", (sn,))
            return
        self._database.write(
            "INSERT INTO recordings VALUES (?, ?) ON CONFLICT DO UPDATE SET directory = excluded.directory",
            (sn, str(directory)),
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
