"""Reports by department or site, as the directory has them now: extensions, agents, queues, and calls of PBXs.

A call counts once in each group that it belongs to. Numbers that the reader may not see are of no group.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

from onhook.cdr.queue_figures import AgentFigures, QueueCount, talk_per_hour, total_worked_seconds
from onhook.cdr.queue_visits import GroupKind
from onhook.console.pages.reports.parties import COUNT_COLUMNS, SummaryRow, bar_chart
from onhook.console.pages.reports.queues import (
    FIGURE_COLUMNS,
    ReportBuilder,
    count_visits,
    describe_compared,
    figure_cells,
    list_agents,
    list_compared,
    note_of_figures,
    outcome_chart,
    total_figures,
)
from onhook.console.pages.reports.report import Cell, Chart, Column, Report, ReportQuery, Series, mean, share
from onhook.lib.messages import _, mark
from onhook.store.contract import GroupSide

BARS_MAX = 20
"""In a chart; the table has all."""

_SIDES: Sequence[GroupSide] = ("went_to", "answered_by", "made_by")

RowT = TypeVar("RowT", QueueCount, AgentFigures)


async def extension_groups(query: ReportQuery) -> Report:
    """Return the received, answered and outgoing calls of the numbers of each group."""
    assert query.group_by is not None
    extensions = await _label_extensions(query)
    extension_counts = Counter(extensions.values())
    by_group: dict[str, dict[GroupSide, SummaryRow]] = {name: {} for name in extension_counts}
    # Also its queues and other numbers, as the filter of a link has them.
    labels = {**extensions, **query.groups.labels(query.group_by)}
    for side in _SIDES:
        for row in await query.store.summary_by_group(query.search_filter, side, labels):
            by_group.setdefault(row["group"], {})[side] = row
    busiest = sorted(by_group, key=lambda name: (not name, -_own_calls(by_group[name]), name))
    rows = [
        (_group_cell(query, name), Cell(extension_counts[name]), *_extension_cells(query, name, by_group[name]))
        for name in busiest
    ]
    counts = (mark("Extensions"), mark("Received"), mark("Answered"), mark("Outgoing"))
    return Report(
        columns=[
            _group_column(query),
            *map(Column, counts),
            Column(mark("Talk time"), "seconds"),
            Column(mark("Avg. talk"), "seconds"),
        ],
        rows=rows,
        chart=Chart(
            shape="stack",
            labels=[row[0].label for row in rows[:BARS_MAX]],
            series=[
                Series(_("Answered"), [_calls(by_group[name], "answered_by") for name in busiest[:BARS_MAX]], "good"),
                Series(_("Made"), [_calls(by_group[name], "made_by") for name in busiest[:BARS_MAX]], "plain"),
            ],
            links=[row[0].href for row in rows[:BARS_MAX]],
            is_sideways=True,
        ),
        note=_note(
            query,
            _(
                "Received: calls that went to an extension, a queue or another number of the group."
                " Each counts once in a group."
            ),
        ),
    )


async def pbx_groups(query: ReportQuery) -> Report:
    """Return the calls with a party of each group."""
    assert query.group_by is not None
    labels = query.groups.labels(query.group_by)
    summary = await query.store.summary_by_group(query.search_filter, "party", labels)
    rows = [
        _count_cells(query, row)
        for row in sorted(summary, key=lambda row: (not row["group"], -row["calls"], row["group"]))
    ]
    return Report(
        columns=[_group_column(query), *COUNT_COLUMNS],
        rows=rows,
        chart=bar_chart(rows, "Calls"),
        note=_note(query, _("A call counts once in each group with a number on either side of one of its legs.")),
    )


async def agent_groups(query: ReportQuery) -> Report:
    """Return the agents of each group together, in all queues and ring groups, and their total."""
    agent_rows = await list_agents(query)
    by_group = _split(query, agent_rows)
    busiest = sorted(by_group, key=lambda name: (not name, -sum(row.answered for row in by_group[name]), name))
    rows: list[tuple[Cell, ...]] = [(_group_cell(query, name), *_agent_cells(by_group[name])) for name in busiest]
    total_rows: list[tuple[Cell, ...]] = [(Cell(_("Total")), *_agent_cells(agent_rows))]
    compared_query = query.in_compared_period()
    if compared_query is not None:
        compared_rows = await list_agents(compared_query)
        total_rows.append((Cell(_("Compared"), compared_query.calls_url()), *_agent_cells(compared_rows)))
    return Report(
        columns=[
            _group_column(query),
            *map(Column, (mark("Agents"), mark("Answered"), mark("Missed rings"))),
            *(Column(title, "seconds") for title in (mark("Talk"), mark("Avg. talk"), mark("Worked"))),
            Column(mark("Talk per hour"), "seconds"),
        ],
        rows=[*rows, *total_rows] if rows else [],
        chart=Chart(
            shape="bar",
            labels=[row[0].label for row in rows[:BARS_MAX]],
            series=[Series(_("Answered"), [_number(row[2]) for row in rows[:BARS_MAX]])],
            links=[row[0].href for row in rows[:BARS_MAX]],
            is_sideways=True,
        ),
        note=_note(
            query,
            _("Worked: from the first to the last call of each day that an agent answered, added up over the agents.")
            + describe_compared(query),
        ),
    )


def queue_groups(kind: GroupKind) -> ReportBuilder:
    """Return the report of the queues, or of the ring groups, of each group together."""

    async def build(query: ReportQuery) -> Report:
        counts = await count_visits(query, kind)
        by_group = _split(query, counts)
        figures = {name: total_figures(query, group_counts) for name, group_counts in by_group.items()}
        busiest = sorted(figures, key=lambda name: (not name, -figures[name].offered, name))
        rows = [
            (
                _group_cell(query, name),
                Cell(len({(count.sn, count.queue) for count in by_group[name]})),
                *figure_cells(figures[name]),
            )
            for name in busiest
        ]
        all_queues = len({(count.sn, count.queue) for count in counts})
        total_row = (Cell(_("Total")), Cell(all_queues), *figure_cells(total_figures(query, counts)))
        compared_rows = [(label, Cell(None), *figure_cells(total)) for label, total in await list_compared(query, kind)]
        return Report(
            columns=[
                _group_column(query),
                Column(mark("Queues") if kind == "queue" else mark("Ring groups")),
                *FIGURE_COLUMNS,
            ],
            rows=[*rows, total_row, *compared_rows] if rows else [],
            chart=outcome_chart([row[0].label for row in rows], [figures[name] for name in busiest], rows),
            note=_note(query, note_of_figures(query)),
        )

    return build


async def _label_extensions(query: ReportQuery) -> dict[tuple[str, str], str]:
    """Return the group of each extension with calls, empty where it has none."""
    assert query.group_by is not None
    labels = query.groups.labels(query.group_by)
    result: dict[tuple[str, str], str] = {}
    for by in ("went_to", "made_by"):
        for row in await query.store.summary(query.search_filter, f"pbx,{by}", query.zone.key):
            if row[by] and query.number_kind(row["pbx"], row[by]) == "extension":
                party = (query.sns_by_pbx.get(row["pbx"], row["pbx"]), row[by])
                result[party] = labels.get(party, "")
    return result


def _split(query: ReportQuery, rows: Sequence[RowT]) -> dict[str, list[RowT]]:
    """Return rows by the group of their agent or queue; an agent outside is in none."""
    assert query.group_by is not None
    labels = query.groups.labels(query.group_by)
    by_group: dict[str, list[RowT]] = {}
    for row in rows:
        number = row.queue
        if isinstance(row, AgentFigures):
            number = "" if row.is_outside else row.agent
        by_group.setdefault(labels.get((row.sn, number), ""), []).append(row)
    return by_group


def _group_column(query: ReportQuery) -> Column:
    return Column(mark("Department") if query.group_by == "department" else mark("Site"), "text")


def _group_cell(query: ReportQuery, name: str) -> Cell:
    if not name:
        return Cell(_("No department") if query.group_by == "department" else _("No site"))
    return Cell(name, query.calls_url(number=_filter_text(query, name)))


def _filter_text(query: ReportQuery, name: str) -> str:
    return f"{query.group_by}:{name}"


def _extension_cells(query: ReportQuery, name: str, rows: Mapping[GroupSide, SummaryRow]) -> tuple[Cell, ...]:
    answered, text = _calls(rows, "answered_by"), _filter_text(query, name)
    talk = rows["answered_by"]["talk_duration"] if answered else None
    if not name:
        received, made = _calls(rows, "went_to"), _calls(rows, "made_by")
        return (Cell(received), Cell(answered), Cell(made), Cell(talk), Cell(mean(talk, answered)))
    return (
        query.count_cell(_calls(rows, "went_to"), call_to=text),
        query.count_cell(answered, answered_by=text),
        query.count_cell(_calls(rows, "made_by"), caller=text),
        Cell(talk, query.calls_url(answered_by=text) if answered else ""),
        Cell(mean(talk, answered)),
    )


def _count_cells(query: ReportQuery, row: SummaryRow) -> tuple[Cell, ...]:
    """Return the group, and its calls, answered, missed, ASR, talk, ACD; with links to the calls of a group."""
    filters = {"number": _filter_text(query, row["group"])}

    def count_cell(name: str, **status: str) -> Cell:
        is_linked = bool(row["group"] and row[name])
        return Cell(row[name], query.calls_url(**filters, **status) if is_linked else "")

    return (
        _group_cell(query, row["group"]),
        count_cell("calls"),
        count_cell("answered", status="ANSWERED"),
        count_cell("missed", status="!ANSWERED"),
        Cell(share(row["answered"], row["calls"])),
        Cell(row["talk_duration"]),
        Cell(mean(row["talk_duration"], row["answered"])),
    )


def _agent_cells(rows: Sequence[AgentFigures]) -> tuple[Cell, ...]:
    answered, talk = sum(row.answered for row in rows), sum(row.talk_duration for row in rows)
    worked = total_worked_seconds(rows)
    return (
        Cell(len({(row.sn, row.agent, row.is_outside) for row in rows})),
        *(Cell(answered), Cell(sum(row.missed_rings for row in rows)), Cell(talk), Cell(mean(talk, answered))),
        *(Cell(worked), Cell(talk_per_hour(talk, worked))),
    )


def _note(query: ReportQuery, text: str) -> str:
    assert query.group_by is not None
    if query.groups.names(query.group_by):
        return text
    hint = _("No number has a department yet: set them on the page Directory.")
    if query.group_by == "site":
        hint = _("No number has a site yet: set them on the page Directory.")
    return f"{text} {hint}"


def _calls(rows: Mapping[GroupSide, SummaryRow], side: GroupSide) -> int:
    return int(rows[side]["calls"]) if side in rows else 0


def _own_calls(rows: Mapping[GroupSide, SummaryRow]) -> int:
    return _calls(rows, "answered_by") + _calls(rows, "made_by")


def _number(cell: Cell) -> int:
    return cell.value if isinstance(cell.value, int) else 0
