"""Content of a dashboard: what its tiles show to a reader, in a period."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial

import msgspec

from onhook.cdr.access_scope import AccessScope
from onhook.cdr.record_filter import RecordFilter
from onhook.console.pages.dashboards.figures import Figure, FigureData, FigureReads, Source, report_url
from onhook.console.pages.dashboards.health import PbxHealth, load_health
from onhook.console.pages.dashboards.issue_summary import IssueSummary, load_issue_summary
from onhook.console.pages.dashboards.period import DashboardPeriod
from onhook.console.pages.dashboards.queues_now import REFRESH_SECONDS, QueuesNow, load_queues_now
from onhook.console.pages.dashboards.tiles import RECENT_REPORTS, REPORT_COLUMNS, TILE_KINDS, Shape, Tile, TileKind
from onhook.console.pages.dashboards.timeline import Timeline, load_timeline
from onhook.console.pages.reports.kinds import KINDS
from onhook.console.pages.reports.queues import group_table
from onhook.console.pages.reports.report import Cell, Column, Report, ReportQuery
from onhook.console.queries.directory import name_calls
from onhook.console.state import AppState
from onhook.lib.bounded_tasks import BoundedTasks
from onhook.store.contract import CallPage

CALLS_SHOWN_MAX = 25
"""A screen; the rest is on the page of calls."""

READS_MAX = 3
"""Of what a dashboard counts, at the same time; the store has four readers, for all pages."""

ROWS_MAX = 10
"""Of a table in a tile; the rest is in its report."""


class ReportTable(msgspec.Struct, frozen=True, kw_only=True):
    """The first rows of a report, in its columns for a tile; `note` says where it has the last days only."""

    report: Report
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    href: str
    note: str


class TileContent(msgspec.Struct, frozen=True, kw_only=True):
    """A tile that is shown; `number` is its place among the tiles, from 0."""

    number: int
    tile: Tile
    kind: TileKind
    figure: Figure | None = None
    table: ReportTable | None = None


class DashboardContent(msgspec.Struct, frozen=True, kw_only=True):
    """What the tiles show; None or empty where no tile needs it."""

    tiles: Sequence[TileContent]
    query: ReportQuery
    period: DashboardPeriod
    data: FigureData
    timeline: Timeline | None
    health: Sequence[PbxHealth]
    issue_summary: IssueSummary
    latest: CallPage
    queues_now: QueuesNow

    @property
    def refresh_seconds(self) -> int | None:
        """Return how often the queues of this moment are to be loaded again; None without them."""
        has_queues_now = any(content.kind.shape == "queues_now" for content in self.tiles)
        return REFRESH_SECONDS if has_queues_now else None

    @property
    def has_chart(self) -> bool:
        """Return whether a tile has a chart."""
        return any(content.kind.shape in ("chart", "timeline") for content in self.tiles)


class _Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What the store has counted: shared by equal requests."""

    data: FigureData
    timeline: Timeline | None
    tables: Mapping[str, ReportTable]


class _Present(msgspec.Struct, frozen=True, kw_only=True):
    """What is of this moment, whatever the period is."""

    queues_now: QueuesNow
    health: Sequence[PbxHealth]
    issue_summary: IssueSummary


async def load_content(  # noqa: PLR0917 - what a dashboard is made of
    app_state: AppState,
    scope: AccessScope | None,
    query: ReportQuery,
    period: DashboardPeriod,
    tiles: Sequence[Tile],
    latest: CallPage,
    position: int,
    *,
    is_default: bool = False,
) -> DashboardContent:
    """Return the content of the tiles that a reader of this scope may see; others, and those of an unknown kind, are
    left out; with `is_default` also those about queues without calls, and totals of a single PBX. `latest` are the
    latest calls, `position` is that of the store, read before.
    """
    visible = [
        (number, tile, TILE_KINDS[tile.kind])
        for number, tile in enumerate(tiles)
        if tile.kind in TILE_KINDS and TILE_KINDS[tile.kind].is_visible(scope)
    ]
    kinds = {tile.kind: kind for _number, tile, kind in visible}
    shapes = {kind.shape for kind in kinds.values()}
    # Of an open period the filter has no end, so that equal requests of one minute share what is counted.
    links, zone = tuple(query.filters.values()), (type(query.zone), query.zone.key)
    key = (position, "dashboard", query.search_filter, period.previous, links, zone, *kinds)
    async with BoundedTasks(2) as tasks:
        count_task = tasks.start(lambda: app_state.coalescer.get(key, lambda: _count(query, period, kinds)))
        present_task = tasks.start(lambda: _load_present(app_state, scope, query, shapes, position))
    counted, present = count_task.result(), present_task.result()
    return DashboardContent(
        tiles=[
            _tile_content(number, tile, kind, query, counted)
            for number, tile, kind in visible
            if not (is_default and _is_without_calls(tile.kind, kind, counted.data, present.queues_now))
        ],
        query=query,
        period=period,
        data=counted.data,
        timeline=counted.timeline,
        health=present.health,
        issue_summary=present.issue_summary,
        latest=latest,
        queues_now=present.queues_now,
    )


