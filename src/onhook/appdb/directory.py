"""The directory: names that a person or an import has set, names that PBXs list, and names learnt from events.

Invariants: the revision changes with each change of a name, so that readers keep what they have read. Nothing is learnt
from what was read before an erasure.
"""

from collections.abc import Sequence
from typing import cast

import msgspec

from onhook.appdb.contract import Database, Row, transactional
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_rows
from onhook.cdr.directory import ENTRY_KINDS, DirectoryEntry, EntryKind, LearntName, PbxName, check_entry
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.messages import _

ENTRIES_MAX = 50_000
"""All are kept in memory for showing names: some 20 MB."""

LEARNT_NAMES_MAX = 20_000
"""More extensions than the largest PBXs have together. Further ones are not learnt."""

PBX_NAMES_MAX = 20_000
"""Of one PBX, as LEARNT_NAMES_MAX of all."""

_SELECT = (
    "SELECT sn, number, kind, name, department, site, company FROM directory_entries"
    " ORDER BY sn, length(number), number"
)
_PUT = """
INSERT INTO directory_entries (sn, number, kind, name, department, site, company) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (sn, number) DO UPDATE SET kind = excluded.kind, name = excluded.name, department = excluded.department,
site = excluded.site, company = excluded.company
"""
_LEARN = """
INSERT INTO learnt_names (sn, number, name, started_at, seq) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (sn, number) DO UPDATE SET name = excluded.name, started_at = excluded.started_at, seq = excluded.seq
"""
_NEXT_REVISION = (
    "INSERT INTO directory_state VALUES (1, 1, 0, 0)"
    " ON CONFLICT (state_id) DO UPDATE SET revision = directory_state.revision + 1"
)
_FIRST_STATE = "INSERT INTO directory_state VALUES (1, 0, 0, 0) ON CONFLICT DO NOTHING"
_SELECT_LEARNT = "SELECT sn, number, name, started_at, seq FROM learnt_names ORDER BY sn, length(number), number"


_SELECT_LISTED = "SELECT sn, number, kind, name FROM pbx_names ORDER BY sn, length(number), number"


class DatedName(msgspec.Struct, frozen=True, kw_only=True):
    """A learnt name: `started_at` is the start of the leg that had it, in microseconds since 1970, `seq` its event."""

    sn: str
    number: str
    name: str
    started_at: int
    seq: int


class LearntState(msgspec.Struct, frozen=True, kw_only=True):
    """The number up to which raw events were read for names, and how many erasures there were by then."""

    position: int
    erasures: int


