"""Extensions, queues, IVRs, ring groups, trunks and contacts, from the number plans and the calls: read only.

Invariants: a row exists only for a number of a call or of the number plan. Its id is a whole number that does not
change.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from onhook.cdr.number_plan import LegKind, NumberPlan
from onhook.pbx.yeastar import directory_rows
from onhook.pbx_api.calls import CallSource
from onhook.pbx_api.codes import DATA_NOT_FOUND, ApiRequestError, ApiResponse, parameter_error, success_response
from onhook.pbx_api.request import ApiRequest
from onhook.pbx_api.state import ApiState
from onhook.store.contract import LISTING_ROWS_MAX

IDS_MAX: Final = 200
"""Ids in one request."""

ID_DIGITS_MAX: Final = 15
"""Decimal digits of a number that is its own id: below 2^53, which all programs read exactly."""

HASH_DIGITS: Final = 13
"""Hexadecimal digits of the id of a name, or of a number of one of several PBXs."""

RowFormat = Callable[[int, str, str], Mapping[str, Any]]


class Entry(msgspec.Struct, frozen=True):
    """One row before it is formatted. A trunk has no number."""

    entry_id: int
    number: str
    name: str


class DirectoryKind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of rows: its format, the member that has the list, and the sort keys."""

    kind: LegKind | str
    format: RowFormat
    member: str = "data"
    sort_keys: tuple[str, ...] = ("id", "number", "name")


KINDS: Final[Mapping[str, DirectoryKind]] = {
    "extension": DirectoryKind(
        kind="extension",
        format=directory_rows.format_extension,
        sort_keys=("id", "number", "name", "caller_id_name", "first_name", "last_name", "email_addr", "mobile_number"),
    ),
    "queue": DirectoryKind(
        kind="queue",
        format=directory_rows.format_queue,
        member="queue_list",
        sort_keys=("id", "number", "name", "ring_strategy"),
    ),
    "ivr": DirectoryKind(kind="ivr", format=directory_rows.format_numbered),
    "ringgroup": DirectoryKind(
        kind="ring_group",
        format=directory_rows.format_numbered,
        sort_keys=("id", "number", "name", "ring_strategy"),
    ),
    "trunk": DirectoryKind(
        kind="trunk",
        format=directory_rows.format_trunk,
        sort_keys=("id", "name", "type", "host_port", "def_outbound_cid", "username"),
    ),
    "company_contact": DirectoryKind(
        kind="contact",
        format=directory_rows.format_contact,
        sort_keys=("id", "contact_name", "name", "company", "business", "number"),
    ),
    "phonebook": DirectoryKind(kind="phonebook", format=directory_rows.format_numbered, sort_keys=("id", "name")),
}
"""By the first part of the path."""


async def list_entries(state: ApiState, request: ApiRequest, kind: DirectoryKind) -> ApiResponse:
    """Handle `…/list`: return a page."""
    return _page(request, kind, await read_entries(state.calls, request.owner.pbxs, kind))


async def search_entries(state: ApiState, request: ApiRequest, kind: DirectoryKind) -> ApiResponse:
    """Handle `…/search`: return a page of the rows whose number or name contains `search_value`."""
    text = (request.text("search_value") or request.text("number") or request.text("name") or "").casefold()
    entries = await read_entries(state.calls, request.owner.pbxs, kind)
    return _page(request, kind, [entry for entry in entries if text in f"{entry.number} {entry.name}".casefold()])


async def query_entries(state: ApiState, request: ApiRequest, kind: DirectoryKind) -> ApiResponse:
    """Handle `…/query`: return the rows with these `ids`, all without. Raises `ApiRequestError`."""
    ids = _parse_ids(request, "ids")
    entries = await read_entries(state.calls, request.owner.pbxs, kind)
    rows = [_format(kind, entry) for entry in entries if not ids or entry.entry_id in ids]
    if ids and not rows:
        raise ApiRequestError(DATA_NOT_FOUND)
    return success_response(total_number=len(rows), data=rows)


async def get_entry(state: ApiState, request: ApiRequest, kind: DirectoryKind) -> ApiResponse:
    """Handle `…/get`: return the row with this `id`. Raises `ApiRequestError`."""
    ids = _parse_ids(request, "id")
    if len(ids) != 1:
        raise parameter_error("id", "one whole number is required")
    for entry in await read_entries(state.calls, request.owner.pbxs, kind):
        if entry.entry_id in ids:
            return success_response(data=_format(kind, entry))
    raise ApiRequestError(DATA_NOT_FOUND)


async def resolve_numbers(state: ApiState, request: ApiRequest, kind: DirectoryKind, items: Sequence[str]) -> list[str]:
    """Return the numbers of ids or numbers, as filters name them; an unknown one stands for itself. Where the PBX lists
    these rows, the ids are its own. Raises `ApiRequestError`.
    """
    if not items:
        return []
    entries = await read_entries(state.calls, request.owner.pbxs, kind)
    number_by_id = {str(entry.entry_id): entry.number for entry in entries}
    if any(item not in number_by_id.values() for item in items):
        number_by_id |= await _read_pbx_ids(state, request, kind)
    return [number_by_id.get(item, item) for item in items]


