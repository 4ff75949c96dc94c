"""`GET /api/v1/export.csv`, `.jsonl`, `.parquet`, `.xlsx`: a whole search as one file, in pieces as it is read."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Annotated, cast
from zoneinfo import ZoneInfo

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import PathParameter, QueryParameter
from litestar.response.base import ASGIResponse

from onhook.cdr.record_filter import RecordFilter
from onhook.console.auth.access import SCOPED
from onhook.console.export_jobs import ExportJobs, ExportProgress
from onhook.console.parameters import ReaderZone, SearchFilterDep
from onhook.console.problem_documents import PROBLEMS
from onhook.console.semaphores import ConcurrencyLimiter
from onhook.console.state import AppState, AppStateDep
from onhook.console.streaming import ChunkedResponse
from onhook.lib.errors import Unavailable
from onhook.store.contract import ExportFormat

EXPORTS_MAX = 4
"""At once: each holds a cursor of the store and some memory as long as it is read."""

MEDIA_TYPES: Mapping[ExportFormat, str] = {
    "csv": "text/csv; charset=utf-8; header=present",
    "jsonl": "application/jsonl",
    "parquet": "application/vnd.apache.parquet",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}

FORMAT_NOTES: Mapping[ExportFormat, str] = {
    "csv": "Times in `zone`, with offset. What a spreadsheet would take for a formula begins with an apostrophe.",
    "jsonl": "A record per line, as `/records` gives it, times in UTC; `zone` is for the filters only.",
    "parquet": "Values as they are, times as instants in UTC; `zone` is for the filters only.",
    "xlsx": "Times in `zone`, with offset. What a spreadsheet would take for a formula begins with an apostrophe.",
}
"""What the values look like, for the schema."""


Ticket = Annotated[str, QueryParameter(description="A word by which a page asks how far it is", max_length=64)]
TicketInPath = Annotated[str, PathParameter(max_length=64)]


async def export(
    rooms: AppState, where: RecordFilter, zone: ZoneInfo, form: ExportFormat, ticket: str = ""
) -> ASGIResponse:
    """The answer with the file. Raises `Unavailable` while too many are being made."""
    if rooms.exports.is_full:
        raise Unavailable(f"{EXPORTS_MAX} exports are being made already", todo="try again when one is done")
    chunks = _track_progress(
        rooms.exporting, ticket, _limit_concurrency(rooms.exports, rooms.store.export(where, form, zone.key))
    )
    # The first piece is made before the answer begins: what cannot be exported is still a problem document.
    first_chunk = await anext(chunks, b"")
    file_name = f"calls-{rooms.clock.now().astimezone(zone):%Y-%m-%d}.{form}"
    return ChunkedResponse(
        chunks,
        first=first_chunk,
        media_type=MEDIA_TYPES[form],
        headers={"Content-Disposition": f'attachment; filename="{file_name}"'},
    )


def _route(form: ExportFormat) -> HTTPRouteHandler:
    spec = ResponseSpec(bytes, description="The file", media_type=MEDIA_TYPES[form], generate_examples=False)

    @get(
        f"/export.{form}",
        opt=SCOPED,
        summary=f"All records that match, as one {form.upper()} file",
        description=f"The earliest first. {FORMAT_NOTES[form]}",
        tags=["calls"],
        responses={**PROBLEMS, 200: spec},
    )
    async def handler(
        rooms: AppStateDep, calls_where: SearchFilterDep, reader_zone: ReaderZone, ticket: Ticket = ""
    ) -> ASGIResponse:
        return await export(rooms, calls_where, reader_zone, form, ticket)

    return handler


ROUTES = tuple(_route(form) for form in MEDIA_TYPES)
"""One for each form, because each answers with another kind of file."""


@get("/exports/{ticket:str}", opt=SCOPED, include_in_schema=False)
async def read_progress(rooms: AppStateDep, ticket: TicketInPath) -> ExportProgress:
    """How far the download with this ticket has come."""
    return rooms.exporting.of(ticket)


async def _track_progress(
    exporting: ExportJobs, ticket: str, pieces: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """The pieces; meanwhile whoever has the ticket can ask how far they have come."""
    sent_bytes, is_done = 0, False
    exporting.note(ticket, ExportProgress())
    try:
        async with aclosing(pieces):
            async for chunk in pieces:
                sent_bytes += len(chunk)
                exporting.note(ticket, ExportProgress(sent_bytes))
                yield chunk
        is_done = True
    finally:
        exporting.note(ticket, ExportProgress(sent_bytes, is_done=is_done, is_broken=not is_done))


async def _limit_concurrency(places: ConcurrencyLimiter, pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The pieces, with a place held as long as they are read."""
    # A store's pieces are made by a generator; closing it lets go of its cursor at once when the reader leaves.
    with places.taking_one():
        async with aclosing(cast("AsyncGenerator[bytes, None]", pieces)) as closing_chunks:
            async for chunk in closing_chunks:
                yield chunk
