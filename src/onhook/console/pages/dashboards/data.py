"""`/api/v1/dashboards` and `/api/v1/wallboards/{name}`: what dashboards show, as data for other screens and programs.

Invariants: a value is that of the page, in the same scope. A link to a wallboard reads its dashboard and nothing else.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
from litestar import get
from litestar.params import PathParameter

from onhook.appdb.dashboards import SavedDashboard, StoredTile
from onhook.cdr.record_filter import RecordFilter
from onhook.console.auth.access import SCOPED, WALLBOARD, get_access_scope
from onhook.console.pages.dashboards.content import DashboardContent, TileContent, load_latest_calls
from onhook.console.pages.dashboards.page import (
    Selection,
    load_dashboard_query,
    load_selected_content,
    select_dashboard,
)
from onhook.console.pages.dashboards.saved import find_visible_dashboard, list_visible_dashboards
from onhook.console.pages.dashboards.wallboard import LinkText, WallboardName, find_wallboard
from onhook.console.pages.reports.page import ReportCell, filter_texts_of, report_cell
from onhook.console.pages.reports.report import Cell, Column
from onhook.console.parameters import SEQ_MAX, ReaderZone, SearchFilterDep
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.messages import _, mark

OVERVIEW_ID = 0
"""Of the dashboard that exists without having been saved."""

DashboardId = Annotated[
    int, PathParameter(description="Number of a saved dashboard; 0 is the first page", ge=OVERVIEW_ID, le=SEQ_MAX)
]


class DashboardEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A saved dashboard that the user sees. `since`, `until` and `pbx` are what it was saved with, or empty."""

    dashboard_id: int
    name: str
    author: str
    is_shared: bool
    since: str
    until: str
    pbx: str
    tiles: Sequence[StoredTile]


class DashboardList(msgspec.Struct, frozen=True):
    """Dashboards of the user, and shared ones."""

    data: Sequence[DashboardEntry]
    next: None = None


class TileTable(msgspec.Struct, frozen=True, kw_only=True):
    """The first rows of a table; a cell belongs to the column at the same place. `note` says what they are."""

    columns: Sequence[Column]
    data: Sequence[Sequence[ReportCell]]
    note: str = ""


class TileData(msgspec.Struct, frozen=True, kw_only=True):
    """A tile: a figure with its `unit` (`count`, `seconds` or `share`, which is between 0 and 1), or tables. `previous`
    is the figure of the same weekdays before; null is unknown. `note` says that a figure leaves something out.
    `href` after `/api/v1` lists the calls.
    """

    kind: str
    title: str
    width: int
    unit: str = ""
    value: float | None = None
    previous: float | None = None
    detail: str = ""
    note: str = ""
    href: str = ""
    tables: Sequence[TileTable] = ()


class DashboardData(msgspec.Struct, frozen=True, kw_only=True):
    """What a dashboard shows, tile by tile, with its period and the one before that it is compared with."""

    dashboard_id: int
    name: str
    since: datetime
    until: datetime
    previous_since: datetime
    previous_until: datetime
    zone: str
    data: Sequence[TileData]
    next: None = None


@get("/dashboards", opt=SCOPED, summary="List dashboards", tags=["calls"], responses=PROBLEMS)
async def list_dashboards(request: AnyRequest, app_state: AppStateDep) -> DashboardList:
    """List the dashboards of the user, and the shared ones."""
    return DashboardList([_dashboard_entry(saved) for saved in await list_visible_dashboards(request, app_state)])


@get(
    "/dashboards/{dashboard_id:int}",
    opt=SCOPED,
    summary="Read what a dashboard shows",
    tags=["calls"],
    responses=PROBLEMS,
)
async def read_dashboard(
    request: AnyRequest,
    app_state: AppStateDep,
    search_filter: SearchFilterDep,
    reader_zone: ReaderZone,
    dashboard_id: DashboardId,
) -> DashboardData:
    """Read the figures and tables of a dashboard, 0 for those of the first page. Filters come before the period and the
    PBX that it was saved with.
    """
    saved = None if dashboard_id == OVERVIEW_ID else await find_visible_dashboard(request, app_state, dashboard_id)
    now = app_state.clock.now()
    selection = select_dashboard(
        saved, "", filter_texts_of(request), search_filter, reader_zone, now, is_governed_by_url=False
    )
    return await _load_data(request, app_state, saved, selection, reader_zone, now)


@get(
    "/wallboards/{name:str}",
    opt=WALLBOARD,
    summary="Read what a wallboard shows",
    tags=["calls"],
    responses=PROBLEMS,
)
async def read_wallboard(
    request: AnyRequest,
    app_state: AppStateDep,
    reader_zone: ReaderZone,
    name: WallboardName,
    token: LinkText = "",  # noqa: ARG001 - read before the route, by `authorize`
) -> DashboardData:
    """Read the figures and tables of a wallboard: by the text of its link, of that dashboard; else by its name."""
    saved, now = await find_wallboard(request, app_state, name), app_state.clock.now()
    scope_filter = RecordFilter(scope=get_access_scope(request.scope))
    selection = select_dashboard(saved, "", {}, scope_filter, reader_zone, now, is_governed_by_url=False)
    return await _load_data(request, app_state, saved, selection, reader_zone, now)


ROUTES = (list_dashboards, read_dashboard, read_wallboard)


