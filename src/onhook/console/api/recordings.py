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
from onhook.console.api.notes import CallIdQuery, SnQuery
from onhook.console.auth.access import SCOPED, get_access_scope
from onhook.console.http_ranges import ByteRange, RangeNotSatisfiable, parse_byte_range
from onhook.console.problem_documents import PROBLEMS
from onhook.console.semaphores import ConcurrencyLimiter
from onhook.console.state import AppState, AppStateDep
from onhook.console.streaming import ChunkedResponse
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

CHUNK_BYTES = 64 * 1024

RECORDINGS_MAX = 1_000
"""Of one call: no call has so many legs."""

RecordingNumber = Annotated[
    int, QueryParameter(description="Which of the call's `recordings`", ge=1, le=RECORDINGS_MAX)
]

_AUDIO_SPEC = ResponseSpec(
    bytes, description="The sound, or the range of it", media_type="audio/wav", generate_examples=False
)


_RANGE_ERROR_SPEC = ResponseSpec(None, description="The file ends before that range", generate_examples=False)


@get(
    "/recording",
    opt=SCOPED,
    summary="A recording of a call, where it is here",
    tags=["calls"],
    responses={**PROBLEMS, 200: _AUDIO_SPEC, 206: _AUDIO_SPEC, 416: _RANGE_ERROR_SPEC},
)
async def read_recording(
    request: AnyRequest, app_state: AppStateDep, sn: SnQuery, call_id: CallIdQuery, number: RecordingNumber = 1
) -> ASGIResponse:
    """Sound, as the PBX wrote it; `Range` is understood. 404 where the recording is not on this machine."""
    call = await find_call(app_state, sn, call_id, get_access_scope(request.scope))
    path = await asyncio.to_thread(_recording_path, app_state, call, number)
    if path is None:
        raise NotFound("this recording is not here", hint="it may be in the PBX still")
    if app_state.playback_limiter.is_full:
        raise Unavailable(f"{PLAYERS_MAX} recordings are being heard already", hint="try again when one is over")
    size = (await asyncio.to_thread(path.stat)).st_size
    try:
        byte_range = parse_byte_range(request.headers.get("range", ""), size)
    except RangeNotSatisfiable:
        return ASGIResponse(status_code=416, headers={"Content-Range": f"bytes */{size}"})
    return _audio_response(app_state.playback_limiter, path, byte_range, size)


def local_recording_flags(app_state: AppState, call: Call) -> list[bool]:
    """Of each recording of a call, whether it is here."""
    directory = app_state.appdb.recordings.get(call.sn)
    return [directory is not None and find_recording_file(directory, name) is not None for name in call.recordings]


def find_recording_file(directory: Path, name: str) -> Path | None:
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


def _recording_path(app_state: AppState, call: Call, number: int) -> Path | None:
    directory = app_state.appdb.recordings.get(call.sn)
    if directory is None or number > len(call.recordings):
        return None
    return find_recording_file(directory, call.recordings[number - 1])


def _audio_response(
    limiter: ConcurrencyLimiter, path: Path, byte_range: ByteRange | None, size: int
) -> ChunkedResponse:
    sent_range = byte_range or ByteRange(0, size)
    headers = {"Accept-Ranges": "bytes", "Content-Length": str(sent_range.end - sent_range.begin)}
    if byte_range is not None:
        headers["Content-Range"] = f"bytes {sent_range.begin}-{sent_range.end - 1}/{size}"
    return ChunkedResponse(
        _read_chunks(limiter, path, sent_range),
        media_type=AUDIO_TYPES[path.suffix.lower()],
        headers=headers,
        status_code=200 if byte_range is None else 206,
    )


async def _read_chunks(limiter: ConcurrencyLimiter, path: Path, byte_range: ByteRange) -> AsyncGenerator[bytes, None]:
    """The bytes of the stretch, with a place held as long as somebody listens."""
    remaining_bytes = byte_range.end - byte_range.begin
    with limiter.acquire(), await asyncio.to_thread(path.open, "rb") as file:
        await asyncio.to_thread(file.seek, byte_range.begin)
        while remaining_bytes and (chunk := await asyncio.to_thread(file.read, min(remaining_bytes, CHUNK_BYTES))):
            remaining_bytes -= len(chunk)
            yield chunk
