"""The names of the directory in memory: read again when the directory has changed.

Invariant: a reader with masked numbers gets no number outside and no name of one.
"""

import asyncio

import msgspec

from onhook.appdb.directory import DirectoryRepository
from onhook.cdr.directory import DirectoryEntry, LearntName, NameDirectory, PbxName
from onhook.cdr.number_masking import Mask
from onhook.cdr.party_groups import PartyGroups
from onhook.cdr.record_masking import Masking, is_external_number


class DirectoryRows(msgspec.Struct, frozen=True, kw_only=True):
    """What the directory has, as a reader may see it: entries, names that PBXs list, learnt names, the names by number,
    and the numbers by department and site.
    """

    entries: list[DirectoryEntry]
    pbx_names: list[PbxName]
    learnt_names: list[LearntName]
    directory: NameDirectory
    groups: PartyGroups


class DirectoryCache:
    """The latest rows for each mask: three at most."""

    def __init__(self, repository: DirectoryRepository) -> None:
        self._repository = repository
        self._rows: dict[Mask, tuple[int, Masking | None, DirectoryRows]] = {}
        self._lock = asyncio.Lock()

    async def get(self, masking: Masking | None) -> DirectoryRows:
        """Return the directory as it is now. Raises `Unavailable`."""
        revision = await self._repository.revision()
        mask: Mask = "none" if masking is None else masking.mask
        async with self._lock:
            cached = self._rows.get(mask)
            if cached is not None and cached[:2] == (revision, masking):
                return cached[2]
            entries, learnt_names = await self._repository.entries(), await self._repository.learnt_names()
            pbx_names = await self._repository.pbx_names()
            rows = await asyncio.to_thread(_build, entries, pbx_names, learnt_names, masking)
            # A change in between has another revision, and is read with the next request.
            self._rows[mask] = (revision, masking, rows)
            return rows


def _build(
    entries: list[DirectoryEntry],
    pbx_names: list[PbxName],
    learnt_names: list[LearntName],
    masking: Masking | None,
) -> DirectoryRows:
    if masking is not None:
        entries = [_mask_entry(entry, masking) for entry in entries if _is_inside(entry.sn, entry.number, masking)]
        pbx_names = [
            msgspec.structs.replace(pbx_name, name=masking.mask_text(pbx_name.name))
            for pbx_name in pbx_names
            if _is_inside(pbx_name.sn, pbx_name.number, masking)
        ]
        learnt_names = [
            msgspec.structs.replace(learnt, name=masking.mask_text(learnt.name))
            for learnt in learnt_names
            if _is_inside(learnt.sn, learnt.number, masking)
        ]
    return DirectoryRows(
        entries=entries,
        pbx_names=pbx_names,
        learnt_names=learnt_names,
        directory=NameDirectory(entries, learnt_names, pbx_names),
        groups=PartyGroups(entries),
    )


def _is_inside(sn: str, number: str, masking: Masking) -> bool:
    return bool(sn) and not is_external_number(number, masking.plan_of(sn))


def _mask_entry(entry: DirectoryEntry, masking: Masking) -> DirectoryEntry:
    texts = {name: masking.mask_text(getattr(entry, name)) for name in ("name", "department", "site")}
    return msgspec.structs.replace(entry, **texts)