async def _read_pbx_ids(state: ApiState, request: ApiRequest, kind: DirectoryKind) -> dict[str, str]:
    """Return the numbers by the ids that the app's PBX gives them; empty where it lists none."""
    path = next(f"{name}/list" for name, candidate in KINDS.items() if candidate is kind)
    # These lists exist in v1.0 alone.
    list_request = msgspec.structs.replace(request, version="v1.0")
    query = {"page": "1", "page_size": str(LISTING_ROWS_MAX)}
    members = await state.pass_through.read(list_request, path, query)
    rows = None if members is None else members.get(kind.member)
    if not isinstance(rows, list):
        return {}
    return {str(row.get("id")): str(row.get("number")) for row in rows if isinstance(row, dict) and "number" in row}


async def read_entries(calls: CallSource, sns: Sequence[str], kind: DirectoryKind) -> list[Entry]:
    """Return all entries of a kind in the calls and number plans of these PBXs, or of all; each id once."""
    effective_sns = sns or await calls.sns()
    is_single = len(effective_sns) == 1
    parties = await _read_parties(calls, sns, effective_sns, kind)
    entries = {
        entry.entry_id: entry
        for entry in (
            Entry(_entry_id(kind, sn, number, name, is_single=is_single), number, name)
            for (sn, number), name in parties.items()
        )
    }
    return list(entries.values())


async def _read_parties(
    calls: CallSource, sns: Sequence[str], effective_sns: Sequence[str], kind: DirectoryKind
) -> Mapping[tuple[str, str], str]:
    """Return the names by PBX and number; a trunk stands for its own number."""
    if kind.kind == "phonebook":
        return {}
    if kind.kind == "trunk":
        return {(trunk.sn, trunk.name): trunk.name for trunk in await calls.list_trunks(sns)}
    if kind.kind == "contact":
        seen_contacts = await calls.list_parties(sns, is_external=True)
        return {(party.sn, party.number): party.name for party in seen_contacts if party.name}
    plans = {sn: await calls.number_plan(sn) for sn in effective_sns}
    names: dict[tuple[str, str], str] = {}
    for party in await calls.list_parties(sns, is_external=False):
        plan = plans.get(party.sn, _DEFAULT_PLAN)
        if (party.kind or plan.kind_of(party.number)) == kind.kind:
            names[party.sn, party.number] = party.name or party.number
    for sn, plan in plans.items():
        for number in _planned_numbers(plan, str(kind.kind)):
            names.setdefault((sn, number), number)
    return names


def _planned_numbers(plan: NumberPlan, kind: str) -> Iterable[str]:
    """Return the single numbers of a plan; a range says which numbers may exist, not which do."""
    return (number_range for number_range in getattr(plan, kind) if "-" not in number_range)


def _entry_id(kind: DirectoryKind, sn: str, number: str, name: str, *, is_single: bool) -> int:
    """Return the number itself where it is one and belongs to one PBX, else a hash, which is the same for ever."""
    is_number = number.isascii() and number.isdigit() and not number.startswith("0")
    if is_single and is_number and len(number) <= ID_DIGITS_MAX:
        return int(number)
    text = "\0".join((str(kind.kind), sn, number or name))
    return int(hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS], 16)


def _page(request: ApiRequest, kind: DirectoryKind, entries: Sequence[Entry]) -> ApiResponse:
    """Return a page of the entries, in the requested order."""
    offset, limit = request.page()
    sort_key = request.choice("sort_by", {key: key for key in kind.sort_keys}, "id")
    rows = [_format(kind, entry) for entry in sorted(entries, key=lambda entry: _sort_number(entry.number))]
    rows.sort(key=lambda row: _sort_number(row.get(sort_key, "")), reverse=request.is_descending())
    return success_response(total_number=len(rows), **{kind.member: rows[offset : offset + limit]})


def _format(kind: DirectoryKind, entry: Entry) -> Mapping[str, Any]:
    return kind.format(entry.entry_id, entry.number, entry.name)


def _sort_number(value: object) -> tuple[bool, int, str]:
    """Return a sort key by which numbers are in their order, before texts."""
    text = str(value)
    is_number = text.isascii() and text.isdigit()
    return (not is_number, int(text) if is_number and len(text) <= ID_DIGITS_MAX + 1 else 0, text.casefold())


def _parse_ids(request: ApiRequest, name: str) -> frozenset[int]:
    texts = [text.strip() for text in request.parameters.get(name, "").split(",") if text.strip()]
    if len(texts) > IDS_MAX or any(not text.isascii() or not text.isdigit() or len(text) > 16 for text in texts):
        raise parameter_error(name, f"at most {IDS_MAX} whole numbers, separated by commas")
    return frozenset(int(text) for text in texts)


_DEFAULT_PLAN: Final = NumberPlan()
