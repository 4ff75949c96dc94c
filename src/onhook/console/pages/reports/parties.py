"""Reports by party: extensions, trunks, DIDs, PBXs, and the most frequent numbers."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from onhook.console.pages.reports.numbers import list_top_numbers, list_trunks
from onhook.console.pages.reports.recent import cut_to_recent
from onhook.console.pages.reports.report import (
    ASR_AND_ACD,
    Cell,
    Chart,
    Column,
    LazyRows,
    Report,
    ReportQuery,
    Series,
    mean,
    share,
)
from onhook.lib.messages import _, mark

BARS_MAX = 20
"""In a chart; the table has all."""

TOP_MAX = 100
"""Most frequent numbers."""

RECENT_DAYS = 31
"""Of the most frequent numbers, where there are many calls."""

OUTCOME_NAMES = ("answered", "no_answer", "busy", "voicemail", "abandoned", "failed")
_OUTCOME_TITLES = {
    "answered": ("Answered", "ANSWERED"),
    "no_answer": ("No answer", "NO ANSWER"),
    "busy": ("Busy", "BUSY"),
    "voicemail": ("Voicemail", "VOICEMAIL"),
    "abandoned": ("Abandoned", "ABANDONED"),
    "failed": ("Failed", "FAILED"),
}

SummaryRow = Mapping[str, Any]
ReportBuilder = Callable[[ReportQuery], Awaitable[Report]]


async def outcomes(query: ReportQuery) -> Report:
    """Return the calls by outcome."""
    summary = await query.store.summary(query.search_filter, "status", query.zone.key)
    total = sum(row["calls"] for row in summary)
    outcome_counts = [
        (*_OUTCOME_TITLES[name], sum(row[name] for row in summary))
        for name in OUTCOME_NAMES
        if any(row[name] for row in summary)
    ]
    known_total = sum(number for _, _, number in outcome_counts)
    rows = [
        (Cell(title), query.count_cell(number, status=status), Cell(share(number, total)))
        for title, status, number in sorted(outcome_counts, key=lambda outcome_count: -outcome_count[2])
    ]
    if total > known_total:
        other_statuses = "!" + ",".join(status for _, status in _OUTCOME_TITLES.values())
        rows.append(
            (
                Cell("Other"),
                query.count_cell(total - known_total, status=other_statuses),
                Cell(share(total - known_total, total)),
            )
        )
    return Report(
        columns=[Column(mark("Outcome"), "text"), Column(mark("Calls")), Column(mark("Share"), "share")],
        rows=rows,
        chart=bar_chart(rows, "Calls"),
    )


def report_by(by: str, title: str, filter_name: str) -> ReportBuilder:
    """Return the report that counts calls by one dimension; `filter_name` is the filter for the calls of a row."""

    async def build(query: ReportQuery) -> Report:
        # Rows with the empty name, such as internal calls without a DID, are queried too and left out below.
        summary = await query.store.summary(query.search_filter, by, query.zone.key)
        named_rows = [row for row in summary if row[by]]
        rows = [
            _count_cells(
                query, row, Cell(row[by]) if by == "pbx" else query.number_cell(row[by]), {filter_name: row[by]}
            )
            for row in sorted(named_rows, key=_descending_calls)
        ]
        return Report(columns=[Column(title, "party"), *COUNT_COLUMNS], rows=rows, chart=bar_chart(rows, "Calls"))

    return build


def top_report(by: str, title: str, filter_name: str) -> ReportBuilder:
    """Return the report of the most frequent numbers of a dimension; see `report_by`."""

    async def build(query: ReportQuery) -> Report:
        query, cut_note = await cut_to_recent(query, RECENT_DAYS)
        party_rows = await list_top_numbers(query, by, TOP_MAX + 1)
        has_more = len(party_rows) > TOP_MAX
        has_pbx = any(row.pbx for row in party_rows)
        rows = [
            _with_pbx(
                _count_cells(
                    query,
                    row.counts,
                    query.number_cell(row.name, pbx=row.pbx or None),
                    {filter_name: row.name, "pbx": row.pbx} if row.pbx else {filter_name: row.name},
                ),
                row.pbx if has_pbx else None,
            )
            for row in party_rows[:TOP_MAX]
        ]
        return Report(
            columns=[Column(title, "party"), *_pbx_columns(has_pbx=has_pbx), *COUNT_COLUMNS],
            rows=rows,
            chart=bar_chart(rows, "Calls", has_pbx=has_pbx),
            note=(_("The {limit} with the most calls.", limit=TOP_MAX) if has_more else "") + cut_note,
        )

    return build


async def trunks(query: ReportQuery) -> Report:
    """Return each trunk's calls, ASR and ACD, and its peak of concurrent calls."""
    trunk_rows = await list_trunks(query)
    all_peaks = await query.store.peaks(query.search_filter, "all", query.zone.key, by_trunk=True)
    peaks = {(peak.pbx, peak.trunk): peak for peak in all_peaks}
    # Calls that began before the period may be of more PBXs than the rows.
    has_peaks_of_several = len({peak.pbx for peak in all_peaks}) > 1
    has_pbx = any(row.pbx for row in trunk_rows)
    rows = []
    for row in trunk_rows:
        pbx_filter = {"pbx": row.pbx} if row.pbx else {}
        peak = peaks.get((row.counts["pbx"], row.name))
        peak_cell = Cell(None)
        if peak is not None:
            peak_time = peak.peak_at.astimezone(query.zone).isoformat()
            peak_filter = {"pbx": peak.pbx} if has_peaks_of_several else {}
            peak_cell = Cell(
                peak.calls, query.calls_url(trunk=row.name, under_way_at=peak_time, since="", **peak_filter)
            )
        cells = _count_cells(query, row.counts, Cell(row.name), {"by_trunk": row.name, **pbx_filter})
        rows.append((*_with_pbx(cells, row.pbx if has_pbx else None), peak_cell))
    return Report(
        columns=[
            Column(mark("Trunk"), "text"),
            *_pbx_columns(has_pbx=has_pbx),
            *COUNT_COLUMNS,
            Column(mark("Peak")),
        ],
        rows=rows,
        chart=bar_chart(rows, "Calls", has_pbx=has_pbx),
        note=_(ASR_AND_ACD),
    )


