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

from onhook.cdr.record_filter import Filter
from onhook.console.auth.access import LIMITED
from onhook.console.export_jobs import Exporting, Progress
from onhook.console.parameters import CallsWhere, ReaderZone
from onhook.console.problem_documents import PROBLEMS
from onhook.console.semaphores import Places
from onhook.console.state import Handed, Rooms
from onhook.console.streaming import Pieces
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

CELLS: Mapping[ExportFormat, str] = {
    "csv": "Times in `zone`, with offset. What a spreadsheet would take for a formula begins with an apostrophe.",
    "jsonl": "A record per line, as `/records` gives it, times in UTC; `zone` is for the filters only.",
    "parquet": "Values as they are, times as instants in UTC; `zone` is for the filters only.",
    "xlsx": "Times in `zone`, with offset. What a spreadsheet would take for a formula begins with an apostrophe.",
}
"""What the values look like, for the schema."""


Ticket = Annotated[str, QueryParameter(description="A word by which a page asks how far it is", max_length=64)]
TicketInPath = Annotated[str, PathParameter(max_length=64)]


async def export(rooms: Rooms, where: Filter, zone: ZoneInfo, form: ExportFormat, ticket: str = "") -> ASGIResponse:
    """The answer with the file. Raises `Unavailable` while too many are being made."""
    if rooms.exports.is_full:
        raise Unavailable(f"{EXPORTS_MAX} exports are being made already", todo="try again when one is done")
    pieces = _told(rooms.exporting, ticket, _counted(rooms.exports, rooms.store.export(where, form, zone.key)))
    # The first piece is made before the answer begins: what cannot be exported is still a problem document.
    first = await anext(pieces, b"")
    name = f"calls-{rooms.clock.now().astimezone(zone):%Y-%m-%d}.{form}"
    return Pieces(
        pieces,
        first=first,
        media_type=MEDIA_TYPES[form],
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _route(form: ExportFormat) -> HTTPRouteHandler:
    spec = ResponseSpec(bytes, description="The file", media_type=MEDIA_TYPES[form], generate_examples=False)

    @get(
        f"/export.{form}",
        opt=LIMITED,
        summary=f"All records that match, as one {form.upper()} file",
        description=f"The earliest first. {CELLS[form]}",
        tags=["calls"],
        responses={**PROBLEMS, 200: spec},
    )
    async def answer(
        rooms: Handed, calls_where: CallsWhere, reader_zone: ReaderZone, ticket: Ticket = ""
    ) -> ASGIResponse:
        return await export(rooms, calls_where, reader_zone, form, ticket)

    return answer


ROUTES = tuple(_route(form) for form in MEDIA_TYPES)
"""One for each form, because each answers with another kind of file."""


@get("/exports/{ticket:str}", opt=LIMITED, include_in_schema=False)
async def read_progress(rooms: Handed, ticket: TicketInPath) -> Progress:
    """How far the download with this ticket has come."""
    return rooms.exporting.of(ticket)


async def _told(exporting: Exporting, ticket: str, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The pieces; meanwhile whoever has the ticket can ask how far they have come."""
    sent, is_done = 0, False
    exporting.note(ticket, Progress())
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                sent += len(piece)
                exporting.note(ticket, Progress(sent))
                yield piece
        is_done = True
    finally:
        exporting.note(ticket, Progress(sent, is_done=is_done, is_broken=not is_done))


async def _counted(places: Places, pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The pieces, with a place held as long as they are read."""
    # A store's pieces are made by a generator; closing it lets go of its cursor at once when the reader leaves.
    with places.taking_one():
        async with aclosing(cast("AsyncGenerator[bytes, None]", pieces)) as made:
            async for piece in made:
                yield piece
