"""Files of swept folders that were read and stay there: they are not read again after a restart.

Invariants: what is here was stored before. It belongs to one folder, and to a ledger that has everything that was
stored: with another folder or a shorter ledger there is nothing, and all files are read again.
"""

from collections.abc import Iterable, Sequence

import msgspec

from onhook.appdb.contract import Database, transactional

FILES_AT_ONCE = 1_000
"""Rows of one transaction: some milliseconds, also behind a first sweep of very many files."""


class SweptFile(msgspec.Struct, frozen=True):
    """A file as it was when it was read: number on the disk, size, and time in nanoseconds, all 0 for one that may be
    written still; of lines the `position` behind the last one that had ended, and a hash of what is before it.
    """

    name: str
    inode: int
    size: int
    written_ns: int
    position: int = 0
    digest: str = ""


class SweptFiles:
    """Repository of these files, by the serial number of their PBX. `last_seq` is that of the ledger now."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @transactional
    async def load(self, sn: str, path: str, *, last_seq: int) -> list[SweptFile]:
        """Return the files of a folder that need not be read."""
        rows = await self._database.rows(
            "SELECT 1 FROM swept_folders WHERE sn = ? AND path = ? AND ledger_seq <= ?", (sn, path, last_seq)
        )
        if not rows:
            await self.forget(sn)
            return []
        files = await self._database.rows(
            "SELECT name, inode, size, written_ns, position, digest FROM swept_files WHERE sn = ?", (sn,)
        )
        return [SweptFile(*row) for row in files]

    async def save(
        self, sn: str, path: str, changed: Sequence[SweptFile], removed_names: Iterable[str], *, last_seq: int
    ) -> None:
        """Store the files that were read since the last time, and forget others. Where the folder is another one by
        now, nothing is stored.
        """
        names = sorted(removed_names)
        for start in range(0, max(len(changed), len(names)), FILES_AT_ONCE):
            part = slice(start, start + FILES_AT_ONCE)
            await self._save_part(sn, path, changed[part], names[part], last_seq)

    async def forget(self, sn: str) -> None:
        """Have all files of a folder read again."""
        await self._database.write("DELETE FROM swept_files WHERE sn = ?", (sn,))

    async def forget_all(self) -> None:
        """Have all files of all folders read again: the ledger lacks what was in them."""
        await self._database.write("DELETE FROM swept_files")

    @transactional
    async def _save_part(
        self, sn: str, path: str, changed: Sequence[SweptFile], removed_names: Sequence[str], last_seq: int
    ) -> None:
        if not await self._database.write(
            "UPDATE swept_folders SET ledger_seq = ? WHERE sn = ? AND path = ?", (last_seq, sn, path)
        ):
            return
        await self._database.write_many(
            "DELETE FROM swept_files WHERE sn = ? AND name = ?", [(sn, name) for name in removed_names]
        )
        await self._database.write_many(
            "INSERT INTO swept_files VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (sn, name) DO UPDATE SET"
            " inode = excluded.inode, size = excluded.size, written_ns = excluded.written_ns,"
            " position = excluded.position, digest = excluded.digest",
            [(sn, *msgspec.structs.astuple(file)) for file in changed],
        )