def _pbx_columns(*, has_pbx: bool) -> list[Column]:
    return [Column(mark("PBX"), "text")] if has_pbx else []


def _with_pbx(cells: tuple[Cell, ...], pbx: str | None) -> tuple[Cell, ...]:
    """Return the cells with the PBX after the first one; None: the report has no such column."""
    return cells if pbx is None else (cells[0], Cell(pbx), *cells[1:])


async def extensions(query: ReportQuery) -> Report:
    """Return the received, answered and outgoing calls of each extension."""
    summaries = [
        await query.store.summary(query.search_filter, by, query.zone.key)
        for by in ("pbx,went_to", "pbx,made_by", "pbx,went_to,answered_by")
    ]
    # In a thread: there may be 100,000 rows.
    by_number, busiest = await asyncio.to_thread(_find_extensions, query, *summaries)
    rows = LazyRows(busiest, lambda key: _extension_cells(query, *key, by_number[key]))
    top = rows[:BARS_MAX]
    chart = Chart(
        shape="stack",
        labels=[row[0].label for row in top],
        series=[
            Series(_("Answered"), [_cell_number(row[3]) for row in top], "good"),
            Series(_("Made"), [_cell_number(row[4]) for row in top], "plain"),
        ],
        links=[row[0].href for row in top],
        is_sideways=True,
    )
    counts = (mark("Received"), mark("Answered"), mark("Outgoing"))
    return Report(
        columns=[
            Column(mark("Extension"), "text"),
            Column(mark("PBX"), "text"),
            *map(Column, counts),
            Column(mark("Talk time"), "seconds"),
            Column(mark("Avg. talk"), "seconds"),
        ],
        rows=rows,
        chart=chart,
        note=_(
            "A PBX does not report extensions that rang in a queue or group and did not answer: they are not included."
        ),
    )


