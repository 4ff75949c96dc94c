"""The directory as a reader may see it: a limited one the numbers of the scope, and no contacts."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from onhook.appdb.directory_csv import COLUMNS, FILE_BYTES_MAX, parse_directory_csv, parse_entry
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.directory import DirectoryEntry, EntryKind, NameDirectory
from onhook.console.directory_cache import DirectoryRows
from onhook.console.state import AppState
from onhook.store.contract import CallPage

IMPORT_BYTES_MAX = 2 * FILE_BYTES_MAX
"""Of a request with a file: in JSON a character may take two bytes."""


class DirectoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """A number with its name. `pbx` is the name of its PBX, empty for a contact; `source` says whether a person or an
    import has `set` the name, or it was `learnt` from events, where `kind` is empty.
    """

    kind: EntryKind | Literal[""]
    sn: str
    pbx: str
    number: str
    name: str
    department: str
    site: str
    company: str
    source: Literal["set", "learnt"]


async def list_directory(app_state: AppState, scope: AccessScope | None, text: str = "") -> list[DirectoryRow]:
    """Return the visible rows with `text` in them: contacts, then the numbers of each PBX in their order."""
    rows = await app_state.directory.get(app_state.masking)
    names_by_sn = {pbx.sn: pbx.name for pbx in await app_state.appdb.pbxs()}
    return await asyncio.to_thread(_select_rows, rows, names_by_sn, scope, text)


def _select_rows(
    rows: DirectoryRows, names_by_sn: Mapping[str, str], scope: AccessScope | None, text: str
) -> list[DirectoryRow]:
    set_keys = {(entry.sn, entry.number) for entry in rows.entries}
    learnt_entries = [
        DirectoryEntry(sn=learnt.sn, number=learnt.number, name=learnt.name)
        for learnt in rows.learnt_names
        if (learnt.sn, learnt.number) not in set_keys
    ]
    wanted = text.strip().casefold()
    pairs = [(entry, False) for entry in rows.entries] + [(entry, True) for entry in learnt_entries]
    visible_pairs = [pair for pair in pairs if is_visible(pair[0], scope) and _contains(pair[0], wanted)]
    visible_pairs.sort(key=lambda pair: (names_by_sn.get(pair[0].sn, pair[0].sn), len(pair[0].number), pair[0].number))
    return [
        DirectoryRow(
            kind="" if is_learnt else entry.kind,
            sn=entry.sn,
            pbx=names_by_sn.get(entry.sn, entry.sn),
            number=entry.number,
            name=entry.name,
            department=entry.department,
            site=entry.site,
            company=entry.company,
            source="learnt" if is_learnt else "set",
        )
        for entry, is_learnt in visible_pairs
    ]


async def list_entries(app_state: AppState, scope: AccessScope | None) -> list[DirectoryEntry]:
    """Return the visible entries that were set."""
    rows = await app_state.directory.get(app_state.masking)
    return [entry for entry in rows.entries if is_visible(entry, scope)]


async def load_names(app_state: AppState) -> NameDirectory:
    """Return the names by number, as the reader may see them."""
    return (await app_state.directory.get(app_state.masking)).directory


async def name_calls(app_state: AppState, page: CallPage) -> CallPage:
    """Return a page of calls whose parties have names."""
    directory = await load_names(app_state)
    return CallPage([directory.name_call(call) for call in page.data], page.next)


def is_visible(entry: DirectoryEntry, scope: AccessScope | None) -> bool:
    """Return whether a reader may see an entry."""
    if scope is None or (scope.sns is None and scope.numbers is None):
        return True
    return bool(entry.sn) and scope.allows_pbx(entry.sn) and (scope.numbers is None or entry.number in scope.numbers)


async def put_entry(app_state: AppState, texts: dict[str, str]) -> DirectoryEntry:
    """Set an entry of texts by column. Raises `UsageError`."""
    entry = parse_entry({name: texts.get(name, "") for name in COLUMNS}, await app_state.appdb.pbxs())
    await app_state.appdb.directory.put([entry])
    return entry


async def import_file(app_state: AppState, content: bytes) -> int:
    """Set the entries of a CSV file, all or none; return their number. Raises `UsageError`."""
    entries: Sequence[DirectoryEntry] = parse_directory_csv(content, await app_state.appdb.pbxs())
    await app_state.appdb.directory.put(entries)
    return len(entries)


def _contains(entry: DirectoryEntry, wanted: str) -> bool:
    texts = (entry.number, entry.name, entry.department, entry.site, entry.company)
    return not wanted or any(wanted in text.casefold() for text in texts)
