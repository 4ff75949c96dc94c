"""`cdr/list`, `cdr/search` and `cdr/detail`: the calls as rows (PROTOCOL.md 7)."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec

from onhook.cdr.call_details import fold_word
from onhook.cdr.record_filter import RecordFilter
from onhook.pbx.yeastar.rest import detail_of_call, row_of_call, row_of_leg
from onhook.pbx_api.codes import DATA_NOT_FOUND, ApiRequestError, ApiResponse, parameter_error, success_response
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
    # Nobody ever told us these, so all rows are equal in them.
    "dod_number": "started_at",
    "src_addr": "started_at",
}
"""What v1.0 rows can be sorted by, and what that is to us."""

CALL_LIST_ORDERS: Final[Mapping[str, str]] = {
    "uid": "started_at",  # a uid begins with the second of the call's start
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
"""DIDs or queues in one question."""

_UNSUPPORTED_PARAMETERS: Final = ("extension_group", "disposition_code_list", "call_note_remark")

ListingT = TypeVar("ListingT", bound=Listing)


async def list_rows(rooms: ApiState, asked: ApiRequest) -> bytes:
    """`cdr/list` of v1.0: all rows, sorted as asked for."""
    partition = asked.one_of("from", {"new": "new", "legacy": "legacy"}, "new")
    asked.without(*_UNSUPPORTED_PARAMETERS)
    offset, limit = asked.page()
    listing = RecordListing(
        sns=asked.owner.pbxs,
        pin_code=asked.text("pin_code"),
        order_by=asked.one_of("sort_by", LIST_ORDERS, "started_at"),
        is_descending=asked.is_descending(),
        offset=offset,
        limit=limit,
    )
    # What firmware before the rework of the CDR module wrote is in a partition of its own; here is none of it.
    return await encode_record_rows(
        asked, await rooms.calls.listed_records(listing) if partition == "new" else _NO_RECORDS
    )


async def search_rows(rooms: ApiState, asked: ApiRequest) -> bytes:
    """`cdr/search` of v1.0: rows that match, the earliest first."""
    listing = parse_record_search(asked)
    return await encode_record_rows(
        asked, _NO_RECORDS if listing is None else await rooms.calls.listed_records(listing)
    )


def parse_record_search(asked: ApiRequest) -> RecordListing | None:
    """What `cdr/search` asks for; None where nothing can be found. Raises `Refused`."""
    asked.without(*_UNSUPPORTED_PARAMETERS)
    window = asked.window("start_time", "end_time")
    offset, limit = asked.page()
    record_filter = RecordFilter(
        call_from=asked.text("call_from"),
        call_to=asked.text("call_to"),
        status=_status(asked, "status", STATUSES),
    )
    listing = RecordListing(
        where=record_filter,
        sns=asked.owner.pbxs,
        pin_code=asked.text("pin_code"),
        dids=_dids(asked),
        order_by=asked.one_of("sort_by", LIST_ORDERS, "started_at"),
        is_descending=asked.is_descending(),
        offset=offset,
        limit=limit,
    )
    return restrict_to_window(listing, window)


async def list_calls(rooms: ApiState, asked: ApiRequest) -> bytes:
    """`cdr/list` of v2.0: a row per call."""
    return await encode_call_rows(rooms, asked, await rooms.calls.listed_calls(_call_listing(asked, RecordFilter())))


async def search_calls(rooms: ApiState, asked: ApiRequest) -> bytes:
    """`cdr/search` of v2.0."""
    record_filter = RecordFilter(status=_status(asked, "last_status", CALL_STATUSES))
    listing = restrict_to_window(_call_listing(asked, record_filter), asked.window("time_begin", "time_end"))
    return await encode_call_rows(
        rooms, asked, _NO_CALLS if listing is None else await rooms.calls.listed_calls(listing)
    )


async def read_detail(rooms: ApiState, asked: ApiRequest) -> ApiResponse:
    """`cdr/detail` of v2.0: one call with its legs."""
    uid = asked.text("uid")
    if uid is None:
        raise parameter_error("uid", "is required")
    call = await rooms.calls.call_with_uid(uid, asked.owner.pbxs)
    if call is None:
        raise ApiRequestError(DATA_NOT_FOUND)
    return success_response(data=detail_of_call(call, asked.display, rooms.calls.plan_of(call.sn)))


async def encode_record_rows(asked: ApiRequest, found: RecordListResult) -> bytes:
    """The rows as an answer; written in a thread, for ten thousand of them take a tenth of a second."""
    display = asked.display
    return await asyncio.to_thread(
        lambda: encode(
            success_response(total_number=found.total, data=[row_of_leg(record, display) for record in found.data])
        )
    )


async def encode_call_rows(rooms: ApiState, asked: ApiRequest, found: CallListResult) -> bytes:
    """The same for calls."""
    display = asked.display
    number_plans = {sn: rooms.calls.plan_of(sn) for sn in {call.sn for call in found.data}}
    return await asyncio.to_thread(
        lambda: encode(
            success_response(
                total_number=found.total,
                data=[row_of_call(call, display, number_plans[call.sn]) for call in found.data],
            )
        )
    )


def encode(answer: ApiResponse) -> bytes:
    """An answer as it is sent."""
    return msgspec.json.encode(answer)


def restrict_to_window(listing: ListingT, window: QueryWindow) -> ListingT | None:
    """What is asked for, of that stretch of time; None where that is empty."""
    if window.is_empty:
        return None
    record_filter = msgspec.structs.replace(listing.where, since=_utc(window.since), until=_utc(window.until))
    changes: dict[str, Any] = {"local_since": window.local_since, "local_until": window.local_until}
    return msgspec.structs.replace(listing, where=record_filter, **changes)


def _call_listing(asked: ApiRequest, where: RecordFilter) -> CallListing:
    offset, limit = asked.page()
    return CallListing(
        where=where,
        sns=asked.owner.pbxs,
        queues=_list_items(asked, "queue_list"),
        order_by=asked.one_of("sort_by", CALL_LIST_ORDERS, "started_at"),
        is_descending=asked.is_descending(),
        offset=offset,
        limit=limit,
    )


def _status(asked: ApiRequest, name: str, known: tuple[str, ...]) -> str | None:
    """One status or several, as filters have them; so that a `!` means nothing here. Raises `Refused`."""
    words = _list_items(asked, name)
    for word in words:
        if fold_word(word) not in {fold_word(choice) for choice in known}:
            raise parameter_error(name, f"one of {', '.join(known)}")
    return ",".join(words) or None


def _dids(asked: ApiRequest) -> tuple[tuple[str, str], ...]:
    """`{number or name}:{trunk}` of each DID; a name may hold a colon, a trunk not."""
    pairs = (did.rpartition(":") if ":" in did else (did, "", "") for did in _list_items(asked, "did"))
    return tuple((did.strip(), trunk.strip()) for did, _, trunk in pairs)


def _list_items(asked: ApiRequest, name: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in (asked.text(name) or "").split(",") if word.strip())
    if len(words) > LIST_ITEMS_MAX:
        raise parameter_error(name, f"at most {LIST_ITEMS_MAX} at once")
    return words


def _utc(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


_NO_RECORDS: Final = RecordListResult(0, [])
_NO_CALLS: Final = CallListResult(0, [])
