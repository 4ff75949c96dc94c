"""Where the recordings of a PBX are, on this machine: a directory that the PBX, or whoever copies from it, writes into.

Only the command line sets it: whoever could name a directory through a page could read whatever lies on this machine.
"""

import os
from pathlib import Path

from onhook.appdb.sqlite import SqliteDatabase
from onhook.lib.errors import UsageError


class Recordings:
    """The directories, by serial number."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def get(self, sn: str) -> Path | None:
        """That of one PBX; None where its recordings are not here."""
        rows = self._database.rows("SELECT directory FROM recordings WHERE sn = ?", (sn,))
        return Path(rows[0][0]) if rows else None

    def put(self, sn: str, directory: Path | None) -> None:
        """Let this be the directory of a PBX that is declared; None takes it away. `directory` was checked."""
        if directory is None:
            self._database.write("DELETE FROM recordings WHERE sn = ?", (sn,))
            return
        self._database.write(
            "INSERT INTO recordings VALUES (?, ?) ON CONFLICT DO UPDATE SET directory = excluded.directory",
            (sn, str(directory)),
        )


def parse_directory(text: str) -> Path | None:
    """The whole path of a directory that can be read; None for an empty text. Raises `UsageError`."""
    if not text:
        return None
    path = Path(text).absolute()
    if not os.access(path, os.R_OK | os.X_OK) or not path.is_dir():
        raise UsageError(
            f"there is no directory {text[:80]!r} that can be read", hint="name the one with the recordings"
        )
    return path
