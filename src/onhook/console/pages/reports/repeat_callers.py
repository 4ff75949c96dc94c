"""Report of callers who called more than once."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import msgspec

from onhook.cdr.number_masking import is_masked
from onhook.console.pages.reports.parties import RECENT_DAYS, SummaryRow
from onhook.console.pages.reports.queues import describe_compared
from onhook.console.pages.reports.recent import cut_to_recent
from onhook.console.pages.reports.report import Cell, Column, LazyRows, Report, ReportQuery, share
from onhook.lib.messages import _, mark

CALLS_MIN = 2


async def repeat_callers(query: ReportQuery) -> Report:
    """Return the callers with several calls from outside, or of the type in the filter, and their total."""
    query, cut_note = await cut_to_recent(query, RECENT_DAYS)
    call_type = query.search_filter.type or "inbound"
    callers = await _summarise_callers(query, call_type)
    compared_query = query.in_compared_period()
    compared_callers = None if compared_query is None else await _summarise_callers(compared_query, call_type)
    # In a thread: there may be 100,000 callers.
    return await asyncio.to_thread(_build_report, query, call_type, callers, compared_callers, cut_note)


def _build_report(
    query: ReportQuery,
    call_type: str,
    summary: Sequence[SummaryRow],
    compared_summary: Sequence[SummaryRow] | None,
    cut_note: str,
) -> Report:
    callers = _select_numbers(summary)
    repeating = sorted(_select_repeating(callers), key=_descending_calls)
    total_rows = [_total_cells(Cell(_("Total")), repeating)]
    compared_query = query.in_compared_period()
    if compared_query is not None and compared_summary is not None:
        compared = _select_repeating(_select_numbers(compared_summary))
        total_rows.append(_total_cells(Cell(_("Compared"), compared_query.calls_url(type=call_type)), compared))
    keys: list[SummaryRow | tuple[Cell, ...]] = [*repeating, *total_rows] if repeating else []
    shown_counts = Counter(row["call_from"] for row in callers)
    rows = LazyRows(
        keys,
        lambda key: (
            key
            if isinstance(key, tuple)
            else _cells(query, key, call_type, is_unique=shown_counts[key["call_from"]] == 1)
        ),
    )
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
            calls=sum(row["calls"] for row in repeating),
            all_calls=sum(row["calls"] for row in callers),
        )
        + cut_note
        + describe_compared(query),
    )


async def _summarise_callers(query: ReportQuery, call_type: str) -> list[SummaryRow]:
    """Return all callers, and their calls; those who are shown alike to a reader with masked numbers apart."""
    search_filter = msgspec.structs.replace(query.search_filter, type=call_type)
    return [*await query.store.list_callers(search_filter, query.zone.key)]


def _select_numbers(summary: Sequence[SummaryRow]) -> list[SummaryRow]:
    return [row for row in summary if _is_number(row["call_from"])]


def _select_repeating(callers: Sequence[SummaryRow]) -> list[SummaryRow]:
    return [row for row in callers if row["calls"] >= CALLS_MIN]


def _is_number(caller: str) -> bool:
    return is_masked(caller) or any(character.isdecimal() for character in caller)


def _descending_calls(row: SummaryRow) -> tuple[int, str]:
    return -row["calls"], row["call_from"]


def _total_cells(label: Cell, callers: Sequence[SummaryRow]) -> tuple[Cell, ...]:
    """Return the cells of a total."""
    totals = {name: sum(row[name] for row in callers) for name in ("calls", "answered", "missed")}
    return (label, *map(Cell, totals.values()), Cell(share(totals["answered"], totals["calls"])))


def _cells(query: ReportQuery, row: SummaryRow, call_type: str, *, is_unique: bool) -> tuple[Cell, ...]:
    """Return the cells of a caller; without links where a filter would find the calls of others who are shown alike."""
    filters = {"caller": row["call_from"], "type": call_type}

    def count_cell(name: str, **status: str) -> Cell:
        return query.count_cell(row[name], **filters, **status) if is_unique else Cell(row[name])

    return (
        query.number_cell(row["call_from"], query.calls_url(**filters) if is_unique else ""),
        count_cell("calls"),
        count_cell("answered", status="ANSWERED"),
        count_cell("missed", status="!ANSWERED"),
        Cell(share(row["answered"], row["calls"])),
    )
