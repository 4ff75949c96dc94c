"""Read the PBX's own call list, in whichever form its firmware supports (yeastar-p-series.md 7).

Invariants: time windows are so small that each fits on one page, so paging cannot lose a row while others arrive or are
deleted. A response without rows is trusted only if the same kind of query finds a call known to exist. The PBX's count
and its rows are compared; a difference that persists is reported.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from onhook.lib.errors import OnhookError, Unavailable
from onhook.lib.messages import _
from onhook.pbx.client import (
    CallIdRequest,
    ListingPage,
    ListingReply,
    ListingResult,
    ListingSteps,
    PbxRequest,
    PbxResponse,
    SystemFacts,
    TimeWindow,
)
from onhook.pbx.yeastar.answers import API_PATH, API_V2_PATH
from onhook.pbx.yeastar.rows import RowContext, parse_start_seconds, wrap_row

PAGE_ROWS_MAX = 10_000
"""Rows per page: the limit of the PBX (yeastar-p-series.md 7.2)."""

ATTEMPTS_MAX = 3
"""Number of reads of a window whose count and rows differ: calls end meanwhile."""

WALK_PAGES_MAX = 10_000
"""Pages of the whole list: more than any PBX stores."""

DISPLAY_MARGIN_SECONDS = 3600
"""Margin around a window queried by wall clock: the clock may have been moved forward or back since."""

OVERLAP_SECONDS = 1
"""Overlap of windows: no document says whether their ends are included."""

QueryForm = Literal["seconds", "display", "walk", "v2"]
"""The query form of the firmware: Unix seconds, display format, page by page without a window, or API v2.0."""

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall clocks are compared without a zone

RowPageSteps = Generator[PbxRequest | CallIdRequest | ListingPage, ListingReply, "_RowPage"]
ProbeSteps = Generator[PbxRequest | CallIdRequest | ListingPage, ListingReply, QueryForm]


class _RowPage(msgspec.Struct, frozen=True):
    """One response with rows: the number that the PBX counts for the query, and the listed rows as bytes."""

    total: int
    rows: Sequence[bytes]


class _Body(msgspec.Struct, frozen=True):
    total_number: int | None = None
    data: list[msgspec.Raw] | None = None


class ListingSource(msgspec.Struct, frozen=True, kw_only=True):
    """The PBX whose list is read, and the facts needed to parse it."""

    sn: str
    facts: SystemFacts
    rows_max: int = PAGE_ROWS_MAX


def list_calls(source: ListingSource, window: TimeWindow) -> ListingSteps:
    """Read all calls that began in a window; see `pbx.client.PbxClient.list_calls`."""
    form = yield from _probe_form(source, window)
    if form == "walk":
        return (yield from _list_by_pages(source, window))
    if form in ("display", "v2"):
        window = TimeWindow(since=window.since - DISPLAY_MARGIN_SECONDS, until=window.until + DISPLAY_MARGIN_SECONDS)
    return (yield from _list_by_windows(source, window, form))


def count_calls(
    source: ListingSource, window: TimeWindow
) -> Generator[PbxRequest | CallIdRequest | ListingPage, ListingReply, int | None]:
    """Return the number of rows that the PBX counts in a window; None if the firmware cannot count rows of a window."""
    form = yield from _probe_form(source, window)
    if form in ("walk", "v2"):
        return None
    return (yield from _fetch_rows(_search_request(source, window, form, 1))).total


# Query form of the firmware.


def _probe_form(source: ListingSource, window: TimeWindow) -> ProbeSteps:
    """Return the query form: seconds if they are accepted and give true results, else display format, else whole list;
    v2.0 where v1.0 is missing.
    """
    response = yield from _send_request(_search_request(source, window, "seconds", 1))
    if response.error_kind == "unsupported":
        return "v2"
    if response.error_kind is None and _parse_row_page(response).total:
        return "seconds"
    if response.error_kind not in (None, "invalid_parameter"):
        raise _listing_error(response)
    newest_rows = (yield from _fetch_rows(_list_request(1, 1))).rows
    if not newest_rows:
        return "walk" if response.error_kind else "seconds"  # The list contains no call.
    newest_start = parse_start_seconds(_decode_row(newest_rows[0]), source.facts)
    if newest_start is None:
        return "walk"  # No query form can be tested.
    for form in ("seconds", "display"):
        if (yield from _form_finds_call(source, newest_start, form)):
            return form
    return "walk"


def _form_finds_call(
    source: ListingSource, call_start: int, form: QueryForm
) -> Generator[PbxRequest | CallIdRequest | ListingPage, ListingReply, bool]:
    """Return whether a query in this form finds a call that is known to exist."""
    if form == "display" and not source.facts.date_format:
        return False
    window = TimeWindow(since=call_start - OVERLAP_SECONDS, until=call_start + 2 * OVERLAP_SECONDS)
    response = yield from _send_request(_search_request(source, window, form, 1))
    if response.error_kind == "invalid_parameter":
        return False
    if response.error_kind is not None:
        raise _listing_error(response)
    return _parse_row_page(response).total > 0


# Reading by windows.


def _list_by_windows(source: ListingSource, window: TimeWindow, form: QueryForm) -> ListingSteps:
    """Read window after window, each as long as one page holds."""
    position, row_count, pbx_count, problems = window.since, 0, 0, []
    total = (yield from _fetch_rows(_search_request(source, window, form, 1))).total
    span = _next_span(window.until - position, total, source.rows_max)
    while position < window.until:
        part_window = TimeWindow(since=position, until=min(position + span, window.until))
        row_page = yield from _fetch_rows(_search_request(source, part_window, form, source.rows_max))
        if row_page.total > source.rows_max and span > OVERLAP_SECONDS:
            span = _next_span(span, row_page.total, source.rows_max)
            continue
        row_page = yield from _fetch_all_rows(source, part_window, form, row_page)
        if len(row_page.rows) < row_page.total:
            problems.append(
                _(
                    "the PBX counts {total} calls and lists {listed_count} from {start}",
                    total=row_page.total,
                    listed_count=len(row_page.rows),
                    start=_format_utc(part_window.since),
                )
            )
        row_count, pbx_count = row_count + len(row_page.rows), pbx_count + row_page.total
        yield ListingPage(
            rows=(yield from _wrap_rows(source, part_window, form, row_page.rows)), done_until=part_window.until
        )
        position = (
            part_window.until
            if part_window.until >= window.until
            else max(position + OVERLAP_SECONDS, part_window.until - OVERLAP_SECONDS)
        )
        span = _next_span(span, row_page.total, source.rows_max)
    return ListingResult(row_count=row_count, pbx_count=pbx_count, incomplete_reason="; ".join(problems[:ATTEMPTS_MAX]))


def _fetch_all_rows(
    source: ListingSource, part_window: TimeWindow, form: QueryForm, row_page: _RowPage
) -> RowPageSteps:
    """Return all rows of a window: read further pages if one second has too many, and read again if some
    are missing.
    """
    rows = yield from _add_further_pages(source, part_window, form, row_page)
    for _unused in range(ATTEMPTS_MAX - 1):
        if len(rows) >= row_page.total:
            break
        row_page = yield from _fetch_rows(_search_request(source, part_window, form, source.rows_max))
        rows = yield from _add_further_pages(source, part_window, form, row_page)
    return _RowPage(row_page.total, rows)


def _add_further_pages(
    source: ListingSource, part_window: TimeWindow, form: QueryForm, first_page: _RowPage
) -> Generator[PbxRequest | CallIdRequest | ListingPage, ListingReply, list[bytes]]:
    """Return the rows of a page and of those that follow it, up to the number that the PBX counts."""
    rows, page_size = list(first_page.rows), len(first_page.rows)
    while rows and len(rows) < first_page.total:
        next_page = yield from _fetch_rows(
            _search_request(source, part_window, form, page_size, len(rows) // page_size + 1)
        )
        rows += next_page.rows
        if len(next_page.rows) < page_size:
            break
    return rows


def _next_span(span: int, total: int, rows_max: int) -> int:
    """Return the length of the next window, so that it fills about half a page.

    >>> _next_span(86_400, 200_000, 10_000), _next_span(3_600, 0, 10_000), _next_span(3_600, 5_000, 10_000)
    (2160, 28800, 3600)
    """
    if not total:
        return span * 8
    return max(OVERLAP_SECONDS, min(span * 8, span * rows_max // (2 * total)))


def _wrap_rows(
    source: ListingSource, part_window: TimeWindow, form: QueryForm, rows: Sequence[bytes]
) -> Generator[PbxRequest | CallIdRequest | ListingPage, ListingReply, list[bytes]]:
    """Wrap rows for the ledger; rows of v2.0 with their detail and call id."""
    context = RowContext(sn=source.sn, date_format=source.facts.date_format)
    if form != "v2":
        return [wrap_row(row, context) for row in rows]
    uids = [str(_decode_row(row).get("uid", "")) for row in rows]
    call_ids = yield CallIdRequest(uids=[uid for uid in uids if uid], window=part_window)
    assert isinstance(call_ids, Mapping)
    wrapped_rows = []
    for row, uid in zip(rows, uids, strict=True):
        detail = (yield from _fetch_detail(uid)) if uid else b""
        wrapped_rows.append(wrap_row(row, msgspec.structs.replace(context, call_id=call_ids.get(uid, "")), detail))
    return wrapped_rows


def _fetch_detail(uid: str) -> Generator[PbxRequest | CallIdRequest | ListingPage, ListingReply, bytes]:
    response = yield from _send_request(PbxRequest(path=f"{API_V2_PATH}cdr/detail", query={"uid": uid}))
    if response.error_kind is not None:
        raise _listing_error(response)
    detail = response.members.get("data")
    return msgspec.json.encode(detail) if isinstance(detail, dict) else b""


# Reading the whole list.


def _list_by_pages(source: ListingSource, window: TimeWindow) -> ListingSteps:
    """Read from the newest call backwards to the start of the window; read again if rows were deleted meanwhile."""
    row_count = 0
    for _unused in range(ATTEMPTS_MAX):
        row_count, first_total, last_total, page_size = 0, 0, 0, source.rows_max
        for page in range(1, WALK_PAGES_MAX + 1):
            row_page = yield from _fetch_rows(_list_request(page, page_size))
            last_total = row_page.total
            if page == 1:
                first_total = row_page.total
                if 0 < len(row_page.rows) < row_page.total:
                    page_size = len(row_page.rows)  # The PBX may list fewer rows per page than requested.
            start_times = [parse_start_seconds(_decode_row(row), source.facts) for row in row_page.rows]
            rows_in_window = [
                row
                for row, start_time in zip(row_page.rows, start_times, strict=True)
                if start_time is None or window.since <= start_time < window.until
            ]
            row_count += len(rows_in_window)
            context = RowContext(sn=source.sn, date_format=source.facts.date_format)
            yield ListingPage(rows=[wrap_row(row, context) for row in rows_in_window], done_until=window.since)
            if len(row_page.rows) < page_size or _is_before_window(start_times, window.since):
                break
        else:
            return ListingResult(
                row_count=row_count,
                pbx_count=row_count,
                incomplete_reason=_("the PBX's call list has more than {pages} pages", pages=WALK_PAGES_MAX),
            )
        if last_total >= first_total:
            return ListingResult(row_count=row_count, pbx_count=row_count)
    return ListingResult(
        row_count=row_count,
        pbx_count=row_count,
        incomplete_reason=_("rows were deleted from the PBX's call list while it was read"),
    )


def _is_before_window(start_times: Iterable[int | None], since: int) -> bool:
    """Return whether all following rows are older than the window."""
    known_times = [start_time for start_time in start_times if start_time is not None]
    return bool(known_times) and min(known_times) < since


# Requests and responses.


def _send_request(
    request: PbxRequest,
) -> Generator[PbxRequest | CallIdRequest | ListingPage, ListingReply, PbxResponse]:
    response = yield request
    assert isinstance(response, PbxResponse), "the caller sent no response"
    return response


def _fetch_rows(request: PbxRequest) -> RowPageSteps:
    """Return the rows of the response. Raises `OnhookError` for an error response."""
    response = yield from _send_request(request)
    if response.error_kind is not None:
        raise _listing_error(response)
    return _parse_row_page(response)


def _parse_row_page(response: PbxResponse) -> _RowPage:
    try:
        body = msgspec.json.decode(response.body, type=_Body)
    except msgspec.DecodeError as error:
        raise Unavailable(
            _("could not parse the PBX's call list: {error}", error=error), hint=_("Onhook retries later")
        ) from error
    rows = [bytes(row) for row in body.data or ()]
    return _RowPage(len(rows) if body.total_number is None else body.total_number, rows)


def _listing_error(response: PbxResponse) -> OnhookError:
    if response.error_kind in ("temporary", "token_expired", "invalid_response", "too_many_tokens"):
        return Unavailable(
            _("the PBX's call list is temporarily unavailable: {error}", error=response.error_text),
            hint=_("Onhook retries later"),
        )
    return OnhookError(
        _("could not read the PBX's call list: {error}", error=response.error_text),
        hint=_("run `onhook doctor` with the PBX's name"),
    )


def _search_request(
    source: ListingSource, window: TimeWindow, form: QueryForm, page_size: int, page: int = 1
) -> PbxRequest:
    query = {"page": str(page), "page_size": str(page_size)}
    if form == "seconds":
        query |= {"start_time": str(window.since), "end_time": str(window.until)}
        return PbxRequest(path=f"{API_PATH}cdr/search", query=query)
    since, until = (format_display_time(seconds, source.facts) for seconds in (window.since, window.until))
    if form == "display":
        return PbxRequest(path=f"{API_PATH}cdr/search", query=query | {"start_time": since, "end_time": until})
    return PbxRequest(path=f"{API_V2_PATH}cdr/search", query=query | {"time_begin": since, "time_end": until})


def _list_request(page: int, page_size: int) -> PbxRequest:
    query = {"page": str(page), "page_size": str(page_size), "sort_by": "time", "order_by": "desc"}
    return PbxRequest(path=f"{API_PATH}cdr/list", query=query)


def format_display_time(seconds: int, facts: SystemFacts) -> str:
    """Format a time as this PBX displays it.

    >>> format_display_time(1782844637, SystemFacts(date_format="DD/MM/YYYY", time_format="12", offset_seconds=10800))
    '30/06/2026 09:37:17 PM'
    """
    local = _EPOCH + timedelta(seconds=seconds + (facts.offset_seconds or 0))
    date_text = facts.date_format.upper() or "YYYY/MM/DD"
    date_text = (
        date_text.replace("YYYY", f"{local.year:04}")
        .replace("MM", f"{local.month:02}")
        .replace("DD", f"{local.day:02}")
    )
    is_12_hour = "12" in facts.time_format or "A" in facts.time_format.upper()
    return f"{date_text} {local:%I:%M:%S %p}" if is_12_hour else f"{date_text} {local:%H:%M:%S}"


def _decode_row(row: bytes) -> Mapping[str, Any]:
    try:
        return msgspec.json.decode(row, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


def _format_utc(seconds: int) -> str:
    return f"{_EPOCH + timedelta(seconds=seconds)} UTC"
