"""Reports of missed calls: those that nobody has returned yet, and those that somebody has, with the call that did."""

from collections.abc import Awaitable, Callable

import msgspec

from onhook.console.pages.formatting import call_url
from onhook.console.pages.reports.recent import cut_to_recent
from onhook.console.pages.reports.report import Cell, Column, Report, ReportQuery
from onhook.store.contract import NUMBER_SUFFIX_DIGITS, MissedCall

LISTED_MAX = 500
"""The latest; more in one list nobody calls back."""

RECENT_DAYS = 31
"""Who was not called back within a month has called again, or somebody else."""


def missed_calls(*, is_returned: bool) -> Callable[[ReportQuery], Awaitable[Report]]:
    """The kind of report that lists the returned ones, or the others."""

    async def build(query: ReportQuery) -> Report:
        query, cut_note = await cut_to_recent(query, RECENT_DAYS)
        missed_filter = (
            query.search_filter
            if query.search_filter.type
            else msgspec.structs.replace(query.search_filter, type="inbound")
        )
        result = await query.store.missed_calls(missed_filter, LISTED_MAX, is_returned=is_returned)
        rows = [_row(query, missed_call, is_returned=is_returned) for missed_call in result.data]
        returned_columns = [Column("Returned", "time"), Column("By", "text")] if is_returned else []
        return Report(
            columns=[
                *(Column("Missed", "time"), Column("From", "party"), Column("DID", "text"), Column("PBX", "text")),
                *(Column("Outcome", "outcome"), Column("Waited", "seconds"), *returned_columns),
            ],
            rows=rows,
            note=f"{result.missed} calls came in and were missed: {result.returned} returned, {result.unreturned} not,"
            f" {result.anonymous} without a number. Returned means: somebody spoke with that number later; numbers are"
            f" compared by their last {NUMBER_SUFFIX_DIGITS} digits."
            + (f" The latest {LISTED_MAX} are listed." if len(rows) == LISTED_MAX else "")
            + cut_note,
        )

    return build


def _row(query: ReportQuery, missed_call: MissedCall, *, is_returned: bool) -> tuple[Cell, ...]:
    zone = query.zone_param
    cells = (
        Cell(missed_call.started_at, call_url(missed_call.sn, missed_call.call_id, zone)),
        Cell(missed_call.call_from, query.calls_url(number=missed_call.call_from, since="", until="")),
        *(
            Cell(missed_call.did_number),
            Cell(missed_call.pbx),
            Cell(missed_call.status),
            Cell(missed_call.wait_duration),
        ),
    )
    if not is_returned or missed_call.returned_by is None:
        return cells
    returning_call_url = call_url(*missed_call.returned_by, zone)
    return (*cells, Cell(missed_call.returned_at, returning_call_url), Cell("the call", returning_call_url))
