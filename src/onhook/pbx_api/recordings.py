"""`recording/list|search|query|download`: recordings of the calls; the audio is here, or on the PBX."""

import asyncio
from collections.abc import Mapping
from typing import Final

from onhook.cdr.record import Record
from onhook.cdr.record_filter import RecordFilter
from onhook.pbx.yeastar.rest import format_recording_row
from onhook.pbx_api.cdr import encode, restrict_to_window
from onhook.pbx_api.codes import (
    DATA_NOT_FOUND,
    SUCCESS,
    ApiRequestError,
    ApiResponse,
    parameter_error,
    success_response,
)
from onhook.pbx_api.downloads import PATH
from onhook.pbx_api.pass_through import RECORDING_PATH
from onhook.pbx_api.request import ApiRequest
from onhook.pbx_api.state import ApiState
from onhook.store.contract import ID_DIGITS, RecordListing, RecordListResult

ORDERS: Final[Mapping[str, str]] = {"id": "seq", "time": "started_at"}
IDS_MAX: Final = 100
ID_CHARACTERS_MAX: Final = 16
"""Decimal digits of 52 bits."""

AUDIO_SUFFIXES: Final = (".wav", ".mp3", ".ogg", ".opus", ".m4a", ".flac", ".gsm")
"""File types of recordings; any other is served as `.wav`, the PBX's own."""


async def list_recordings(state: ApiState, request: ApiRequest) -> bytes:
    """Return all recordings with a known name."""
    return await _encode_recordings(request, await state.calls.list_records(_listing(request, RecordFilter(), ())))


async def search_recordings(state: ApiState, request: ApiRequest) -> bytes:
    """Return the recordings that match; `ids` are separated by commas."""
    record_filter = RecordFilter(call_from=request.text("caller"), call_to=request.text("callee"))
    recordings = _listing(request, record_filter, ("caller", "callee", "start_time", "end_time"))
    listing = restrict_to_window(recordings, request.window("start_time", "end_time"))
    return await _encode_recordings(
        request, RecordListResult(0, []) if listing is None else await state.calls.list_records(listing)
    )


async def download_recording(state: ApiState, request: ApiRequest) -> ApiResponse:
    """Prepare a recording by its `id` or by its name `file`, which the app then fetches under its
    `download_resource_url`. Raises `ApiRequestError` with 60001 where the audio is neither here nor on the PBX.
    """
    record = await _find_record(state, request)
    name = record.recording if record is not None else request.text("file")
    if not name:
        raise ApiRequestError(DATA_NOT_FOUND)
    path = None if record is None else await state.calls.recording_file(record.sn, name)
    content = path or await state.pass_through.find_recording(request, name)
    if content is None:
        raise ApiRequestError(DATA_NOT_FOUND)
    if path is not None:  # one on the PBX is in the audit log already
        await state.pass_through.record_action(request, RECORDING_PATH, SUCCESS)
    suffix = next((suffix for suffix in AUDIO_SUFFIXES if name.lower().endswith(suffix)), AUDIO_SUFFIXES[0])
    file = state.downloads.add_recording(request.owner, suffix, content, state.clock.microseconds())
    return success_response(file=name, download_resource_url=f"{PATH}{file.name}")


async def _find_record(state: ApiState, request: ApiRequest) -> Record | None:
    """Return the record with the requested recording, the latest, of the PBXs of the app. Raises `ApiRequestError`."""
    name = request.text("file")
    ids = _parse_ids(request.text("id") or "", "id")
    if not ids and name is None:
        raise parameter_error("id", "id or file is required")
    listing = RecordListing(
        sns=request.owner.pbxs,
        has_recording=True,
        ids=ids,
        recordings=() if name is None else (name,),
        is_descending=True,
        limit=1,
    )
    records = (await state.calls.list_records(listing)).data
    return records[0] if records else None


def _listing(request: ApiRequest, record_filter: RecordFilter, read_names: tuple[str, ...]) -> RecordListing:
    """Return the listing of a request whose filters are `ids` and those that were read. Raises `ApiRequestError`."""
    request.reject_filters_except("ids", *read_names)
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
    """Return the requested ids, separated by commas. The list is longer than other parameters, so it is parsed
    separately.
    """
    return _parse_ids(request.parameters.get("ids", ""), "ids")


def _parse_ids(text: str, name: str) -> tuple[str, ...]:
    """Return the first digits of the `record_id`s with these numbers. Raises `ApiRequestError`."""
    items = [item.strip() for item in text.split(",") if item.strip()]
    is_valid = all(item.isascii() and item.isdigit() and len(item) <= ID_CHARACTERS_MAX for item in items)
    if len(items) > IDS_MAX or not is_valid:
        raise parameter_error(name, f"at most {IDS_MAX} whole numbers as `recording/list` gives them")
    return tuple(f"{int(item):0{ID_DIGITS}x}" for item in items)


async def _encode_recordings(request: ApiRequest, result: RecordListResult) -> bytes:
    display = request.display
    return await asyncio.to_thread(
        lambda: encode(
            success_response(
                total_number=result.total, data=[format_recording_row(record, display) for record in result.data]
            )
        )
    )
