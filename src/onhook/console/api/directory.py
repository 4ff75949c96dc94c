"""`/api/v1/directory`: names of numbers."""

import asyncio
from typing import Annotated

import msgspec
from litestar import Response, delete, get, post, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import BodyKwarg, QueryParameter

from onhook.appdb.directory_csv import FILE_BYTES_MAX, find_sn, format_directory_csv
from onhook.cdr.directory import NUMBER_CHARACTERS_MAX, TEXT_CHARACTERS_MAX, DirectoryEntry, EntryKind
from onhook.console.auth.access import SCOPED, get_access_scope
from onhook.console.parameters import PAGE_DEFAULT, Cursor, Limit
from onhook.console.problem_documents import PROBLEMS
from onhook.console.queries.audited_reads import audit_or_log_read
from onhook.console.queries.directory import (
    IMPORT_BYTES_MAX,
    DirectoryRow,
    import_file,
    list_directory,
    list_entries,
    put_entry,
)
from onhook.console.state import AnyRequest, AppStateDep
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

CURSOR_DIGITS_MAX = 9

CSV_MEDIA_TYPE = "text/csv; charset=utf-8; header=present"
_CSV_SPEC = ResponseSpec(str, description="The file", media_type=CSV_MEDIA_TYPE, generate_examples=False)

DirectoryText = Annotated[str, msgspec.Meta(max_length=TEXT_CHARACTERS_MAX)]
SearchText = Annotated[
    str,
    QueryParameter(description="Part of a number, name, department, site or company", max_length=TEXT_CHARACTERS_MAX),
]
NumberQuery = Annotated[str, QueryParameter(description="The number as it is listed", max_length=NUMBER_CHARACTERS_MAX)]
PbxQuery = Annotated[
    str,
    QueryParameter(description="Name or serial number of its PBX; empty for a contact", max_length=TEXT_CHARACTERS_MAX),
]


class NewDirectoryEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry: `pbx` is a name or a serial number, not needed where there is one PBX. `department` and `site` are
    those of a number of a PBX, `company` that of a contact.
    """

    kind: EntryKind = "extension"
    pbx: DirectoryText = ""
    number: Annotated[str, msgspec.Meta(min_length=1, max_length=NUMBER_CHARACTERS_MAX)]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_CHARACTERS_MAX)]
    department: DirectoryText = ""
    site: DirectoryText = ""
    company: DirectoryText = ""


class DirectoryImport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The text of a CSV file, whose first line names its columns."""

    csv: Annotated[str, msgspec.Meta(min_length=1, max_length=FILE_BYTES_MAX)]


class DirectoryImportResult(msgspec.Struct, frozen=True):
    """The number of entries that were set."""

    entries: int


class DirectoryPage(msgspec.Struct, frozen=True):
    """Some rows, and the cursor of the next page or None."""

    data: list[DirectoryRow]
    next: str | None


@get("/directory", opt=SCOPED, summary="List names of numbers", tags=["directory"], responses=PROBLEMS)
async def list_names(
    request: AnyRequest, app_state: AppStateDep, q: SearchText = "", limit: Limit = PAGE_DEFAULT, cursor: Cursor = ""
) -> DirectoryPage:
    """List names that were set and names that were learnt from events. A limited reader sees the numbers of the scope,
    and no contacts.
    """
    if cursor and not (cursor.isascii() and cursor.isdigit() and len(cursor) <= CURSOR_DIGITS_MAX):
        raise UsageError(_("invalid cursor"), location="cursor", hint=_("leave it out to begin with the first page"))
    start = int(cursor or 0)
    rows = await list_directory(app_state, get_access_scope(request.scope), q)
    end = start + limit
    return DirectoryPage(rows[start:end], str(end) if end < len(rows) else None)


@get(
    "/directory.csv",
    opt=SCOPED,
    summary="Export the directory",
    tags=["directory"],
    responses={**PROBLEMS, 200: _CSV_SPEC},
)
async def export_directory(request: AnyRequest, app_state: AppStateDep) -> Response[str]:
    """Return the entries that were set as CSV, for an import; those that the reader may see."""
    entries = await list_entries(app_state, get_access_scope(request.scope))
    await audit_or_log_read(app_state, "export of the directory")
    names_by_sn = {pbx.sn: pbx.name for pbx in await app_state.appdb.pbxs()}
    text = await asyncio.to_thread(format_directory_csv, entries, names_by_sn)
    headers = {"Content-Disposition": 'attachment; filename="directory.csv"'}
    return Response(text, media_type=CSV_MEDIA_TYPE, headers=headers)


@put("/directory", summary="Set the name of a number", tags=["directory"], responses=PROBLEMS)
async def set_name(app_state: AppStateDep, data: Annotated[NewDirectoryEntry, BodyKwarg()]) -> DirectoryEntry:
    """Add an entry, or replace that of the same number as a whole."""
    return await put_entry(app_state, msgspec.structs.asdict(data))


@post(
    "/directory/import",
    summary="Import names",
    tags=["directory"],
    responses=PROBLEMS,
    status_code=200,
    request_max_body_size=IMPORT_BYTES_MAX,
)
async def import_names(app_state: AppStateDep, data: Annotated[DirectoryImport, BodyKwarg()]) -> DirectoryImportResult:
    """Add the entries of a CSV file, and replace those of the same numbers; all or none. Errors name their lines."""
    return DirectoryImportResult(await import_file(app_state, data.csv.encode()))


@delete("/directory", summary="Remove a name", tags=["directory"], responses=PROBLEMS)
async def remove_name(app_state: AppStateDep, number: NumberQuery, pbx: PbxQuery = "") -> None:
    """Remove an entry; a name that was learnt from events is shown again."""
    sn = find_sn(pbx, await app_state.appdb.pbxs()) if pbx else ""
    await app_state.appdb.directory.remove(sn, number)


ROUTES = (list_names, export_directory, set_name, import_names, remove_name)
