"""`GET /api/v1/export.csv`, `.jsonl`, `.parquet`, `.xlsx`: a whole search as one file, in pieces as it is read."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, cast

from litestar import Request, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.response.base import ASGIResponse

from onhook.console.parameters import ReaderZone, Where
from onhook.console.places import Places
from onhook.console.problems import PROBLEMS
from onhook.console.rooms import Handed
from onhook.console.streaming import Pieces
from onhook.errors import Unavailable
from onhook.store.store import ExportFormat

EXPORTS_MAX = 4
"""At once: each holds a cursor of the store and some memory as long as it is read."""

MEDIA_TYPES: Mapping[ExportFormat, str] = {
    "csv": "text/csv; charset=utf-8; header=present",
    "jsonl": "application/jsonl",
    "parquet": "application/vnd.apache.parquet",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}

_PATHS = [f"/export.{form}" for form in MEDIA_TYPES]
_SPEC = ResponseSpec(
    data_container=bytes,
    description="The file, in the form that the address names",
    media_type="application/octet-stream",
    generate_examples=False,
)


@get(_PATHS, summary="All records that match, as one file", tags=["calls"], responses={**PROBLEMS, 200: _SPEC})
async def export(request: Request[Any, Any, Any], rooms: Handed, where: Where, reader_zone: ReaderZone) -> ASGIResponse:
    """The earliest first; times in `zone`, with offset. What a spreadsheet takes for a formula is made harmless."""
    form = cast(ExportFormat, request.url.path.rpartition(".")[2])
    if rooms.exports.is_full:
        raise Unavailable(f"{EXPORTS_MAX} exports are being made already", todo="try again when one is done")
    pieces = _counted(rooms.exports, rooms.store.export(where, form, reader_zone.key))
    # The first piece is made before the answer begins: what cannot be exported is still a problem document.
    first = await anext(pieces, b"")
    name = f"calls-{rooms.clock.now().astimezone(reader_zone):%Y-%m-%d}.{form}"
    return Pieces(
        pieces,
        first=first,
        media_type=MEDIA_TYPES[form],
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def _counted(places: Places, pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The pieces, with a place held as long as they are read."""
    with places.taking_one():
        async for piece in pieces:
            yield piece
