"""`cdr/list`, `cdr/search`, `cdr/detail` and `cdr/download`: calls as rows (yeastar-p-series.md 7)."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec

from onhook.cdr.call_details import fold_word
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.pbx.yeastar.rest import (
    CALL_CSV_COLUMNS,
    CSV_COLUMNS,
    format_call_csv_row,
    format_call_detail,
    format_call_row,
    format_csv_row,
    format_leg_row,
)
from onhook.pbx_api.codes import DATA_NOT_FOUND, ApiRequestError, ApiResponse, parameter_error, success_response
from onhook.pbx_api.directory import KINDS, resolve_numbers
from onhook.pbx_api.downloads import PATH, format_csv
from onhook.pbx_api.request import ApiRequest, QueryWindow
from onhook.pbx_api.state import ApiState
from onhook.store.contract import CallListing, CallListResult, Listing, RecordListing, RecordListResult

LIST_ORDERS: Final[Mapping[str, str]] = {
    "id": "seq",
    "uid": "uid",
    "time": "started_at",
    "duration": "call_duration",
    "ring_duration": "ring_duration",
    "talk_duration": "talk_duration",
    "disposition": "status",
    "src_trunk": "src_trunk_name",
    "dst_trunk": "dst_trunk_name",
    "call_type": "type",
    "did_number": "did_number",
    # Events do not contain these fields, so all rows are equal in them.
    "dod_number": "started_at",
    "src_addr": "started_at",
}
"""Sort keys of v1.0 rows, and the columns that they sort by."""

CALL_LIST_ORDERS: Final[Mapping[str, str]] = {
    "uid": "started_at",  # A uid begins with the second of the call's start.
    "time": "started_at",
    "call_type": "type",
    "last_status": "status",
    "call_duration": "call_duration",
    "routing_duration": "wait_duration",
    "handling_duration": "talk_duration",
}

STATUSES: Final = ("ANSWERED", "NO ANSWER", "BUSY", "FAILED", "VOICEMAIL")
CALL_STATUSES: Final = (*STATUSES, "ABANDONED")

LIST_ITEMS_MAX: Final = 50
"""DIDs or queues in one request."""

FILE_PREFIX: Final = "cdr"

_LEG_FILTERS: Final = ("start_time", "end_time", "status", "pin_code", "did", "call_from", "call_to")
_CALL_FILTERS: Final = ("time_begin", "time_end", "last_status", "queue_list", "call_from", "call_to")
"""What the searches of v1.0 and v2.0 read."""

_FUZZY_CHOICES: Final = {"0": "", "1": "fuzzy", "false": "", "true": "fuzzy"}

ListingT = TypeVar("ListingT", bound=Listing)


async def list_rows(state: ApiState, request: ApiRequest) -> bytes:
    """Handle `cdr/list` of v1.0: return all rows, sorted as requested."""
    partition = request.choice("from", {"new": "new", "legacy": "legacy"}, "new")
    request.reject_filters_except("from", "pin_code")
    offset, limit = request.page()
    listing = RecordListing(
        sns=request.owner.pbxs,
        pin_code=request.text("pin_code"),
        order_by=request.choice("sort_by", LIST_ORDERS, "started_at"),
        is_descending=request.is_descending(),
        offset=offset,
        limit=limit,
    )
    # Older firmware stores the rows from before its new CDR module in a separate partition, which is empty here.
    return await encode_record_rows(
        request, await state.calls.list_records(listing) if partition == "new" else _NO_RECORDS
    )


async def search_rows(state: ApiState, request: ApiRequest) -> bytes:
    """Handle `cdr/search` of v1.0: return the rows that match, the earliest first."""
    listing = parse_record_search(request)
    return await encode_record_rows(
        request, _NO_RECORDS if listing is None else await state.calls.list_records(listing)
    )


def parse_record_search(request: ApiRequest) -> RecordListing | None:
    """Return the listing of a `cdr/search`, or None when nothing can match. Raises `ApiRequestError`."""
    request.reject_filters_except(*_LEG_FILTERS)
    window = request.window("start_time", "end_time")
    offset, limit = request.page()
    listing = RecordListing(
        filter=RecordFilter(status=_status(request, "status", STATUSES)),
        sns=request.owner.pbxs,
        pin_code=request.text("pin_code"),
        dids=_dids(request),
        order_by=request.choice("sort_by", LIST_ORDERS, "started_at"),
        is_descending=request.is_descending(),
        offset=offset,
        limit=limit,
    )
    return restrict_to_window(_with_parties(listing, request), window)


async def download_rows(state: ApiState, request: ApiRequest) -> ApiResponse:
    """Handle `cdr/download` of v1.0: prepare the rows of a search as a file, which the app then fetches under its
    `download_resource_url`, with a token of the same app.
    """
    listing = parse_record_search(request)
    result = _NO_RECORDS if listing is None else await state.calls.list_records(listing)
    rows = (format_csv_row(record, request.display) for record in result.data)
    return _prepare_download(state, request, await format_csv(CSV_COLUMNS, rows))


def _prepare_download(state: ApiState, request: ApiRequest, content: bytes) -> ApiResponse:
    file = state.downloads.add(request.owner, FILE_PREFIX, content, state.clock.microseconds())
    return success_response(file=file.name, download_resource_url=f"{PATH}{file.name}")


async def list_calls(state: ApiState, request: ApiRequest) -> bytes:
    """Handle `cdr/list` of v2.0: return one row per call."""
    request.reject_filters_except("queue_list")
    listing = await _with_queues(state, request, _call_listing(request, RecordFilter()))
    return await encode_call_rows(state, request, await state.calls.list_calls(listing))


async def search_calls(state: ApiState, request: ApiRequest) -> bytes:
    """Handle `cdr/search` of v2.0: return the calls that match."""
    return await encode_call_rows(state, request, await _find_calls(state, request))


async def download_calls(state: ApiState, request: ApiRequest) -> ApiResponse:
    """Handle `cdr/download` of v2.0, as `download_rows`: the file has one row per call."""
    calls = (await _find_calls(state, request)).data
    plans = await _number_plans(state, calls)
    rows = (format_call_csv_row(call, request.display, plans[call.sn]) for call in calls)
    return _prepare_download(state, request, await format_csv(CALL_CSV_COLUMNS, rows))


async def _find_calls(state: ApiState, request: ApiRequest) -> CallListResult:
    """Return the calls that a search in v2.0 matches. Raises `ApiRequestError` for a filter that would be ignored."""
    request.reject_filters_except(*_CALL_FILTERS)
    record_filter = RecordFilter(status=_status(request, "last_status", CALL_STATUSES))
    call_listing = await _with_queues(state, request, _call_listing(request, record_filter))
    listing = restrict_to_window(_with_parties(call_listing, request), request.window("time_begin", "time_end"))
    return _NO_CALLS if listing is None else await state.calls.list_calls(listing)


async def read_detail(state: ApiState, request: ApiRequest) -> ApiResponse:
    """Handle `cdr/detail` of v2.0: return one call with its legs."""
    uid = request.text("uid")
    if uid is None:
        raise parameter_error("uid", "is required")
    call = await state.calls.find_call_by_uid(uid, request.owner.pbxs)
    if call is None:
        raise ApiRequestError(DATA_NOT_FOUND)
    return success_response(data=format_call_detail(call, request.display, await state.calls.number_plan(call.sn)))


async def encode_record_rows(request: ApiRequest, result: RecordListResult) -> bytes:
    """Return the rows as a response, encoded in a thread, because ten thousand of them take a tenth of a second."""
    display = request.display
    return await asyncio.to_thread(
        lambda: encode(
            success_response(
                total_number=result.total, data=[format_leg_row(record, display) for record in result.data]
            )
        )
    )


async def encode_call_rows(state: ApiState, request: ApiRequest, result: CallListResult) -> bytes:
    """Return the calls as a response, like `encode_record_rows`."""
    display = request.display
    number_plans = await _number_plans(state, result.data)
    return await asyncio.to_thread(
        lambda: encode(
            success_response(
                total_number=result.total,
                data=[format_call_row(call, display, number_plans[call.sn]) for call in result.data],
            )
        )
    )


async def _number_plans(state: ApiState, calls: Sequence[Call]) -> Mapping[str, NumberPlan]:
    """Return the number plans of the PBXs of these calls."""
    return {sn: await state.calls.number_plan(sn) for sn in {call.sn for call in calls}}


def encode(response: ApiResponse) -> bytes:
    """Return the bytes of a response."""
    return msgspec.json.encode(response)


def restrict_to_window(listing: ListingT, window: QueryWindow) -> ListingT | None:
    """Return the listing restricted to a window of time, or None when the window is empty."""
    if window.is_empty:
        return None
    record_filter = msgspec.structs.replace(listing.filter, since=_utc(window.since), until=_utc(window.until))
    changes: dict[str, Any] = {"local_since": window.local_since, "local_until": window.local_until}
    return msgspec.structs.replace(listing, filter=record_filter, **changes)


def _with_parties(listing: ListingT, request: ApiRequest) -> ListingT:
    """Return the listing with the filters on caller and callee: whole numbers, or parts of them."""
    call_from, call_to = request.text("call_from"), request.text("call_to")
    if request.choice("enable_fuzzy_search", _FUZZY_CHOICES, ""):
        return msgspec.structs.replace(listing, from_part=call_from or "", to_part=call_to or "")
    record_filter = msgspec.structs.replace(listing.filter, call_from=call_from, call_to=call_to)
    return msgspec.structs.replace(listing, filter=record_filter)


async def _with_queues(state: ApiState, request: ApiRequest, listing: CallListing) -> CallListing:
    """Return the listing with the queues of the request, named by id or number."""
    numbers = await resolve_numbers(state, request, KINDS["queue"], _list_items(request, "queue_list"))
    return msgspec.structs.replace(listing, queues=tuple(numbers))


def _call_listing(request: ApiRequest, record_filter: RecordFilter) -> CallListing:
    offset, limit = request.page()
    return CallListing(
        filter=record_filter,
        sns=request.owner.pbxs,
        order_by=request.choice("sort_by", CALL_LIST_ORDERS, "started_at"),
        is_descending=request.is_descending(),
        offset=offset,
        limit=limit,
    )


def _status(request: ApiRequest, name: str, choices: tuple[str, ...]) -> str | None:
    """Return one or several statuses in the form of filters; a `!` has no meaning here. Raises `ApiRequestError`."""
    words = _list_items(request, name)
    for word in words:
        if fold_word(word) not in {fold_word(choice) for choice in choices}:
            raise parameter_error(name, f"one of {', '.join(choices)}")
    return ",".join(words) or None


def _dids(request: ApiRequest) -> tuple[tuple[str, str], ...]:
    """Return `{number or name}:{trunk}` of each DID; a name may contain a colon, a trunk cannot."""
    pairs = (did.rpartition(":") if ":" in did else (did, "", "") for did in _list_items(request, "did"))
    return tuple((did.strip(), trunk.strip()) for did, _, trunk in pairs)


def _list_items(request: ApiRequest, name: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in (request.text(name) or "").split(",") if word.strip())
    if len(words) > LIST_ITEMS_MAX:
        raise parameter_error(name, f"at most {LIST_ITEMS_MAX} at once")
    return words


def _utc(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


_NO_RECORDS: Final = RecordListResult(0, [])
_NO_CALLS: Final = CallListResult(0, [])
