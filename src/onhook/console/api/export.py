"""`GET /api/v1/export.csv`, `.jsonl`, `.parquet`, `.xlsx`: a search as one file, streamed."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Annotated, Any, cast
from zoneinfo import ZoneInfo

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import PathParameter, QueryParameter
from litestar.response.base import ASGIResponse

from onhook.appdb.tokens import TOKEN_CHARACTERS_MAX
from onhook.cdr.number_masking import parse_mask
from onhook.cdr.record_filter import RecordFilter
from onhook.console.auth.access import SCOPED, SHARED
from onhook.console.concurrency_limiter import ConcurrencyLimiter
from onhook.console.export_jobs import ExportJobs, ExportProgress
from onhook.console.parameters import ExportMask, ReaderZone, SearchFilterDep, mask_state
from onhook.console.problem_documents import PROBLEMS
from onhook.console.queries.audited_reads import audit_or_log_read
from onhook.console.queries.directory import load_names
from onhook.console.queries.export_action import describe_export
from onhook.console.state import AppState, AppStateDep
from onhook.console.streaming import ChunkedResponse
from onhook.lib.errors import Unavailable, UsageError
from onhook.lib.messages import _
from onhook.store.contract import ExportFormat
from onhook.store.export.excel_csv import convert_for_excel, parse_excel_option, parse_names_option

EXPORTS_MAX = 4
"""Concurrent exports: each holds a cursor of the store and some memory while it is read."""

MEDIA_TYPES: Mapping[ExportFormat, str] = {
    "csv": "text/csv; charset=utf-8; header=present",
    "jsonl": "application/jsonl",
    "parquet": "application/vnd.apache.parquet",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}

FORMAT_NOTES: Mapping[ExportFormat, str] = {
    "csv": "Times in `zone`, with offset. Cells that a spreadsheet would take for a formula begin with an apostrophe.",
    "jsonl": "A record per line, as `/records` gives it, times in UTC; `zone` is for the filters only.",
    "parquet": "Values as they are, times as instants in UTC; `zone` is for the filters only.",
    "xlsx": "Times in `zone`, with offset. Cells that a spreadsheet would take for a formula begin with an apostrophe.",
}
"""Form of the values, for the schema."""


Ticket = Annotated[str, QueryParameter(description="A random word by which a page reads the progress", max_length=64)]
TicketInPath = Annotated[str, PathParameter(max_length=64)]


Excel = Annotated[
    str,
    QueryParameter(
        description="For Excel, with its separator: `comma` or `semicolon`; numbers stay texts",
        max_length=20,
    ),
]
NamesOption = Annotated[
    str,
    QueryParameter(
        description="With `yes` the last columns are `call_from_name` and `call_to_name`, as the console shows them",
        max_length=20,
    ),
]
ShareTokenText = Annotated[
    str,
    QueryParameter(
        description="A share token, for programs that can send no header; other tokens are not accepted here",
        max_length=TOKEN_CHARACTERS_MAX,
    ),
]


async def export(  # noqa: PLR0917 - the parts of a file
    app_state: AppState,
    search_filter: RecordFilter,
    zone: ZoneInfo,
    export_format: ExportFormat,
    ticket: str = "",
    excel: str = "",
    mask: str = "",
    names: str = "",
) -> ASGIResponse:
    """Return the response with the file. Raises `Unavailable` while too many are running, and `UsageError`."""
    separator = parse_excel_option(excel)
    app_state = await apply_export_mask(app_state, mask)
    if app_state.export_limiter.is_full:
        raise Unavailable(
            _("{limit} exports are already running", limit=EXPORTS_MAX), hint=_("try again when one is done")
        )
    await audit_or_log_read(app_state, describe_export(export_format, search_filter, app_state.masking))
    # After the mask of the export: it is that of the names, too.
    directory = await load_names(app_state) if parse_names_option(names) else None
    file_chunks = app_state.store.export(search_filter, export_format, zone.key, names=directory)
    if separator is not None:
        file_chunks = convert_for_excel(file_chunks, separator)
    chunks = _track_progress(
        app_state.export_jobs,
        ticket,
        _limit_concurrency(app_state.export_limiter, file_chunks),
    )
    # The first chunk is read before the response begins: an error is still a problem document.
    first_chunk = await anext(chunks, b"")
    file_name = f"calls-{app_state.clock.now().astimezone(zone):%Y-%m-%d}.{export_format}"
    return ChunkedResponse(
        chunks,
        first_chunk=first_chunk,
        media_type=MEDIA_TYPES[export_format],
        headers={"Content-Disposition": f'attachment; filename="{file_name}"'},
    )


def _route(export_format: ExportFormat) -> HTTPRouteHandler:
    @get(f"/export.{export_format}", **_route_options(export_format))
    async def handler(  # noqa: PLR0917 - one for each parameter
        app_state: AppStateDep,
        search_filter: SearchFilterDep,
        reader_zone: ReaderZone,
        ticket: Ticket = "",
        token: ShareTokenText = "",
        mask: ExportMask = "",
        names: NamesOption = "",
    ) -> ASGIResponse:
        _reject_other_token(token)
        return await export(app_state, search_filter, reader_zone, export_format, ticket, mask=mask, names=names)

    return handler


def _csv_route() -> HTTPRouteHandler:
    @get("/export.csv", **_route_options("csv"))
    async def handler(  # noqa: PLR0917 - one for each parameter
        app_state: AppStateDep,
        search_filter: SearchFilterDep,
        reader_zone: ReaderZone,
        ticket: Ticket = "",
        token: ShareTokenText = "",
        excel: Excel = "",
        mask: ExportMask = "",
        names: NamesOption = "",
    ) -> ASGIResponse:
        _reject_other_token(token)
        return await export(app_state, search_filter, reader_zone, "csv", ticket, excel, mask, names)

    return handler


def _route_options(export_format: ExportFormat) -> dict[str, Any]:
    spec = ResponseSpec(bytes, description="The file", media_type=MEDIA_TYPES[export_format], generate_examples=False)
    return {
        "opt": SHARED,
        "summary": f"Export records as {export_format.upper()}",
        "description": f"The earliest first. {FORMAT_NOTES[export_format]}",
        "tags": ["calls"],
        "responses": {**PROBLEMS, 200: spec},
    }


async def apply_export_mask(app_state: AppState, text: str) -> AppState:
    """Return the state with the mask of an export. Raises `UsageError` for another one than the user's, if numbers are
    masked for the user: two masks of one call say more than each.
    """
    if not text:
        return app_state
    mask = parse_mask(text)
    if app_state.masking is not None:
        if mask != app_state.masking.mask:
            raise UsageError(
                _("your exports have the mask {mask}", mask=app_state.masking.mask),
                hint=_("leave mask out"),
                parameter="mask",
            )
        return app_state
    return await mask_state(app_state, mask)


def _reject_other_token(token: str) -> None:
    """Raise `UsageError` for a token in the URL that did not serve as one: a share token is not passed on to here."""
    if token:
        raise UsageError(_("this token is not for URLs"), location="token", hint=_("send it in the header"))


ROUTES = tuple(_csv_route() if export_format == "csv" else _route(export_format) for export_format in MEDIA_TYPES)
"""One route per format, because each has another content type."""


@get("/exports/{ticket:str}", opt=SCOPED, include_in_schema=False)
async def read_progress(app_state: AppStateDep, ticket: TicketInPath) -> ExportProgress:
    """Read the progress of the download with this ticket."""
    return app_state.export_jobs.get(ticket)


async def _track_progress(
    export_jobs: ExportJobs, ticket: str, chunks: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """Yield the chunks; meanwhile their progress can be read by the ticket."""
    sent_bytes, is_done = 0, False
    export_jobs.update(ticket, ExportProgress())
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                sent_bytes += len(chunk)
                export_jobs.update(ticket, ExportProgress(sent_bytes))
                yield chunk
        is_done = True
    finally:
        export_jobs.update(ticket, ExportProgress(sent_bytes, is_done=is_done, is_broken=not is_done))


async def _limit_concurrency(limiter: ConcurrencyLimiter, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield the chunks, with a place of the limiter while they are read."""
    # The store's chunks come from a generator; closing it releases its cursor at once when the reader disconnects.
    with limiter.acquire():
        async with aclosing(cast("AsyncGenerator[bytes, None]", chunks)) as closing_chunks:
            async for chunk in closing_chunks:
                yield chunk