async def load_latest_calls(app_state: AppState, search_filter: RecordFilter, position: int) -> CallPage:
    """Return the latest calls of a filter, whatever its period is."""
    latest_filter = msgspec.structs.replace(search_filter, since=None, until=None)
    page = await app_state.coalescer.get(
        (position, "latest", latest_filter), lambda: app_state.store.calls(latest_filter, CALLS_SHOWN_MAX)
    )
    return await name_calls(app_state, page)


async def _load_present(
    app_state: AppState, scope: AccessScope | None, query: ReportQuery, shapes: Collection[Shape], position: int
) -> _Present:
    """Return what tiles of these shapes need, one after another: beside what is counted, that is one more read."""
    return _Present(
        queues_now=await load_queues_now(app_state, scope, query, position) if "queues_now" in shapes else QueuesNow(),
        health=await load_health(app_state, scope) if "health" in shapes else (),
        issue_summary=await load_issue_summary(app_state, position, query.zone)
        if "issues" in shapes
        else IssueSummary(),
    )


async def _count(query: ReportQuery, period: DashboardPeriod, kinds: Mapping[str, TileKind]) -> _Counted:
    sources: set[Source] = {source for kind in kinds.values() for source in kind.sources}
    has_timeline = any(kind.shape == "timeline" for kind in kinds.values())
    reports = [kind.report for kind in kinds.values() if kind.report]
    async with BoundedTasks(READS_MAX) as tasks:
        reads = FigureReads(tasks, query, period, sources)
        timeline = tasks.start(partial(load_timeline, query, period)) if has_timeline else None
        made_reports = {
            name: tasks.start(partial(KINDS[name].make, query))
            for name in reports
            if name != "queues" and name not in RECENT_REPORTS
        }
        recent_query = await reads.start_recent()
        made_reports |= {
            name: tasks.start(partial(KINDS[name].make, recent_query)) for name in reports if name in RECENT_REPORTS
        }
    data = reads.collect()
    made = {name: task.result() for name, task in made_reports.items()}
    return _Counted(
        data=data,
        timeline=None if timeline is None else timeline.result(),
        tables={name: _create_table(query, data, name, made.get(name)) for name in reports},
    )


def _create_table(query: ReportQuery, data: FigureData, name: str, report: Report | None) -> ReportTable:
    """Return a table of a report; that of the queues is made of their visits."""
    note = ""
    if name in RECENT_REPORTS and data.recent_query is not None:
        query, note = data.recent_query, data.cut_note.strip()
    report = report or group_table(query, "queue", data.visits)
    wanted = REPORT_COLUMNS.get(name)
    places = [place for place, column in enumerate(report.columns) if wanted is None or column.title in wanted]
    return ReportTable(
        report=report,
        columns=[report.columns[place] for place in places],
        rows=[[row[place] for place in places] for row in report.rows[:ROWS_MAX]],
        href=report_url(query, name),
        note=note,
    )


def _is_without_calls(name: str, kind: TileKind, data: FigureData, queues_now: QueuesNow) -> bool:
    """Return whether a tile is about queues without calls, or has the totals of a single PBX."""
    offered = [figures.offered for figures in (data.queues, data.previous_queues) if figures is not None]
    if kind.shape == "queues_now":
        return not (any(offered) or queues_now.has_rows)
    is_of_queues = name == "queues" or (kind.shape == "figure" and "visits" in kind.sources)
    return (is_of_queues and not any(offered)) or (kind.shape == "pbx_totals" and len(data.by_pbx) < 2)


def _tile_content(number: int, tile: Tile, kind: TileKind, query: ReportQuery, counted: _Counted) -> TileContent:
    return TileContent(
        number=number,
        tile=tile,
        kind=kind,
        figure=None if kind.figure is None else kind.figure(query, counted.data),
        table=counted.tables.get(tile.kind),
    )
