"""`GET /api/v1/recording`: a recording on this machine, for users who may see its call.

Invariants: no text of the URL becomes a path: the URL names the recording by call and number, the call has its file
name. The file is in the directory of the call's PBX, whatever the name is, and is audio.
"""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated

from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter
from litestar.response.base import ASGIResponse

from onhook.appdb.recordings import AUDIO_TYPES
from onhook.console.auth.access import SCOPED, get_access_scope
from onhook.console.concurrency_limiter import ConcurrencyLimiter
from onhook.console.http_ranges import ByteRange, RangeNotSatisfiable, parse_byte_range
from onhook.console.parameters import CallIdQuery, SnQuery
from onhook.console.problem_documents import PROBLEMS
from onhook.console.queries.audited_reads import audit_or_log_read
from onhook.console.queries.calls import find_call, recording_path
from onhook.console.state import AnyRequest, AppStateDep
from onhook.console.streaming import ChunkedResponse
from onhook.lib.errors import NotFound, Unavailable
from onhook.lib.messages import _

PLAYERS_MAX = 32
"""Concurrent players; each holds a file open."""

CHUNK_BYTES = 64 * 1024

RECORDINGS_MAX = 1_000
"""Of one call: no call has so many legs."""

RecordingNumber = Annotated[
    int, QueryParameter(description="Index in the call's `recordings`, from 1", ge=1, le=RECORDINGS_MAX)
]

_AUDIO_SPEC = ResponseSpec(
    bytes, description="The audio, or the requested range of it", media_type="audio/wav", generate_examples=False
)


_RANGE_ERROR_SPEC = ResponseSpec(None, description="The file ends before the requested range", generate_examples=False)


@get(
    "/recording",
    opt=SCOPED,
    summary="Read the recording of a call",
    tags=["calls"],
    responses={**PROBLEMS, 200: _AUDIO_SPEC, 206: _AUDIO_SPEC, 416: _RANGE_ERROR_SPEC},
)
async def read_recording(
    request: AnyRequest, app_state: AppStateDep, sn: SnQuery, call_id: CallIdQuery, number: RecordingNumber = 1
) -> ASGIResponse:
    """Read a recording as the PBX wrote it; `Range` is supported. 404 where it is not on this machine."""
    call = await find_call(app_state, sn, call_id, get_access_scope(request.scope))
    path = await recording_path(app_state, call, number)
    if path is None:
        raise NotFound(_("this recording is not here"), hint=_("it may be on the PBX"))
    await audit_or_log_read(app_state, f"recording {path.name} of call {call_id}")
    if app_state.playback_limiter.is_full:
        raise Unavailable(
            _("{limit} recordings are already playing", limit=PLAYERS_MAX), hint=_("try again when one is over")
        )
    size = (await asyncio.to_thread(path.stat)).st_size
    try:
        byte_range = parse_byte_range(request.headers.get("range", ""), size)
    except RangeNotSatisfiable:
        return ASGIResponse(status_code=416, headers={"Content-Range": f"bytes */{size}"})
    return _audio_response(app_state.playback_limiter, path, byte_range, size)


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
    """Yield the bytes of the range, with a place of the limiter while they are read."""
    remaining_bytes = byte_range.end - byte_range.begin
    with limiter.acquire(), await asyncio.to_thread(path.open, "rb") as file:
        await asyncio.to_thread(file.seek, byte_range.begin)
        while remaining_bytes and (chunk := await asyncio.to_thread(file.read, min(remaining_bytes, CHUNK_BYTES))):
            remaining_bytes -= len(chunk)
            yield chunk
