"""`call_report/list`: the reports that can be computed from call details."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, TypeVar

import msgspec

from onhook.cdr.access_scope import AccessScope
from onhook.cdr.call_details import fold_word
from onhook.cdr.identity import extract_name, extract_number
from onhook.cdr.number_plan import LegKind
from onhook.cdr.record import Call, Record
from onhook.cdr.record_filter import RecordFilter
from onhook.pbx.yeastar.rest import parse_utc_offset, row_id
from onhook.pbx_api.codes import (
    MAX_LIMITATION_EXCEEDED,
    ApiRequestError,
    ApiResponse,
    parameter_error,
    success_response,
)
from onhook.pbx_api.directory import KINDS, resolve_numbers
from onhook.pbx_api.request import ApiRequest
from onhook.pbx_api.state import ApiState
from onhook.store.contract import LISTING_ROWS_MAX, PAGE_MAX, CallListing, MissedCall, RecordListing

UNRETURNED: Final = 2
"""The API's number for a missed call that was not returned."""

REPORT_ITEMS_MAX: Final = 50
"""Extensions or queues in one report; each is a query."""

REPORT_ROWS_MAX: Final = 50_000
"""Calls of one extension or queue that a report counts; a longer period is an error, not a smaller number."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

MISSED_TYPES: Final[Mapping[str, str]] = {"NO ANSWER": "no_answer", "BUSY": "busy", "ABANDONED": "abandoned"}
CALLEE_TYPES: Final[Mapping[LegKind, str]] = {
    "extension": "Extension",
    "queue": "Queue",
    "ivr": "IVR",
    "ring_group": "RingGroup",
    "conference": "Conference",
    "voicemail": "Voicemail",
}

RowT = TypeVar("RowT")
RowT_co = TypeVar("RowT_co", covariant=True)
ListingT = TypeVar("ListingT", RecordListing, CallListing)


class _Page(Protocol[RowT_co]):
    """Some rows of a listing, of so many."""

    @property
    def total(self) -> int: ...

    @property
    def data(self) -> Sequence[RowT_co]: ...


ReportHandler = Callable[[ApiState, ApiRequest, RecordFilter], Awaitable[ApiResponse]]


async def list_report(state: ApiState, request: ApiRequest) -> ApiResponse:
    """Handle `call_report/list`. Raises `ApiRequestError` for a type that call details do not answer."""
    report_type = request.text("type")
    if report_type is None or report_type not in REPORTS:
        raise parameter_error("type", f"one of {', '.join(REPORTS)}: call details answer no other")
    request.reject_filters_except("start_time", "end_time", REPORT_FILTERS[report_type])
    return await REPORTS[report_type](state, request, await _filter(state, request))


async def list_unreturned_calls(state: ApiState, request: ApiRequest, record_filter: RecordFilter) -> ApiResponse:
    """Return the missed calls from outside that no later call has returned, the latest first, at most PAGE_MAX of
    `total_number`. Raises `ApiRequestError` with 60002 where there are too many to find those of one type.
    """
    missed_type = request.choice("miss_call_type", {kind: kind for kind in MISSED_TYPES.values()}, "")
    inbound_filter = msgspec.structs.replace(record_filter, type="Inbound")
    missed = await state.calls.missed_calls(inbound_filter, PAGE_MAX)
    if missed_type and missed.unreturned > len(missed.data):
        raise ApiRequestError(MAX_LIMITATION_EXCEEDED)
    calls = [call for call in missed.data if not missed_type or _missed_type(call.status) == missed_type]
    rows = [await _unreturned_row(state, request, call) for call in calls]
    total = len(rows) if missed_type else missed.unreturned
    return success_response(total_number=total, unreturn_miss_call_list=rows)


async def count_extension_calls(state: ApiState, request: ApiRequest, record_filter: RecordFilter) -> ApiResponse:
    """Return the number of legs by outcome for each extension of `ext_id_list`. Raises `ApiRequestError` with 60002
    where there are too many.
    """
    numbers = await resolve_numbers(state, request, KINDS["extension"], _items(request, "ext_id_list"))
    rows = []
    for number in numbers:
        listing = RecordListing(
            filter=msgspec.structs.replace(record_filter, number=number), sns=request.owner.pbxs, limit=LISTING_ROWS_MAX
        )
        records = await _read_all(state.calls.list_records, listing)
        rows.append(await asyncio.to_thread(_extension_row, number, records))
    return success_response(total_number=len(rows), ext_call_statistics_list=rows)


async def count_queue_calls(state: ApiState, request: ApiRequest, record_filter: RecordFilter) -> ApiResponse:
    """Return the calls to each queue of `queue_id_list`: how many, how they ended, and their waits in seconds. Raises
    `ApiRequestError` with 60002 where there are too many.
    """
    numbers = await resolve_numbers(state, request, KINDS["queue"], _items(request, "queue_id_list"))
    rows = []
    for number in numbers:
        listing = CallListing(filter=record_filter, sns=request.owner.pbxs, queues=(number,), limit=LISTING_ROWS_MAX)
        calls = await _read_all(state.calls.list_calls, listing)
        rows.append(await asyncio.to_thread(_queue_row, number, calls))
    return success_response(total_number=len(rows), queue_performance_list=rows)


REPORTS: Final[Mapping[str, ReportHandler]] = {
    "unreturnmisscall": list_unreturned_calls,
    "extcallstatistics": count_extension_calls,
    "queueperformance": count_queue_calls,
}

REPORT_FILTERS: Final[Mapping[str, str]] = {
    "unreturnmisscall": "miss_call_type",
    "extcallstatistics": "ext_id_list",
    "queueperformance": "queue_id_list",
}
"""What each report reads beside the time."""


async def _filter(state: ApiState, request: ApiRequest) -> RecordFilter:
    """Return the filter for the requested time and the PBXs of the app. Raises `ApiRequestError`."""
    window = request.window("start_time", "end_time")
    offset = await state.calls.utc_offset(request.received_at, request.owner.pbxs)
    return RecordFilter(
        since=_utc(window.since, window.local_since, offset),
        until=_EPOCH if window.is_empty else _utc(window.until, window.local_until, offset),
        scope=AccessScope(sns=request.owner.pbxs) if request.owner.pbxs else None,
    )


async def _unreturned_row(state: ApiState, request: ApiRequest, missed_call: MissedCall) -> Mapping[str, Any]:
    """Return the row of a missed call, from its first leg."""
    listing = CallListing(
        filter=RecordFilter(sn=missed_call.sn, call_id=missed_call.call_id), sns=(missed_call.sn,), limit=1
    )
    (call,) = (await state.calls.list_calls(listing)).data
    first = call.legs[0]
    local_start = first.started_at.replace(tzinfo=None) + parse_utc_offset(first.utc_offset)
    callee_kind = (await state.calls.number_plan(call.sn)).kind_of_leg(first)
    return {
        "id": row_id(first),
        "time": request.display.format(local_start),
        "call_from": first.call_from,
        "call_to": first.call_to,
        "ring_duration": call.wait_duration or 0,
        "call_to_type": CALLEE_TYPES.get(callee_kind, ""),
        "unreturn_status": UNRETURNED,
        "miss_call_type": _missed_type(call.status),
        "src": extract_number(first.call_from),
        "srcname": extract_name(first.call_from),
        "dst": extract_number(first.call_to),
        "dstname": extract_name(first.call_to),
        "call_type": call.type,
    }


async def _read_all(read_page: Callable[[ListingT], Awaitable[_Page[RowT]]], listing: ListingT) -> list[RowT]:
    """Return all rows of a listing, page by page. Raises `ApiRequestError` for more than a report counts."""
    rows: list[RowT] = []
    while True:
        page = await read_page(msgspec.structs.replace(listing, offset=len(rows)))
        if page.total > REPORT_ROWS_MAX:
            raise ApiRequestError(MAX_LIMITATION_EXCEEDED)
        rows += page.data
        if not page.data or len(rows) >= page.total:
            return rows


def _extension_row(number: str, records: Sequence[Record]) -> Mapping[str, Any]:
    """Return the figures of an extension."""
    statuses = [fold_word(record.status) for record in records]
    return {
        "ext_num": number,
        "ext_name": next((_name_of(number, record.call_from, record.call_to) for record in records), ""),
        "total_call_count": len(records),
        "answered_calls": statuses.count(fold_word("ANSWERED")),
        "no_answer_calls": statuses.count(fold_word("NO ANSWER")),
        "busy_calls": statuses.count(fold_word("BUSY")),
        "failed_calls": statuses.count(fold_word("FAILED")),
        "abandoned_calls": statuses.count(fold_word("ABANDONED")),
        "voicemail_calls": statuses.count(fold_word("VOICEMAIL")),
        "total_talking_time": sum(
            record.talk_duration or 0
            for record, status in zip(records, statuses, strict=True)
            if status == fold_word("ANSWERED")
        ),
    }


def _queue_row(number: str, calls: Sequence[Call]) -> Mapping[str, Any]:
    """Return the figures of a queue."""
    answered = [call for call in calls if call.answered_by]
    abandoned = [call for call in calls if fold_word(call.status) == fold_word("ABANDONED")]
    waits = [call.wait_duration or 0 for call in answered]
    talks = [call.talk_duration or 0 for call in answered]
    total = len(calls)
    name = next(
        (extract_name(leg.call_to) for call in calls for leg in call.legs if extract_number(leg.call_to) == number), ""
    )
    return {
        "queue": number,
        "queue_name": name,
        "total_calls": total,
        "answered_calls": len(answered),
        "missed_calls": total - len(answered) - len(abandoned),
        "abandoned_calls": len(abandoned),
        "average_waiting_time": _average(waits),
        "max_waiting_time": max(waits, default=0),
        "average_talking_time": _average(talks),
        "total_talking_time": sum(talks),
        "answered_rate": _rate(len(answered), total),
        "missed_rate": _rate(total - len(answered) - len(abandoned), total),
        "abandoned_rate": _rate(len(abandoned), total),
    }


def _utc(seconds: int | None, local_seconds: int | None, offset: timedelta) -> datetime | None:
    """Return a limit of the window, given in UTC or in the local time of the PBX."""
    if seconds is not None:
        return _EPOCH + timedelta(seconds=seconds)
    return None if local_seconds is None else _EPOCH + timedelta(seconds=local_seconds) - offset


def _missed_type(status: str) -> str:
    return next((name for word, name in MISSED_TYPES.items() if fold_word(word) == fold_word(status)), "no_answer")


def _name_of(number: str, *parties: str) -> str:
    return next((extract_name(party) for party in parties if extract_number(party) == number), "")


def _average(values: list[int]) -> int:
    return round(sum(values) / len(values)) if values else 0


def _rate(count: int, total: int) -> str:
    return f"{100 * count / total:.2f}%" if total else "0.00%"


def _items(request: ApiRequest, name: str) -> list[str]:
    """Return the ids of a required list. Raises `ApiRequestError`."""
    items = [item.strip() for item in (request.text(name) or "").split(",") if item.strip()]
    if not items or len(items) > REPORT_ITEMS_MAX:
        raise parameter_error(name, f"1 to {REPORT_ITEMS_MAX} ids, separated by commas")
    return items
