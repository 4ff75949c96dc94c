"""Reports of missed calls: those that nobody has returned yet, and those that somebody has, with the call that did."""

from collections.abc import Awaitable, Callable

import msgspec

from onhook.console.pages.formatting import call_url
from onhook.console.pages.reports.recent import recent
from onhook.console.pages.reports.report import Asked, Cell, Column, Report
from onhook.store.contract import LINE_DIGITS, MissedCall

LISTED_MAX = 500
"""The latest; more in one list nobody calls back."""

RECENT_DAYS = 31
"""Who was not called back within a month has called again, or somebody else."""


def missed_calls(*, is_returned: bool) -> Callable[[Asked], Awaitable[Report]]:
    """The kind of report that lists the returned ones, or the others."""

    async def made(asked: Asked) -> Report:
        asked, said = await recent(asked, RECENT_DAYS)
        where = asked.where if asked.where.type else msgspec.structs.replace(asked.where, type="inbound")
        found = await asked.store.missed(where, LISTED_MAX, is_returned=is_returned)
        rows = [_row(asked, one, is_returned=is_returned) for one in found.data]
        last = [Column("Returned", "moment"), Column("By", "text")] if is_returned else []
        return Report(
            columns=[
                *(Column("Missed", "moment"), Column("From", "party"), Column("DID", "text"), Column("PBX", "text")),
                *(Column("Outcome", "outcome"), Column("Waited", "seconds"), *last),
            ],
            rows=rows,
            note=f"{found.missed} calls came in and were missed: {found.returned} returned, {found.unreturned} not,"
            f" {found.anonymous} without a number. Returned means: somebody spoke with that number later; numbers are"
            f" compared by their last {LINE_DIGITS} digits."
            + (f" The latest {LISTED_MAX} are listed." if len(rows) == LISTED_MAX else "")
            + said,
        )

    return made


def _row(asked: Asked, one: MissedCall, *, is_returned: bool) -> tuple[Cell, ...]:
    zone = asked.zone_asked
    cells = (
        Cell(one.started_at, call_url(one.sn, one.call_id, zone)),
        Cell(one.call_from, asked.to_calls(number=one.call_from, since="", until="")),
        *(Cell(one.did_number), Cell(one.pbx), Cell(one.status), Cell(one.wait_duration)),
    )
    if not is_returned or one.returned_by is None:
        return cells
    by = call_url(*one.returned_by, zone)
    return (*cells, Cell(one.returned_at, by), Cell("the call", by))
