"""Reports of queues, ring groups and their agents, in the terms of the trade."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from onhook.cdr.identity import extract_number
from onhook.cdr.queue_figures import (
    AgentFigures,
    QueueCount,
    QueueFigures,
    compute_figures,
    talk_per_hour,
    total_worked_seconds,
)
from onhook.cdr.queue_visits import GroupKind
from onhook.console.pages.formatting import WEEKDAYS, hour_of_day, local_time
from onhook.console.pages.reports.report import Cell, Chart, Column, Report, ReportQuery, Series, mean
from onhook.lib.messages import _, mark

BARS_MAX = 24
"""In a chart: the hours of a day; the table has all."""

RowT = TypeVar("RowT", QueueCount, AgentFigures)

ReportBuilder = Callable[[ReportQuery], Awaitable[Report]]

FIGURE_COLUMNS = (
    Column(mark("Offered")),
    Column(mark("Answered")),
    Column(mark("Abandoned")),
    Column(mark("Overflowed")),
    Column(mark("Forwarded")),
    Column(mark("Service level"), "share"),
    Column(mark("Abandon rate"), "share"),
    Column(mark("Short abandons")),
    Column(mark("ASA"), "seconds"),
    Column(mark("P90 wait"), "seconds"),
    Column(mark("Longest wait"), "seconds"),
    Column(mark("Talk"), "seconds"),
    Column(mark("Avg. talk"), "seconds"),
)


def group_report(kind: GroupKind) -> ReportBuilder:
    """Return the report of the queues, or of the ring groups: a row for each, and their total."""

    async def build(query: ReportQuery) -> Report:
        counts = await count_visits(query, kind)
        return group_table(query, kind, counts, await list_compared(query, kind))

    return build


def group_table(
    query: ReportQuery,
    kind: GroupKind,
    counts: Sequence[QueueCount],
    compared: Sequence[tuple[Cell, QueueFigures]] = (),
) -> Report:
    """Return a row for each queue or ring group, the busiest first, their total, and the totals compared with."""
    by_queue: dict[tuple[str, str], list[QueueCount]] = {}
    for count in counts:
        by_queue.setdefault((count.pbx, count.queue), []).append(count)
    figures = {key: total_figures(query, queue_counts) for key, queue_counts in by_queue.items()}
    busiest = sorted(figures, key=lambda key: (-figures[key].offered, key))
    rows = [_queue_cells(query, *key, figures[key]) for key in busiest]
    total_row = (Cell(_("Total")), Cell(""), *figure_cells(total_figures(query, counts)), Cell(None))
    compared_rows = [(label, Cell(""), *figure_cells(total), Cell(None)) for label, total in compared]
    return Report(
        columns=[
            Column(mark("Queue") if kind == "queue" else mark("Ring group"), "text"),
            Column(mark("PBX"), "text"),
            *FIGURE_COLUMNS,
            Column(mark("Answer within"), "seconds"),
        ],
        rows=[*rows, total_row, *compared_rows] if rows else [],
        chart=outcome_chart([row[0].label for row in rows], [figures[key] for key in busiest], rows),
        note=note_of_figures(query),
    )


def step_report(by: str) -> ReportBuilder:
    """Return the report of all queues by hour of the day or by weekday of the call's start."""

    async def build(query: ReportQuery) -> Report:
        counts = await count_visits(query, "queue", by)
        steps = range(24) if by == "hour_of_day" else range(1, 8)
        by_step: dict[int, list[QueueCount]] = {step: [] for step in steps}
        for count in counts:
            by_step[count.step].append(count)
        figures = [total_figures(query, by_step[step]) for step in steps]
        labels = [hour_of_day(step, query.zone) if by == "hour_of_day" else _(WEEKDAYS[step - 1]) for step in steps]
        rows = [
            (Cell(label, query.calls_url(**{by: step})), *figure_cells(step_figures))
            for label, step, step_figures in zip(labels, steps, figures, strict=True)
        ]
        compared_rows = [
            (label, *figure_cells(compared_figures)) for label, compared_figures in await list_compared(query, "queue")
        ]
        return Report(
            columns=[Column(mark("Hour") if by == "hour_of_day" else mark("Weekday"), "text"), *FIGURE_COLUMNS],
            rows=[*rows, (Cell(_("Total")), *figure_cells(total_figures(query, counts))), *compared_rows]
            if counts
            else [],
            chart=outcome_chart(labels, figures, rows) if counts else None,
            note=note_of_figures(query),
        )

    return build


