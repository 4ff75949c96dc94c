"""Folders in which PBXs leave files, which the hub stores: their settings, and what became of the files."""

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from onhook.appdb.cluster import is_here
from onhook.appdb.contract import Database, Row, transactional
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_rows
from onhook.appdb.swept_files import SweptFiles
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime

PATH_CHARACTERS_MAX = 4_096
"""As long as a path of Linux."""

ERROR_CHARACTERS_MAX = 500

_SELECT = "SELECT sn, path, target, swept_at, stored, unreadable, error, node FROM swept_folders ORDER BY sn"


class SweptFolder(msgspec.Struct, frozen=True, kw_only=True):
    """`path` is a folder, or a file to which a PBX appends. Files that are stored are moved to `target`, if there is
    one. `swept_at` is when the folder was last read; `stored` counts the events that were new since the setting was
    made, `unreadable` the files or lines that are there and are no events. `error` says why it could not be read.
    `node` is the machine that has the folder, among several; the repository sets it.
    """

    path: str
    target: str = ""
    swept_at: datetime | None = None
    stored: int = 0
    unreadable: int = 0
    error: str = ""
    node: str = ""


class SweptFolders:
    """Repository of these folders, by serial number; `files` is that of the files in them."""

    def __init__(self, database: Database, node: str = "") -> None:
        """`node` is the name of this machine among several."""
        self._database = database
        self._node = node
        self.files = SweptFiles(database)

    async def all(self) -> Mapping[str, SweptFolder]:
        """Return the folders of all PBXs that have one."""
        return dict(read_rows(await self._database.rows(_SELECT), _swept_folder))

    async def all_here(self) -> Mapping[str, SweptFolder]:
        """Return those that this machine can read."""
        return {sn: folder for sn, folder in (await self.all()).items() if is_here(folder.node, self._node)}

    async def get(self, sn: str) -> SweptFolder | None:
        """Return the folder of a PBX, or None."""
        return (await self.all()).get(sn)

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read."""
        return list_unreadable("swept_folders", await self._database.rows(_SELECT), _swept_folder)

    @transactional
    async def put(self, sn: str, folder: SweptFolder | None) -> None:
        """Set the folder of a registered PBX, of which nothing was read yet; None removes it. It is validated already.
        It is on this machine, and one that stays the same is where it was.
        """
        if folder is None:
            await self._database.write("DELETE FROM swept_folders WHERE sn = ?", (sn,))
            return
        # All files are read again, and moved where that is set now.
        await self.files.forget(sn)
        await self._database.write(
            "INSERT INTO swept_folders (sn, path, target, stored, unreadable, error, node)"
            " VALUES (?, ?, ?, 0, 0, '', ?) ON CONFLICT (sn) DO UPDATE SET path = excluded.path,"
            " target = excluded.target, swept_at = NULL, stored = 0, unreadable = 0, error = '', node = CASE"
            " WHEN swept_folders.path = excluded.path THEN swept_folders.node ELSE excluded.node END",
            (sn, folder.path, folder.target, self._node),
        )

    async def save_result(self, sn: str, *, stored: int, unreadable: int, error: str, now_us: int) -> None:
        """Store what became of the files; `stored` are those of this time."""
        await self._database.write(
            "UPDATE swept_folders SET swept_at = ?, stored = stored + ?, unreadable = ?, error = ? WHERE sn = ?",
            (now_us, stored, unreadable, error[:ERROR_CHARACTERS_MAX], sn),
        )


def parse_swept_folder(path_text: str, target_text: str) -> SweptFolder | None:
    """Return the folder that texts describe, None for an empty path. Raises `UsageError`."""
    path, target = path_text.strip(), target_text.strip()
    if not path:
        if target:
            raise UsageError(_("there is no folder whose files could be moved"), hint=_("name both, or neither"))
        return None
    for text in filter(None, (path, target)):
        if not Path(text).is_absolute() or len(text) > PATH_CHARACTERS_MAX or not text.isprintable():
            raise UsageError(
                _("{path} is no folder of this machine", path=repr(text[:80])), hint=_("write its whole path")
            )
    # A folder inside of it is allowed: folders in folders are not read.
    if target and os.path.normpath(target) == os.path.normpath(path):
        raise UsageError(
            _("the stored files would be in the folder from which they are moved"), hint=_("name another folder")
        )
    return SweptFolder(path=path, target=target)


def _swept_folder(row: Row) -> tuple[str, SweptFolder]:
    sn, path, target, swept_at, stored, unreadable, error, node = row
    return sn, SweptFolder(
        path=path,
        target=target,
        swept_at=None if swept_at is None else to_datetime(swept_at),
        stored=stored,
        unreadable=unreadable,
        error=error,
        node=node,
    )
