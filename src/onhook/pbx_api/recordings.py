"""`recording/list|search|download`: names of recordings; the audio is on the PBX only."""

import asyncio
from collections.abc import Mapping
from typing import Final

from onhook.cdr.record_filter import RecordFilter
from onhook.pbx.yeastar.rest import format_recording_row
from onhook.pbx_api.cdr import encode, restrict_to_window
from onhook.pbx_api.codes import DATA_NOT_FOUND, ApiRequestError, ApiResponse, parameter_error, success_response
from onhook.pbx_api.request import ApiRequest
from onhook.pbx_api.state import ApiState
from onhook.store.contract import RecordListing, RecordListResult

ORDERS: Final[Mapping[str, str]] = {"id": "seq", "time": "started_at"}
IDS_MAX: Final = 100
ID_CHARACTERS: Final = 17
"""Eight and eight hexadecimal digits with a dash between."""


async def list_recordings(state: ApiState, request: ApiRequest) -> bytes:
    """Return all recordings with a known name."""
    return await _encode_recordings(request, await state.calls.list_records(_listing(request, RecordFilter())))


async def search_recordings(state: ApiState, request: ApiRequest) -> bytes:
    """Return the recordings that match; `ids` are separated by commas."""
    record_filter = RecordFilter(call_from=request.text("caller"), call_to=request.text("callee"))
    listing = restrict_to_window(_listing(request, record_filter), request.window("start_time", "end_time"))
    return await _encode_recordings(
        request, RecordListResult(0, []) if listing is None else await state.calls.list_records(listing)
    )


async def download_recording(_state: ApiState, request: ApiRequest) -> ApiResponse:
    """Reject every download with 60001: only the names of recordings are known. Raises `ApiRequestError`."""
    if request.text("id") is None and request.text("file") is None:
        raise parameter_error("id", "id or file is required")
    raise ApiRequestError(DATA_NOT_FOUND)


def _listing(request: ApiRequest, record_filter: RecordFilter) -> RecordListing:
    offset, limit = request.page()
    return RecordListing(
        filter=record_filter,
        sns=request.owner.pbxs,
        has_recording=True,
        ids=_ids(request),
        order_by=request.choice("sort_by", ORDERS, "started_at"),
        is_descending=request.is_descending(),
        offset=offset,
        limit=limit,
    )


def _ids(request: ApiRequest) -> tuple[str, ...]:
    """Return the first digits of the requested `record_id`s. The list is longer than other parameters, so it is parsed
    separately.
    """
    texts = [text.strip() for text in request.parameters.get("ids", "").split(",") if text.strip()]
    if len(texts) > IDS_MAX or any(len(text) != ID_CHARACTERS for text in texts):
        raise parameter_error("ids", f"at most {IDS_MAX} ids as `recording/list` gives them")
    return tuple(text.replace("-", "").lower() for text in texts)


async def _encode_recordings(request: ApiRequest, result: RecordListResult) -> bytes:
    display = request.display
    return await asyncio.to_thread(
        lambda: encode(
            success_response(
                total_number=result.total, data=[format_recording_row(record, display) for record in result.data]
            )
        )
    )