async def agents(query: ReportQuery) -> Report:
    """Return the agents of queues and ring groups, a row for each of these."""
    agent_rows = await list_agents(query)
    busiest = sorted(agent_rows, key=lambda row: (-row.answered, -row.missed_rings, row.pbx, row.agent, row.queue))
    rows: list[tuple[Cell, ...]] = [_agent_cells(query, row) for row in busiest]
    total_rows = [_total_agent_cells(Cell(_("Total")), busiest)]
    compared_query = query.in_compared_period()
    if compared_query is not None:
        compared_rows = await list_agents(compared_query)
        total_rows.append(_total_agent_cells(Cell(_("Compared"), compared_query.calls_url()), compared_rows))
    return Report(
        columns=[
            Column(mark("Agent"), "text"),
            Column(mark("Answered")),
            Column(mark("Missed rings")),
            Column(mark("Queue"), "text"),
            Column(mark("PBX"), "text"),
            Column(mark("Talk"), "seconds"),
            Column(mark("Avg. talk"), "seconds"),
            Column(mark("Worked"), "seconds"),
            Column(mark("Talk per hour"), "seconds"),
        ],
        rows=[*rows, *total_rows] if rows else [],
        chart=Chart(
            shape="bar",
            labels=[f"{cells[0].label} · {cells[3].label}" for cells in rows[:BARS_MAX]],
            series=[Series(_("Answered"), [row.answered for row in busiest[:BARS_MAX]])],
            links=[cells[0].href for cells in rows[:BARS_MAX]],
            is_sideways=True,
        ),
        note=_(
            "Worked: from the first to the last call of each day that the agent answered for any queue or ring group."
            " Missed rings: the telephone rang without an answer; a P-Series does not report them."
        )
        + describe_compared(query),
    )


async def list_agents(query: ReportQuery) -> list[AgentFigures]:
    """Return the figures of agents, those of the queue that the filter names."""
    return select_queue(query, await query.store.agent_figures(query.search_filter, query.zone.key))


async def count_visits(query: ReportQuery, kind: GroupKind, by: str = "") -> list[QueueCount]:
    """Return the counts of visits to queues, or to ring groups, also by a step (see `store.contract.VISIT_STEPS`)."""
    counts = await query.store.count_visits(query.search_filter, by, query.zone.key)
    return select_queue(query, [count for count in counts if count.kind == kind])


async def list_compared(query: ReportQuery, kind: GroupKind) -> list[tuple[Cell, QueueFigures]]:
    """Return the total of the period to compare with, if one was chosen."""
    compared_query = query.in_compared_period()
    if compared_query is None:
        return []
    figures = total_figures(compared_query, await count_visits(compared_query, kind))
    return [(Cell(_("Compared"), compared_query.calls_url()), figures)]


def select_queue(query: ReportQuery, rows: Sequence[RowT]) -> list[RowT]:
    """Return the rows of the queue that the filter `call_to` names; all where it names none of them."""
    number = extract_number(query.search_filter.call_to or "")
    return [row for row in rows if row.queue == number] or list(rows)


def total_figures(query: ReportQuery, counts: Iterable[QueueCount]) -> QueueFigures:
    """Return the figures of all these visits together, each by the settings of its queue."""
    return compute_figures((count, query.targets_of(count.pbx, count.queue)) for count in counts)