def _dashboard_entry(saved: SavedDashboard) -> DashboardEntry:
    return DashboardEntry(
        dashboard_id=saved.dashboard_id,
        name=saved.name,
        author=saved.author,
        is_shared=saved.is_shared,
        since=saved.layout.since,
        until=saved.layout.until,
        pbx=saved.layout.pbx,
        tiles=saved.layout.tiles,
    )


async def _load_data(  # noqa: PLR0917 - what a dashboard is made of
    request: AnyRequest,
    app_state: AppState,
    saved: SavedDashboard | None,
    selection: Selection,
    zone: ZoneInfo,
    now: datetime,
) -> DashboardData:
    scope, position = get_access_scope(request.scope), await app_state.store.position()
    query, period = await load_dashboard_query(app_state, selection.search_filter, zone, selection.texts, now)
    latest = await load_latest_calls(app_state, RecordFilter(scope=scope), position)
    content = await load_selected_content(app_state, scope, selection, query, period, latest, position)
    return DashboardData(
        dashboard_id=OVERVIEW_ID if saved is None else saved.dashboard_id,
        name=_("Overview") if saved is None else saved.name,
        since=period.current.since,
        until=period.current.until,
        previous_since=period.previous.since,
        previous_until=period.previous.until,
        zone=zone.key,
        data=[_tile_data(content, tile, zone) for tile in content.tiles],
    )


def _tile_data(content: DashboardContent, tile: TileContent, zone: ZoneInfo) -> TileData:
    figure = tile.figure
    data = TileData(kind=tile.tile.kind, title=tile.kind.title, width=tile.tile.width)
    if figure is None:
        return msgspec.structs.replace(data, tables=[_to_table(*table, zone) for table in _list_tables(content, tile)])
    return msgspec.structs.replace(
        data,
        unit=figure.unit,
        value=figure.value,
        previous=figure.previous,
        detail=figure.detail,
        note=figure.note,
        href=figure.href,
    )


Table = tuple[Sequence[Column], Sequence[Sequence[Cell]], str]
"""Columns, rows, and a note."""


def _to_table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], note: str, zone: ZoneInfo) -> TileTable:
    return TileTable(columns=columns, data=[[report_cell(cell, zone) for cell in row] for row in rows], note=note)


def _list_tables(content: DashboardContent, tile: TileContent) -> Sequence[Table]:
    """Return the tables of a tile without a figure."""
    if tile.table is not None:
        return [(tile.table.columns, tile.table.rows, tile.table.note)]
    match tile.kind.shape:
        case "timeline":
            return [_timeline_table(content)]
        case "unreturned":
            return [_unreturned_table(content)]
        case "pbx_totals":
            return [_pbx_table(content)]
        case "health":
            columns = (Column(mark("PBX"), "text"), Column(mark("State"), "text"), Column(mark("Last event"), "time"))
            return [(columns, [(Cell(row.name), Cell(row.state), Cell(row.last_at)) for row in content.health], "")]
        case "issues":
            return [_issue_table(content)]
        case "calls":
            return [_call_table(content)]
    now = content.queues_now
    tables = ((now.live, ""), (now.ended, now.note))
    return [(table.columns, table.rows, note) for table, note in tables if table is not None]


def _timeline_table(content: DashboardContent) -> Table:
    timeline = content.timeline
    assert timeline is not None  # a tile of this shape has it loaded
    columns = (Column(timeline.step.capitalize(), "text"), Column(mark("Calls")), Column(mark("Before")))
    return (
        columns,
        [(Cell(step.label, step.href), Cell(step.calls), Cell(step.previous)) for step in timeline.steps],
        "",
    )


def _unreturned_table(content: DashboardContent) -> Table:
    columns = (Column(mark("Missed"), "time"), Column(mark("From"), "party"), Column(mark("Waited"), "seconds"))
    calls = () if content.data.missed is None else content.data.missed.data
    rows = [(Cell(call.started_at), Cell(call.call_from), Cell(call.wait_duration)) for call in calls]
    return columns, rows, content.data.cut_note.strip()


def _pbx_table(content: DashboardContent) -> Table:
    names = ("calls", "answered", "missed", "talk_duration")
    columns = (
        *(Column(mark("PBX"), "text"), Column(mark("Calls")), Column(mark("Answered")), Column(mark("Missed"))),
        Column(mark("Talk"), "seconds"),
    )
    return columns, [(Cell(row["pbx"]), *(Cell(row[name]) for name in names)) for row in content.data.by_pbx], ""


def _issue_table(content: DashboardContent) -> Table:
    issues = content.issue_summary.open_issues
    columns = (Column(mark("Subject"), "text"), Column(mark("Issue"), "text"), Column(mark("Detail"), "text"))
    rows = [
        *((Cell(_("This installation")), Cell(issue.title), Cell(issue.detail)) for issue in issues.checks),
        *((Cell(alarm.pbx or alarm.sn), Cell(alarm.title), Cell(alarm.detail)) for alarm in issues.alarms),
        *((Cell(issue.name), Cell(issue.text.title), Cell(issue.detail)) for issue in issues.destinations),
    ]
    return columns, rows, ""


def _call_table(content: DashboardContent) -> Table:
    columns = (
        *(Column(mark("Start"), "time"), Column(mark("From"), "party"), Column(mark("To"), "party")),
        *(Column(mark("Outcome"), "outcome"), Column(mark("Talk"), "seconds")),
    )
    rows = [
        (
            *(Cell(call.started_at), Cell(call.call_from), Cell(call.call_to)),
            *(Cell(call.status), Cell(call.talk_duration)),
        )
        for call in content.latest.data
    ]
    return columns, rows, ""
