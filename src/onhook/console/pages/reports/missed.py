"""Reports of missed calls: unreturned ones, and returned ones with the call that returned them."""

from collections.abc import Awaitable, Callable

import msgspec

from onhook.cdr.record_filter import RecordFilter
from onhook.console.pages.formatting import call_url, count
from onhook.console.pages.reports.queues import describe_compared
from onhook.console.pages.reports.recent import cut_to_recent
from onhook.console.pages.reports.report import Cell, Column, Report, ReportQuery
from onhook.lib.messages import _, mark
from onhook.store.contract import NUMBER_SUFFIX_DIGITS, MissedCall, MissedCalls

LISTED_MAX = 500
"""The latest; a longer list is not worked through by hand."""

RECENT_DAYS = 31
"""A caller who was not called back within a month has called again, or another company."""


def missed_calls(*, is_returned: bool) -> Callable[[ReportQuery], Awaitable[Report]]:
    """Return the report of the returned ones, or of the others."""

    async def build(query: ReportQuery) -> Report:
        query, cut_note = await cut_to_recent(query, RECENT_DAYS)
        missed_filter = (
            query.search_filter
            if query.search_filter.type
            else msgspec.structs.replace(query.search_filter, type="inbound")
        )
        result = await query.store.missed_calls(missed_filter, LISTED_MAX, is_returned=is_returned)
        compared_note = await _describe_compared(query, missed_filter)
        rows = [_row(query, missed_call, is_returned=is_returned) for missed_call in result.data]
        returned_columns = [Column(mark("Returned"), "time"), Column(mark("By"), "text")] if is_returned else []
        return Report(
            columns=[
                *(
                    Column(mark("Missed"), "time"),
                    Column(mark("From"), "party"),
                    Column(mark("DID"), "text"),
                    Column(mark("PBX"), "text"),
                ),
                *(Column(mark("Outcome"), "outcome"), Column(mark("Waited"), "seconds"), *returned_columns),
            ],
            rows=rows,
            note=describe_counts(result, query.search_filter.type)
            + " "
            + _(
                "A call is returned when a person talked with the number later; numbers are compared by their last"
                " {digits} digits.",
                digits=NUMBER_SUFFIX_DIGITS,
            )
            + (" " + _("The latest {limit} are listed.", limit=LISTED_MAX) if len(rows) == LISTED_MAX else "")
            + cut_note
            + compared_note,
        )

    return build


def describe_counts(counts: MissedCalls, call_type: str | None) -> str:
    """Return how many calls of a type were missed: inbound ones, unless another type was chosen."""
    numbers = {name: count(getattr(counts, name)) for name in ("missed", "returned", "unreturned", "anonymous")}
    if call_type in (None, "inbound"):
        return _(
            "{missed} inbound calls were missed: {returned} returned, {unreturned} not returned, "
            "{anonymous} without a number.",
            **numbers,
        )
    return _(
        "{missed} calls were missed: {returned} returned, {unreturned} not returned, {anonymous} without a number.",
        **numbers,
    )


async def _describe_compared(query: ReportQuery, missed_filter: RecordFilter) -> str:
    """Return the sentences about the period that is compared with, after a blank; empty where none is."""
    compared_query = query.in_compared_period()
    if compared_query is None:
        return ""
    since, until = compared_query.since, compared_query.until
    result = await query.store.missed_calls(msgspec.structs.replace(missed_filter, since=since, until=until), 1)
    counts = _(
        "In it {missed} were missed: {returned} returned, {unreturned} not returned, {anonymous} without a number.",
        missed=result.missed,
        returned=result.returned,
        unreturned=result.unreturned,
        anonymous=result.anonymous,
    )
    return f"{describe_compared(query)} {counts}"


def _row(query: ReportQuery, missed_call: MissedCall, *, is_returned: bool) -> tuple[Cell, ...]:
    zone = query.zone_param
    cells = (
        Cell(missed_call.started_at, call_url(missed_call.sn, missed_call.call_id, zone)),
        Cell(
            missed_call.call_from,
            query.calls_url(number=missed_call.call_from, since="", until=""),
            # Inbound calls, unless another type was chosen.
            query.directory.find_party_name(
                missed_call.sn, missed_call.call_from, is_outside=not query.search_filter.type
            ),
        ),
        *(
            Cell(missed_call.did_number, name=query.directory.find_name(missed_call.sn, missed_call.did_number)),
            Cell(missed_call.pbx),
            Cell(missed_call.status),
            Cell(missed_call.wait_duration),
        ),
    )
    if not is_returned or missed_call.returned_by is None:
        return cells
    returning_call_url = call_url(*missed_call.returned_by, zone)
    return (*cells, Cell(missed_call.returned_at, returning_call_url), Cell("the call", returning_call_url))