def _find_extensions(
    query: ReportQuery,
    went_to: Sequence[SummaryRow],
    made_by: Sequence[SummaryRow],
    answered: Sequence[SummaryRow],
) -> tuple[Mapping[tuple[str, str], Mapping[str, SummaryRow]], Sequence[tuple[str, str]]]:
    """Return the rows of each extension by PBX and number, and these in order, the busiest first."""
    by_number: dict[tuple[str, str], dict[str, SummaryRow]] = {}
    for by, summary in (("went_to", went_to), ("made_by", made_by)):
        for row in summary:
            if row[by] and query.number_kind(row["pbx"], row[by]) == "extension":
                by_number.setdefault((row["pbx"], row[by]), {})[by] = row
    for row in answered:
        # The number that answered is one that the call went to inside: not a number outside that looks like it.
        if row["went_to"] == row["answered_by"] and (row["pbx"], row["went_to"]) in by_number:
            by_number[row["pbx"], row["went_to"]]["answered_by"] = row
    return by_number, sorted(by_number, key=lambda key: (-_own_calls(by_number[key]), key[1], key[0]))


COUNT_COLUMNS = (
    Column(mark("Calls")),
    Column(mark("Answered")),
    Column(mark("Missed")),
    Column(mark("ASR"), "share"),
    Column(mark("Talk"), "seconds"),
    Column(mark("ACD"), "seconds"),
)


def _count_cells(query: ReportQuery, row: SummaryRow, first: Cell, filters: Mapping[str, str]) -> tuple[Cell, ...]:
    """Return the first cell with a link to the calls, and calls, answered, missed, ASR, talk, ACD."""
    return (
        msgspec.structs.replace(first, href=query.calls_url(**filters)),
        query.count_cell(row["calls"], **filters),
        query.count_cell(row["answered"], **filters, status="ANSWERED"),
        query.count_cell(row["missed"], **filters, status="!ANSWERED"),
        Cell(share(row["answered"], row["calls"])),
        Cell(row["talk_duration"], query.calls_url(**filters, status="ANSWERED") if row["answered"] else ""),
        Cell(mean(row["talk_duration"], row["answered"])),
    )


def _own_calls(rows_by_dimension: Mapping[str, SummaryRow]) -> int:
    """Return the number of answered and outgoing calls of an extension."""
    return sum(rows_by_dimension[by]["calls"] for by in ("answered_by", "made_by") if by in rows_by_dimension)


def _extension_cells(
    query: ReportQuery, pbx: str, number: str, rows_by_dimension: Mapping[str, SummaryRow]
) -> tuple[Cell, ...]:
    pbx_filter = {"pbx": pbx}
    answered = rows_by_dimension.get("answered_by", {})
    talk = answered.get("talk_duration")
    return (
        query.number_cell(number, query.calls_url(**pbx_filter, number=number), pbx),
        Cell(pbx),
        query.count_cell(rows_by_dimension.get("went_to", {}).get("calls", 0), **pbx_filter, call_to=number),
        query.count_cell(answered.get("calls", 0), **pbx_filter, answered_by=number),
        query.count_cell(rows_by_dimension.get("made_by", {}).get("calls", 0), **pbx_filter, caller=number),
        Cell(talk, query.calls_url(**pbx_filter, answered_by=number) if answered else ""),
        Cell(mean(talk, answered.get("calls", 0))),
    )


def bar_chart(rows: Sequence[Sequence[Cell]], name: str, *, has_pbx: bool = False) -> Chart:
    """Return the first rows as bars: the first cell is the name, which the next one with a PBX belongs to, then comes
    the number.
    """
    top, place = rows[:BARS_MAX], 2 if has_pbx else 1
    return Chart(
        shape="bar",
        labels=[f"{row[0].label} · {row[1].value}" if has_pbx and row[1].value else row[0].label for row in top],
        series=[Series(name, [_cell_number(row[place]) for row in top])],
        links=[row[place].href for row in top],
        is_sideways=True,
    )


def _descending_calls(row: SummaryRow) -> int:
    return -int(row["calls"])


def _cell_number(cell: Cell) -> int:
    return cell.value if isinstance(cell.value, int) else 0
