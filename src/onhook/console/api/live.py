"""`GET /api/v1/live`: records as they are stored, as server-sent events, resumable.

Invariants: a listener is a number, the last `seq` it was sent; there is no queue for it. Listeners at the same position
share one read of the store. A slow reader is disconnected, reconnects with its `Last-Event-ID`, and misses nothing.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Annotated

import msgspec
from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, QueryParameter
from litestar.response.base import ASGIResponse

from onhook.cdr.record import Record
from onhook.cdr.record_filter import RecordFilter
from onhook.cdr.record_masking import Masking
from onhook.console.auth.access import SCOPED
from onhook.console.live.live_tail import encode_event
from onhook.console.masked_store import check_masked_filter
from onhook.console.parameters import SEQ_MAX, RecordFilterDep
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import AppState, AppStateDep
from onhook.console.streaming import ChunkedResponse
from onhook.lib.errors import Unavailable, UsageError
from onhook.lib.messages import _

LISTENERS_MAX = 64
"""Each keeps a connection open; an address may have 250 of them, and most are left for reading."""

HEARTBEAT_SECONDS = 15
"""Proxies close connections that are silent for a minute, and a disconnected reader is detected by writing to it."""

CONNECTION_SECONDS_MAX = 3600
"""Then the stream ends and the reader reconnects, so that access is checked again."""

RETRY_MILLISECONDS = 2_000
"""Reconnect delay of a browser."""

SEQ_DIGITS_MAX = 18
"""More than any ledger will have, less than overflows."""

EVENT_STREAM = "text/event-stream"

StartAfter = Annotated[int | None, QueryParameter(description="Send records after this number", ge=0, le=SEQ_MAX)]
LastEventId = Annotated[
    str | None, HeaderParameter(name="Last-Event-ID", description="As `after`, set by browsers; it has precedence")
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
    summary="Stream new records as server-sent events",
    tags=["calls"],
    responses={**PROBLEMS, 200: _EVENT_STREAM_SPEC},
)
async def listen(
    app_state: AppStateDep, record_filter: RecordFilterDep, after: StartAfter = None, last_event_id: LastEventId = None
) -> ASGIResponse:
    """Stream new records. Without a number it begins with the next one. A comment every 15 seconds keeps the connection
    alive.
    """
    if app_state.masking is not None:
        check_masked_filter(record_filter, app_state.masking)
    start_after = after if last_event_id is None else _parse_event_id(last_event_id)
    if app_state.live_limiter.is_full:
        raise Unavailable(
            _("{limit} listeners are already connected", limit=app_state.live_limiter.maximum),
            hint=_("try again later"),
        )
    position = await app_state.store.position() if start_after is None else start_after
    return ChunkedResponse(
        stream_events(app_state, record_filter, position),
        media_type=EVENT_STREAM,
        # Without this nginx would hold the events back until a buffer is full.
        headers={"X-Accel-Buffering": "no"},
    )


async def stream_events(app_state: AppState, record_filter: RecordFilter, seq: int) -> AsyncGenerator[bytes, None]:
    """Yield events after a number, for ever, with heartbeats; ends at shutdown or after the maximum time."""
    with app_state.live_limiter.acquire():
        yield b"retry: %d\n: listening after %d\n\n" % (RETRY_MILLISECONDS, seq)
        deadline = asyncio.get_running_loop().time() + CONNECTION_SECONDS_MAX
        while not app_state.position_notifier.is_closed and asyncio.get_running_loop().time() < deadline:
            position = app_state.position_notifier.position
            batch = await app_state.live_tail.records_after(seq)
            if batch:
                seq = batch[-1][0].seq
                if chunk := b"".join(_select_events(batch, record_filter, app_state.masking)):
                    yield chunk
            elif (
                not await app_state.position_notifier.wait(max(seq, position), HEARTBEAT_SECONDS)
                and not app_state.position_notifier.is_closed
            ):
                yield b":\n\n"


def _select_events(
    batch: Sequence[tuple[Record, bytes]], record_filter: RecordFilter, masking: Masking | None
) -> Iterator[bytes]:
    """Yield the events of matching records; for a reader with masked numbers a record matches by what is shown."""
    if masking is None:
        yield from (event for record, event in batch if record_filter.matches(record))
        return
    scope, shown_filter = record_filter.scope, msgspec.structs.replace(record_filter, scope=None)
    for record, _event in batch:
        if (scope is None or scope.allows_record(record)) and shown_filter.matches(
            masked := masking.mask_record(record)
        ):
            yield encode_event(masked)


def _parse_event_id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= SEQ_DIGITS_MAX):
        raise UsageError(
            _(("Last-Event-ID is not a valid number: {text}"), text=repr(text[:40])),
            hint=_("send the `id` of an event"),
        )
    return int(text)