class DirectoryRepository:
    """Repository of entries and learnt names."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def revision(self) -> int:
        """Return a number that changes with each change of a name."""
        rows = await self._database.rows("SELECT revision FROM directory_state")
        return int(rows[0][0]) if rows else 0

    async def entries(self) -> list[DirectoryEntry]:
        """Return all entries: contacts, then the numbers of each PBX, in their order."""
        return read_rows(await self._database.rows(_SELECT), _entry)

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read."""
        return list_unreadable("directory_entries", await self._database.rows(_SELECT), _entry, name_columns=(0, 1))

    async def list_unreadable_names(self) -> list[UnreadableRow]:
        """Return the rows of learnt names that cannot be read."""
        rows = await self._database.rows(_SELECT_LEARNT)
        return list_unreadable("learnt_names", rows, _dated_name, name_columns=(0, 1))

    async def learnt_names(self) -> list[LearntName]:
        """Return the names that were learnt, in the order of entries."""
        return [LearntName(sn=name.sn, number=name.number, name=name.name) for name in await self.dated_names()]

    async def pbx_names(self) -> list[PbxName]:
        """Return the names that PBXs list, in the order of entries."""
        return read_rows(await self._database.rows(_SELECT_LISTED), _pbx_name)

    async def list_unreadable_pbx_names(self) -> list[UnreadableRow]:
        """Return the rows of names of PBXs that cannot be read."""
        rows = await self._database.rows(_SELECT_LISTED)
        return list_unreadable("pbx_names", rows, _pbx_name, name_columns=(0, 1))

    async def put_pbx_names(self, sn: str, names: Sequence[PbxName]) -> None:
        """Store the names that a PBX lists, in place of all earlier ones; names of a PBX that was removed meanwhile are
        not stored. Equal names change nothing. `names` are at most PBX_NAMES_MAX, one for a number.
        """
        wanted = sorted((name.number, name.kind, name.name) for name in names)
        query = "SELECT number, kind, name FROM pbx_names WHERE sn = ? ORDER BY number"
        if await self._database.rows(query, (sn,)) == wanted:
            return
        async with self._database.transaction():
            await self._database.write("DELETE FROM pbx_names WHERE sn = ?", (sn,))
            if await self._database.rows("SELECT 1 FROM pbxs WHERE sn = ?", (sn,)):
                await self._database.write_many(
                    "INSERT INTO pbx_names (sn, number, kind, name) VALUES (?, ?, ?, ?)", [(sn, *row) for row in wanted]
                )
            await self._database.write(_NEXT_REVISION)

    @transactional
    async def put(self, entries: Sequence[DirectoryEntry]) -> None:
        """Add or replace entries, all or none. Raises `UsageError` for an invalid one, or too many."""
        checked = [check_entry(entry) for entry in entries]
        await self._database.write_many(_PUT, [_values(entry) for entry in checked])
        (count,) = (await self._database.rows("SELECT count(*) FROM directory_entries"))[0]
        if count > ENTRIES_MAX:
            raise UsageError(
                _("the directory has at most {maximum} entries", maximum=ENTRIES_MAX), hint=_("remove some")
            )
        await self._database.write(_NEXT_REVISION)

    @transactional
    async def remove(self, sn: str, number: str) -> None:
        """Remove an entry; a learnt name is shown again. Raises `NotFound`."""
        if not await self._database.write("DELETE FROM directory_entries WHERE sn = ? AND number = ?", (sn, number)):
            raise NotFound(
                _("the directory has no entry for {number}", number=repr(number[:40])),
                hint=_("`onhook directory list` shows all"),
            )
        await self._database.write(_NEXT_REVISION)

    # Learning

    async def learnt_state(self) -> LearntState:
        """Return how far names were learnt."""
        rows = await self._database.rows("SELECT learnt_position, erasures FROM directory_state")
        position, erasures = rows[0] if rows else (0, 0)
        return LearntState(position=position, erasures=erasures)

    async def dated_names(self) -> list[DatedName]:
        """Return all learnt names with their times."""
        return read_rows(await self._database.rows(_SELECT_LEARNT), _dated_name)

    async def learn(self, names: Sequence[DatedName], state: LearntState) -> bool:
        """Store names and the new position; return False, and store nothing, where a number was erased since
        `state.erasures` was read. Names must be at most LEARNT_NAMES_MAX with those that are stored.
        """
        # No process waits for a position alone.
        async with self._database.transaction(is_awaited=bool(names)):
            await self._database.write(_FIRST_STATE)
            is_current = await self._database.write(
                "UPDATE directory_state SET learnt_position = ?, revision = revision + ? WHERE erasures = ?",
                (state.position, bool(names), state.erasures),
            )
            if is_current:
                await self._database.write_many(_LEARN, [msgspec.structs.astuple(name) for name in names])
        return bool(is_current)


def _values(entry: DirectoryEntry) -> tuple[str, ...]:
    return (entry.sn, entry.number, entry.kind, entry.name, entry.department, entry.site, entry.company)


def _entry(row: Row) -> DirectoryEntry:
    sn, number, kind, name, department, site, company = row
    if kind not in ENTRY_KINDS:
        raise ValueError(kind)
    return DirectoryEntry(
        sn=sn,
        number=number,
        kind=cast("EntryKind", kind),
        name=name,
        department=department,
        site=site,
        company=company,
    )


def _pbx_name(row: Row) -> PbxName:
    sn, number, kind, name = row
    if kind not in ENTRY_KINDS:
        raise ValueError(kind)
    return PbxName(sn=sn, number=number, kind=cast("EntryKind", kind), name=name)


def _dated_name(row: Row) -> DatedName:
    sn, number, name, started_at, seq = row
    return DatedName(sn=sn, number=number, name=name, started_at=started_at, seq=seq)
