"""Report of callers who called more than once."""

import msgspec

from onhook.cdr.number_masking import is_masked
from onhook.console.pages.reports.parties import RECENT_DAYS, SummaryRow
from onhook.console.pages.reports.recent import cut_to_recent
from onhook.console.pages.reports.report import Cell, Column, LazyRows, Report, ReportQuery, share
from onhook.lib.messages import _, mark

CALLS_MIN = 2


async def repeat_callers(query: ReportQuery) -> Report:
    """Return the callers with several calls from outside, or of the type in the filter, and their total."""
    query, cut_note = await cut_to_recent(query, RECENT_DAYS)
    call_type = query.search_filter.type or "inbound"
    summary = await query.store.summary(
        msgspec.structs.replace(query.search_filter, type=call_type), "call_from", query.zone.key
    )
    callers = [row for row in summary if _is_number(row["call_from"])]
    repeating = sorted((row for row in callers if row["calls"] >= CALLS_MIN), key=_descending_calls)
    totals = {name: sum(row[name] for row in repeating) for name in ("calls", "answered", "missed")}
    # The last row is that of the total.
    rows = LazyRows([*repeating, None] if repeating else [], lambda row: _cells(query, row, call_type, totals))
    return Report(
        columns=[
            Column(mark("Caller"), "party"),
            Column(mark("Calls")),
            Column(mark("Answered")),
            Column(mark("Missed")),
            Column(mark("ASR"), "share"),
        ],
        rows=rows,
        note=_(
            "{repeating} of {callers} callers called more than once: {calls} of {all_calls} calls. Calls without a"
            " number are left out.",
            repeating=len(repeating),
            callers=len(callers),
            calls=totals["calls"],
            all_calls=sum(row["calls"] for row in callers),
        )
        + cut_note,
    )


def _is_number(caller: str) -> bool:
    return is_masked(caller) or any(character.isdecimal() for character in caller)


def _descending_calls(row: SummaryRow) -> tuple[int, str]:
    return -row["calls"], row["call_from"]


def _cells(query: ReportQuery, row: SummaryRow | None, call_type: str, totals: SummaryRow) -> tuple[Cell, ...]:
    """Return the cells of a caller, or of the total."""
    if row is None:
        counts = tuple(Cell(totals[name]) for name in ("calls", "answered", "missed"))
        return (Cell(_("Total")), *counts, Cell(share(totals["answered"], totals["calls"])))
    filters = {"caller": row["call_from"], "type": call_type}
    return (
        query.number_cell(row["call_from"], query.calls_url(**filters)),
        query.count_cell(row["calls"], **filters),
        query.count_cell(row["answered"], **filters, status="ANSWERED"),
        query.count_cell(row["missed"], **filters, status="!ANSWERED"),
        Cell(share(row["answered"], row["calls"])),
    )