def _queue_cells(query: ReportQuery, pbx: str, queue: str, figures: QueueFigures) -> tuple[Cell, ...]:
    filters = {"pbx": pbx, "call_to": queue}
    seconds = query.targets_of(pbx, queue).service_level_seconds
    return (
        *(query.number_cell(queue, query.calls_url(**filters), pbx), Cell(pbx)),
        *figure_cells(figures, query.calls_url(**filters)),
        Cell(seconds),
    )


def figure_cells(figures: QueueFigures, offered_url: str = "") -> tuple[Cell, ...]:
    """Return the cells of FIGURE_COLUMNS."""
    return (
        Cell(figures.offered, offered_url),
        Cell(figures.answered),
        Cell(figures.abandoned),
        Cell(figures.overflowed),
        Cell(figures.forwarded),
        Cell(figures.service_level),
        Cell(figures.abandon_rate),
        Cell(figures.short_abandoned),
        Cell(figures.wait_average),
        Cell(figures.wait_p90),
        Cell(figures.wait_longest),
        Cell(figures.talk_duration),
        Cell(mean(figures.talk_duration, figures.answered)),
    )


def _agent_cells(query: ReportQuery, row: AgentFigures) -> tuple[Cell, ...]:
    return (
        query.number_cell(row.agent, query.calls_url(pbx=row.pbx, call_to=row.queue, number=row.agent), row.pbx),
        *(Cell(row.answered), Cell(row.missed_rings), query.number_cell(row.queue, pbx=row.pbx), Cell(row.pbx)),
        Cell(row.talk_duration),
        *(Cell(mean(row.talk_duration, row.answered)), Cell(row.worked_seconds), Cell(row.talk_per_hour)),
    )


def _total_agent_cells(label: Cell, rows: Sequence[AgentFigures]) -> tuple[Cell, ...]:
    """Return the total of all rows. Hours of an agent of two queues are in both rows, and have no total there."""
    answered, talk = sum(row.answered for row in rows), sum(row.talk_duration for row in rows)
    return (
        *(label, Cell(answered), Cell(sum(row.missed_rings for row in rows)), Cell(""), Cell("")),
        *(Cell(talk), Cell(mean(talk, answered)), Cell(None), Cell(talk_per_hour(talk, total_worked_seconds(rows)))),
    )


def outcome_chart(labels: Sequence[str], figures: Sequence[QueueFigures], rows: Sequence[Sequence[Cell]]) -> Chart:
    """Return how the visits ended as stacked bars, of the first rows."""
    top = figures[:BARS_MAX]
    return Chart(
        shape="stack",
        labels=labels[: len(top)],
        series=[
            Series(_("Answered"), [queue_figures.answered for queue_figures in top], "good"),
            Series("Abandoned", [queue_figures.abandoned for queue_figures in top], "bad"),
            Series("Overflowed", [queue_figures.overflowed for queue_figures in top], "soft"),
            Series("Forwarded", [queue_figures.forwarded for queue_figures in top], "plain"),
        ],
        links=[cells[0].href for cells in rows[: len(top)]],
    )


def note_of_figures(query: ReportQuery) -> str:
    """Return what the figures mean, and which period is compared with."""
    return _explain_figures() + describe_compared(query)


def describe_compared(query: ReportQuery) -> str:
    """Return the sentence that says which period is compared with, after a blank; empty where none is."""
    if query.compared is None:
        return ""
    first, last = (local_time(time, query.zone) for time in (query.compared.since, query.compared.until))
    return " " + _("Compared: {since} to {until}.", since=first, until=last)


def _explain_figures() -> str:
    return _(
        "Offered: calls that entered; each ended answered, abandoned, overflowed to another queue, or forwarded to"
        " something else, such as a mailbox. Short abandons are abandoned too, and are in no rate. Service level:"
        " answered in time, of the others. ASA: average wait of answered calls, from the queue's own leg. P90: nine of"
        " ten answered calls waited no longer."
    )
