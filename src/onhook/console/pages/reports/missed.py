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

    async def build(asked: ReportQuery) -> Report:
        asked, cut_note = await cut_to_recent(asked, RECENT_DAYS)
        missed_filter = asked.where if asked.where.type else msgspec.structs.replace(asked.where, type="inbound")
        result = await asked.store.missed(missed_filter, LISTED_MAX, is_returned=is_returned)
        rows = [_row(asked, missed_call, is_returned=is_returned) for missed_call in result.data]
        returned_columns = [Column("Returned", "moment"), Column("By", "text")] if is_returned else []
        return Report(
            columns=[
                *(Column("Missed", "moment"), Column("From", "party"), Column("DID", "text"), Column("PBX", "text")),
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


def _row(asked: ReportQuery, one: MissedCall, *, is_returned: bool) -> tuple[Cell, ...]:
    zone = asked.zone_asked
    cells = (
        Cell(one.started_at, call_url(one.sn, one.call_id, zone)),
        Cell(one.call_from, asked.to_calls(number=one.call_from, since="", until="")),
        *(Cell(one.did_number), Cell(one.pbx), Cell(one.status), Cell(one.wait_duration)),
    )
    if not is_returned or one.returned_by is None:
        return cells
    returning_call_url = call_url(*one.returned_by, zone)
    return (*cells, Cell(one.returned_at, returning_call_url), Cell("the call", returning_call_url))
