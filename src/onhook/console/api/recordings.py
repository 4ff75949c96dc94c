"""`GET /api/v1/recording`: a recording that is here, to be heard by those who may see its call.

Laws: no text of the address becomes a path: the address says which recording of which call, the call says its name. The
file lies in the directory of the call's PBX, whatever that name says, and is sound.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Annotated

from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter
from litestar.response.base import ASGIResponse

from onhook.cdr.record import Call
from onhook.console.api.calls import AnyRequest, find_call
from onhook.console.api.notes import CallIdAsked, SnAsked
from onhook.console.auth.access import LIMITED, limits_of
from onhook.console.http_ranges import NoSuchStretch, Stretch, stretch_of
from onhook.console.problem_documents import PROBLEMS
from onhook.console.semaphores import Places
from onhook.console.state import Handed, Rooms
from onhook.console.streaming import Pieces
from onhook.lib.errors import NotFound, Unavailable

AUDIO_TYPES: Mapping[str, str] = MappingProxyType(
    {
        ".wav": "audio/wav",
        ".mp3": "audio/mpeg",
        ".ogg": "audio/ogg",
        ".opus": "audio/ogg",
        ".m4a": "audio/mp4",
        ".flac": "audio/flac",
    }
)
"""What PBXs record in and browsers play; nothing else is given out."""

PLAYERS_MAX = 32
"""At once; each holds a file and waits for somebody who listens."""

PIECE_BYTES = 64 * 1024

RECORDINGS_MAX = 1_000
"""Of one call: no call has so many legs."""

Number = Annotated[int, QueryParameter(description="Which of the call's `recordings`", ge=1, le=RECORDINGS_MAX)]

_SOUND = ResponseSpec(
    bytes, description="The sound, or the range of it", media_type="audio/wav", generate_examples=False
)


_NOTHING = ResponseSpec(None, description="The file ends before that range", generate_examples=False)


@get(
    "/recording",
    opt=LIMITED,
    summary="A recording of a call, where it is here",
    tags=["calls"],
    responses={**PROBLEMS, 200: _SOUND, 206: _SOUND, 416: _NOTHING},
)
async def read_recording(
    request: AnyRequest, rooms: Handed, sn: SnAsked, call_id: CallIdAsked, number: Number = 1
) -> ASGIResponse:
    """Sound, as the PBX wrote it; `Range` is understood. 404 where the recording is not on this machine."""
    call = await find_call(rooms, sn, call_id, limits_of(request.scope))
    path = await asyncio.to_thread(_file_of, rooms, call, number)
    if path is None:
        raise NotFound("this recording is not here", todo="it may be in the PBX still")
    if rooms.players.is_full:
        raise Unavailable(f"{PLAYERS_MAX} recordings are being heard already", todo="try again when one is over")
    size = (await asyncio.to_thread(path.stat)).st_size
    try:
        stretch = stretch_of(request.headers.get("range", ""), size)
    except NoSuchStretch:
        return ASGIResponse(status_code=416, headers={"Content-Range": f"bytes */{size}"})
    return _answer(rooms.players, path, stretch, size)


def heard_here(rooms: Rooms, call: Call) -> list[bool]:
    """Of each recording of a call, whether it is here."""
    directory = rooms.settings.recordings.of(call.sn)
    return [directory is not None and file_in(directory, name) is not None for name in call.recordings]


def file_in(directory: Path, name: str) -> Path | None:
    """The recording of that name, whatever else the name means: None for what is no sound, and for what lies elsewhere,
    by dots, by a whole path or by a link."""
    if PurePath(name).suffix.lower() not in AUDIO_TYPES:
        return None
    try:
        root = directory.resolve()
        path = (root / name).resolve()
        return path if path.is_relative_to(root) and path.is_file() else None
    except (OSError, ValueError):  # a name that no system has: too long, or with a NUL
        return None


def _file_of(rooms: Rooms, call: Call, number: int) -> Path | None:
    directory = rooms.settings.recordings.of(call.sn)
    if directory is None or number > len(call.recordings):
        return None
    return file_in(directory, call.recordings[number - 1])


def _answer(places: Places, path: Path, stretch: Stretch | None, size: int) -> Pieces:
    sent = stretch or Stretch(0, size)
    headers = {"Accept-Ranges": "bytes", "Content-Length": str(sent.end - sent.begin)}
    if stretch is not None:
        headers["Content-Range"] = f"bytes {sent.begin}-{sent.end - 1}/{size}"
    return Pieces(
        _read(places, path, sent),
        media_type=AUDIO_TYPES[path.suffix.lower()],
        headers=headers,
        status_code=200 if stretch is None else 206,
    )


async def _read(places: Places, path: Path, sent: Stretch) -> AsyncGenerator[bytes, None]:
    """The bytes of the stretch, with a place held as long as somebody listens."""
    left = sent.end - sent.begin
    with places.taking_one(), await asyncio.to_thread(path.open, "rb") as opened:
        await asyncio.to_thread(opened.seek, sent.begin)
        while left and (piece := await asyncio.to_thread(opened.read, min(left, PIECE_BYTES))):
            left -= len(piece)
            yield piece
