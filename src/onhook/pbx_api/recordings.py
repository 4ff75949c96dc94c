"""`recording/list|search|download`: which calls were recorded; the audio itself is on the PBX, not here."""

import asyncio
from collections.abc import Mapping
from typing import Final

from onhook.cdr.record_filter import RecordFilter
from onhook.pbx.yeastar.rest import row_of_recording
from onhook.pbx_api.cdr import encode, restrict_to_window
from onhook.pbx_api.codes import DATA_NOT_FOUND, ApiRequestError, ApiResponse, parameter_error, success_response
from onhook.pbx_api.request import ApiRequest
from onhook.pbx_api.state import ApiState
from onhook.store.contract import RecordListing, RecordListResult

ORDERS: Final[Mapping[str, str]] = {"id": "seq", "time": "started_at"}
IDS_MAX: Final = 100
ID_CHARACTERS: Final = 17
"""Eight and eight hexadecimal digits, and the dash between them."""


async def list_recordings(rooms: ApiState, asked: ApiRequest) -> bytes:
    """All recordings that are known by name."""
    return await _encode_recordings(asked, await rooms.calls.listed_records(_listing(asked, RecordFilter())))


async def search_recordings(rooms: ApiState, asked: ApiRequest) -> bytes:
    """Those that match; `ids` are joined by commas."""
    record_filter = RecordFilter(call_from=asked.text("caller"), call_to=asked.text("callee"))
    listing = restrict_to_window(_listing(asked, record_filter), asked.window("start_time", "end_time"))
    return await _encode_recordings(
        asked, RecordListResult(0, []) if listing is None else await rooms.calls.listed_records(listing)
    )


async def download_recording(_rooms: ApiState, asked: ApiRequest) -> ApiResponse:
    """Always refused with 60001: of a recording no more than its name is known here. Raises `Refused`."""
    if asked.text("id") is None and asked.text("file") is None:
        raise parameter_error("id", "id or file is required")
    raise ApiRequestError(DATA_NOT_FOUND)


def _listing(asked: ApiRequest, where: RecordFilter) -> RecordListing:
    offset, limit = asked.page()
    return RecordListing(
        where=where,
        sns=asked.owner.pbxs,
        has_recording=True,
        ids=_ids(asked),
        order_by=asked.one_of("sort_by", ORDERS, "started_at"),
        is_descending=asked.is_descending(),
        offset=offset,
        limit=limit,
    )


def _ids(asked: ApiRequest) -> tuple[str, ...]:
    """The first digits of `record_id` that are meant. Longer than other texts, so it is read apart."""
    texts = [text.strip() for text in asked.parameters.get("ids", "").split(",") if text.strip()]
    if len(texts) > IDS_MAX or any(len(text) != ID_CHARACTERS for text in texts):
        raise parameter_error("ids", f"at most {IDS_MAX} ids as `recording/list` gives them")
    return tuple(text.replace("-", "").lower() for text in texts)


async def _encode_recordings(asked: ApiRequest, found: RecordListResult) -> bytes:
    display = asked.display
    return await asyncio.to_thread(
        lambda: encode(
            success_response(
                total_number=found.total, data=[row_of_recording(record, display) for record in found.data]
            )
        )
    )
