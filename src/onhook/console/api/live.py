"""`GET /api/v1/live`: records as they come into the store, as server-sent events, resumable.

Laws: a listener is a number, the last `seq` it was sent; nothing is queued for it. Listeners at the same place share
one reading of the store. Who reads too slowly is cut off, comes again with its `Last-Event-ID`, and has missed nothing.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated

from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, QueryParameter
from litestar.response.base import ASGIResponse

from onhook.cdr.record_filter import RecordFilter
from onhook.console.api.records import SEQ_MAX
from onhook.console.auth.access import SCOPED
from onhook.console.parameters import RecordFilterDep
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import AppState, AppStateDep
from onhook.console.streaming import ChunkedResponse
from onhook.lib.errors import Unavailable, UsageError

LISTENERS_MAX = 64
"""Each keeps a connection open; the server takes 128 requests at once, and half of them are left for reading."""

HEARTBEAT_SECONDS = 15
"""Proxies close what is silent for a minute, and a reader that left without a word is noticed by writing to it."""

CONNECTION_SECONDS_MAX = 3600
"""Then the stream ends and the reader comes again, so that access is checked anew."""

RETRY_MILLISECONDS = 2_000
"""How long a browser waits before it comes again."""

SEQ_DIGITS_MAX = 18
"""More than any ledger will hold, less than overflows."""

EVENT_STREAM = "text/event-stream"

StartAfter = Annotated[int | None, QueryParameter(description="Send what came after this number", ge=0, le=SEQ_MAX)]
LastEventId = Annotated[
    str | None, HeaderParameter(name="Last-Event-ID", description="The same, as browsers say it; it counts first")
]

_EVENT_STREAM_SPEC = ResponseSpec(
    data_container=str,
    description="Events: `id` is the record's `seq`, `event` is `record`, `data` the record in JSON",
    media_type=EVENT_STREAM,
    generate_examples=False,
)


@get(
    "/live",
    opt=SCOPED,
    summary="Records as they come, as server-sent events",
    tags=["calls"],
    responses={**PROBLEMS, 200: _EVENT_STREAM_SPEC},
)
async def listen(
    app_state: AppStateDep, record_filter: RecordFilterDep, after: StartAfter = None, last_event_id: LastEventId = None
) -> ASGIResponse:
    """Without a number it begins with what comes next. A comment every 15 seconds says that the line is open."""
    start_after = after if last_event_id is None else _parse_event_id(last_event_id)
    if app_state.live_limiter.is_full:
        raise Unavailable(f"{app_state.live_limiter.maximum} listen already", hint="try again later")
    position = await app_state.store.position() if start_after is None else start_after
    return ChunkedResponse(
        stream_events(app_state, record_filter, position),
        media_type=EVENT_STREAM,
        # Without this nginx would keep the events until a buffer is full.
        headers={"X-Accel-Buffering": "no"},
    )


async def stream_events(app_state: AppState, record_filter: RecordFilter, seq: int) -> AsyncGenerator[bytes, None]:
    """Events after a number, for ever, with heartbeats; ends when the feed is closed or the time is up."""
    with app_state.live_limiter.acquire():
        yield b"retry: %d\n: listening after %d\n\n" % (RETRY_MILLISECONDS, seq)
        deadline = asyncio.get_running_loop().time() + CONNECTION_SECONDS_MAX
        while not app_state.position_notifier.is_closed and asyncio.get_running_loop().time() < deadline:
            position = app_state.position_notifier.position
            batch = await app_state.live_tail.records_after(seq)
            if batch:
                seq = batch[-1][0].seq
                if chunk := b"".join(event for record, event in batch if record_filter.matches(record)):
                    yield chunk
            elif (
                not await app_state.position_notifier.wait(max(seq, position), HEARTBEAT_SECONDS)
                and not app_state.position_notifier.is_closed
            ):
                yield b":\n\n"


def _parse_event_id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= SEQ_DIGITS_MAX):
        raise UsageError(f"Last-Event-ID is not a number of ours: {text[:40]!r}", hint="send the `id` of an event")
    return int(text)
