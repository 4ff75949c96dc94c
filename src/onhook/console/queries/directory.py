"""The directory as a reader may see it: a limited one the numbers of the scope, and no contacts."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from onhook.appdb.directory_cache import DirectoryRows
from onhook.appdb.directory_csv import COLUMNS, FILE_BYTES_MAX, parse_directory_csv, parse_entry
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.directory import DirectoryEntry, EntryKind, LearntName, NameDirectory, PbxName
from onhook.cdr.party_groups import PartyGroups
from onhook.console.search import list_regions
from onhook.console.state import AppState
from onhook.lib.deferred_module import DeferredModule
from onhook.store.contract import CallPage

if TYPE_CHECKING:
    from onhook.cdr import phone_numbers
else:  # with the numbering plans of all countries
    phone_numbers = DeferredModule("onhook.cdr.phone_numbers")

NAME_PARTIES_MAX = 200
"""Numbers with a name that are searched for: a text that more names contain is no name."""

IMPORT_BYTES_MAX = 2 * FILE_BYTES_MAX
"""Of a request with a file: in JSON a character may take two bytes."""


CallPageT = TypeVar("CallPageT", bound=CallPage)


NameSource = Literal["set", "pbx", "learnt"]
"""The first one that has a name for a number is shown."""


class DirectoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """A number with its name. `pbx` is the name of its PBX, empty for a contact; `source` says whether a person or an
    import has `set` the name, the `pbx` itself lists it, or it was `learnt` from events, where `kind` is empty.
    """

    kind: EntryKind | Literal[""]
    sn: str
    pbx: str
    number: str
    name: str
    department: str
    site: str
    company: str
    source: NameSource


async def list_directory(app_state: AppState, scope: AccessScope | None, text: str = "") -> list[DirectoryRow]:
    """Return the visible rows with `text` in them: contacts, then the numbers of each PBX in their order."""
    rows = await app_state.directory.get(app_state.masking)
    names_by_sn = {pbx.sn: pbx.name for pbx in await app_state.appdb.pbxs()}
    return await asyncio.to_thread(_select_rows, rows, names_by_sn, scope, text)


def _select_rows(
    rows: DirectoryRows, names_by_sn: Mapping[str, str], scope: AccessScope | None, text: str
) -> list[DirectoryRow]:
    sources: dict[tuple[str, str], tuple[DirectoryEntry, NameSource]] = {
        (learnt.sn, learnt.number): (DirectoryEntry(sn=learnt.sn, number=learnt.number, name=learnt.name), "learnt")
        for learnt in rows.learnt_names
    }
    for pbx_name in rows.pbx_names:
        entry = DirectoryEntry(sn=pbx_name.sn, number=pbx_name.number, kind=pbx_name.kind, name=pbx_name.name)
        sources[pbx_name.sn, pbx_name.number] = entry, "pbx"
    sources |= {(entry.sn, entry.number): (entry, "set") for entry in rows.entries}
    wanted = text.strip().casefold()
    pairs = sources.values()
    visible_pairs = [pair for pair in pairs if is_visible(pair[0], scope) and _contains(pair[0], wanted)]
    visible_pairs.sort(key=lambda pair: (names_by_sn.get(pair[0].sn, pair[0].sn), len(pair[0].number), pair[0].number))
    return [
        DirectoryRow(
            kind="" if source == "learnt" else entry.kind,
            sn=entry.sn,
            pbx=names_by_sn.get(entry.sn, entry.sn),
            number=entry.number,
            name=entry.name,
            department=entry.department,
            site=entry.site,
            company=entry.company,
            source=source,
        )
        for entry, source in visible_pairs
    ]


async def find_name_parties(app_state: AppState, scope: AccessScope | None, name: str) -> tuple[tuple[str, str], ...]:
    """Return (`sn`, number) of the numbers whose name in the directory contains a text; those of contacts, without
    `sn`, in every notation that a PBX may write. At most NAME_PARTIES_MAX.
    """
    rows = await app_state.directory.get(app_state.masking)
    wanted = name.casefold()
    number_names: list[LearntName | PbxName] = [*rows.learnt_names, *rows.pbx_names]
    inside = [
        (number_name.sn, number_name.number)
        for number_name in number_names
        if wanted in number_name.name.casefold() and _is_name_visible(number_name, scope)
    ]
    entries = [entry for entry in rows.entries if wanted in entry.shown_name.casefold() and is_visible(entry, scope)]
    inside += [(entry.sn, entry.number) for entry in entries if entry.sn]
    # What is shown counts: a name that was set hides the others of its number.
    inside = [party for party in dict.fromkeys(inside) if wanted in rows.directory.find_name(*party).casefold()]
    pbxs = await app_state.appdb.pbxs()
    plans, regions = [pbx.number_plan for pbx in pbxs], list_regions(pbxs, app_state.config.zone)
    outside = [
        ("", variant)
        for entry in entries
        if not entry.sn
        for variant in phone_numbers.number_variants(entry.number, plans, regions)
    ]
    return tuple(dict.fromkeys([*inside, *outside]))[:NAME_PARTIES_MAX]


def _is_name_visible(name: LearntName | PbxName, scope: AccessScope | None) -> bool:
    return is_visible(DirectoryEntry(sn=name.sn, number=name.number, name=name.name), scope)


async def load_groups(app_state: AppState, scope: AccessScope | None) -> PartyGroups:
    """Return the departments and sites of the numbers that a reader may see."""
    rows = await app_state.directory.get(app_state.masking)
    if scope is None or (scope.sns is None and not scope.limits_numbers):
        return rows.groups
    return PartyGroups(entry for entry in rows.entries if is_visible(entry, scope))


async def list_entries(app_state: AppState, scope: AccessScope | None) -> list[DirectoryEntry]:
    """Return the visible entries that were set."""
    rows = await app_state.directory.get(app_state.masking)
    return [entry for entry in rows.entries if is_visible(entry, scope)]


async def load_names(app_state: AppState) -> NameDirectory:
    """Return the names by number, as the reader may see them."""
    return (await app_state.directory.get(app_state.masking)).directory


async def name_calls(app_state: AppState, page: CallPageT) -> CallPageT:
    """Return a page of calls whose parties have names."""
    directory = await load_names(app_state)
    return msgspec.structs.replace(page, data=[directory.name_call(call) for call in page.data])


def is_visible(entry: DirectoryEntry, scope: AccessScope | None) -> bool:
    """Return whether a reader may see an entry."""
    if scope is None or (scope.sns is None and not scope.limits_numbers):
        return True
    return bool(entry.sn) and scope.allows_number(entry.sn, entry.number)


async def put_entry(app_state: AppState, texts: dict[str, str]) -> DirectoryEntry:
    """Set an entry of texts by column. Raises `UsageError`."""
    entry = parse_entry({name: texts.get(name, "") for name in COLUMNS}, await app_state.appdb.pbxs())
    await app_state.appdb.directory.put([entry])
    return entry


async def import_file(app_state: AppState, content: bytes) -> int:
    """Set the entries of a CSV file, all or none; return their number. Raises `UsageError`."""
    pbxs = await app_state.appdb.pbxs()
    # With thousands of lines that takes half a second.
    entries: Sequence[DirectoryEntry] = await asyncio.to_thread(parse_directory_csv, content, pbxs)
    await app_state.appdb.directory.put(entries)
    return len(entries)


def _contains(entry: DirectoryEntry, wanted: str) -> bool:
    texts = (entry.number, entry.name, entry.department, entry.site, entry.company)
    return not wanted or any(wanted in text.casefold() for text in texts)
