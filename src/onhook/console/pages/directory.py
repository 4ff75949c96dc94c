"""`/directory`: names of extensions, queues, DIDs and contacts; administrators set, import and remove them."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Response, get, post
from litestar.datastructures import UploadFile
from litestar.enums import RequestEncodingType
from litestar.params import BodyKwarg, QueryParameter

from onhook.appdb.directory_csv import FILE_BYTES_MAX
from onhook.appdb.pbxs import Pbx
from onhook.cdr.directory import ENTRY_KINDS, NUMBER_CHARACTERS_MAX, TEXT_CHARACTERS_MAX, EntryKind
from onhook.console.auth.access import SCOPED, get_access_scope
from onhook.console.pages.calls import list_visible_pbxs
from onhook.console.pages.page import FORM_BODY, render_page
from onhook.console.pages.rendering import View
from onhook.console.parameters import ReaderZone
from onhook.console.queries.directory import IMPORT_BYTES_MAX, DirectoryRow, import_file, list_directory, put_entry
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import OnhookError
from onhook.lib.messages import _

ROWS_MAX = 100
"""On one page."""

SearchText = Annotated[str, QueryParameter(max_length=TEXT_CHARACTERS_MAX)]
RowOffset = Annotated[int, QueryParameter(ge=0, le=10**9)]
EditedNumber = Annotated[str, QueryParameter(max_length=NUMBER_CHARACTERS_MAX)]


class DirectoryForm(msgspec.Struct, frozen=True):
    """Content of the form for an entry; `pbx` is a name or a serial number."""

    kind: str = "extension"
    pbx: str = ""
    number: str = ""
    name: str = ""
    department: str = ""
    site: str = ""
    company: str = ""


class RemoveNameForm(msgspec.Struct, frozen=True):
    """Content of the button that removes an entry."""

    sn: str = ""
    number: str = ""


class DirectoryView(View, frozen=True, kw_only=True):
    """Values of the page: a part of the rows, and the form, which has the values of an entry that is edited."""

    template: ClassVar = "directory.html"
    rows: Sequence[DirectoryRow]
    row_count: int
    first_row: int
    rows_max: int = ROWS_MAX
    search: str
    pbxs: Sequence[Pbx]
    departments: Sequence[str]
    sites: Sequence[str]
    kinds: Sequence[EntryKind] = ENTRY_KINDS
    form: DirectoryForm = DirectoryForm()
    is_edited: bool = False
    error: str = ""
    message: str = ""
    file_mebibytes_max: int = FILE_BYTES_MAX // 1024 // 1024


@get("/directory", opt=SCOPED, include_in_schema=False)
async def directory_page(  # noqa: PLR0917 - the parameters of the URL
    request: AnyRequest,
    app_state: AppStateDep,
    reader_zone: ReaderZone,
    q: SearchText = "",
    row: RowOffset = 0,
    edit: EditedNumber = "",
    sn: SearchText = "",
) -> Response[str]:
    """Return the page; `edit` and `sn` are the number and the PBX of the entry in the form."""
    edited = None
    if edit:
        rows = await list_directory(app_state, get_access_scope(request.scope))
        edited = next((row for row in rows if (row.sn, row.number) == (sn, edit)), None)
    if edited is None:
        return await _render(request, app_state, reader_zone, search=q, first_row=row)
    return await _render(
        request, app_state, reader_zone, search=q, first_row=row, is_edited=True, form=_to_form(edited)
    )


@post("/directory", include_in_schema=False, status_code=200)
async def set_name(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[DirectoryForm, FORM_BODY]
) -> Response[str]:
    """Set an entry."""
    try:
        entry = await put_entry(app_state, msgspec.structs.asdict(data))
    except OnhookError as error:
        return await _render(request, app_state, reader_zone, error=str(error), form=data)
    return await _render(
        request, app_state, reader_zone, message=_("{number} is {name}.", number=entry.number, name=entry.name)
    )


@post("/directory/import", include_in_schema=False, status_code=200, request_max_body_size=IMPORT_BYTES_MAX)
async def import_names(
    request: AnyRequest,
    app_state: AppStateDep,
    reader_zone: ReaderZone,
    data: Annotated[UploadFile, BodyKwarg(media_type=RequestEncodingType.MULTI_PART)],
) -> Response[str]:
    """Set the entries of a CSV file."""
    try:
        entry_count = await import_file(app_state, await data.read(FILE_BYTES_MAX + 1))
    except OnhookError as error:
        return await _render(request, app_state, reader_zone, error=str(error))
    return await _render(request, app_state, reader_zone, message=_("Entries imported: {count}.", count=entry_count))


@post("/directory/remove", include_in_schema=False, status_code=200)
async def remove_name(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[RemoveNameForm, FORM_BODY]
) -> Response[str]:
    """Remove an entry."""
    try:
        await app_state.appdb.directory.remove(data.sn, data.number)
    except OnhookError as error:
        return await _render(request, app_state, reader_zone, error=str(error))
    return await _render(request, app_state, reader_zone, message=_("{number} removed.", number=data.number))


ROUTES = (directory_page, set_name, import_names, remove_name)


def _to_form(row: DirectoryRow) -> DirectoryForm:
    return DirectoryForm(row.kind or "extension", row.sn, row.number, row.name, row.department, row.site, row.company)


async def _render(
    request: AnyRequest,
    app_state: AppState,
    zone: ReaderZone,
    *,
    search: str = "",
    first_row: int = 0,
    **extra_values: Any,
) -> Response[str]:
    scope = get_access_scope(request.scope)
    all_rows = await list_directory(app_state, scope)
    rows = await list_directory(app_state, scope, search) if search.strip() else all_rows
    view = DirectoryView(
        rows=rows[first_row : first_row + ROWS_MAX],
        row_count=len(rows),
        first_row=first_row,
        search=search,
        pbxs=await list_visible_pbxs(app_state, scope),
        departments=sorted({row.department for row in all_rows} - {""}),
        sites=sorted({row.site for row in all_rows} - {""}),
        **extra_values,
    )
    return await render_page(request, app_state, zone, view)
