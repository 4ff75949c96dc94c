"""`/`: the dashboard: figures of a period beside those of the same weekdays before, the latest calls, issues.

Complete without a script; scripts only load the page again when a call has ended, and draw the charts.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, ClassVar, Literal
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response, get
from litestar.params import QueryParameter

from onhook.appdb.dashboards import SavedDashboard
from onhook.appdb.pbxs import Pbx
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.record_filter import RecordFilter, parse_time
from onhook.console.addresses import intake_host, intake_port
from onhook.console.auth.access import SCOPED, get_access_scope, get_principal
from onhook.console.pages.calls import COLUMNS_DEFAULT, list_visible_pbxs
from onhook.console.pages.dashboards.content import DashboardContent, load_content, load_latest_calls
from onhook.console.pages.dashboards.editing import DashboardEditor, create_editor
from onhook.console.pages.dashboards.issue_summary import IssueSummary, load_issue_summary
from onhook.console.pages.dashboards.layout import TILES_CHARACTERS_MAX, format_tiles, parse_tiles
from onhook.console.pages.dashboards.period import SINCE_DEFAULT, DashboardPeriod, dashboard_period
from onhook.console.pages.dashboards.queues_now import QueuesNow, load_queues_now
from onhook.console.pages.dashboards.saved import (
    find_visible_dashboard,
    list_visible_dashboards,
    may_change,
    may_share,
)
from onhook.console.pages.dashboards.tiles import DEFAULT_TILES, Tile
from onhook.console.pages.date_range import DateRange, create_date_range
from onhook.console.pages.page import render_page
from onhook.console.pages.rendering import View, render
from onhook.console.pages.reports.page import filter_texts_of
from onhook.console.pages.reports.query import load_report_query
from onhook.console.pages.reports.report import ReportQuery
from onhook.console.parameters import SEQ_MAX, ReaderZone, SearchFilterDep
from onhook.console.queries.period import choose_step
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.messages import _
from onhook.store.contract import CallPage

DashboardQuery = Annotated[int | None, QueryParameter(description="Number of a saved dashboard", ge=1, le=SEQ_MAX)]
TilesQuery = Annotated[str, QueryParameter(description="Tiles and widths", max_length=TILES_CHARACTERS_MAX)]
FlagQuery = Annotated[str, QueryParameter(max_length=3)]
PartQuery = Annotated[Literal["", "queues-now"], QueryParameter(description="Tile that is loaded alone")]


class DashboardView(View, frozen=True, kw_only=True):
    """Values of the page: the tiles with their figures, and the form of the period. `content` is None before the first
    call, and then `issue_summary` has what needs attention. `link_texts` are the filters of links to calls.
    """

    template: ClassVar = "dashboard.html"
    content: DashboardContent | None
    issue_summary: IssueSummary
    texts: Mapping[str, str]
    link_texts: Mapping[str, str]
    date_range: DateRange
    columns: Sequence[str]
    position: int
    pbxs: Sequence[Pbx]
    intake_port: int
    intake_host: str
    dashboards: Sequence[SavedDashboard]
    selected: SavedDashboard | None
    page_query: Mapping[str, object]
    editor: DashboardEditor | None
    may_save: bool
    is_own: bool
    may_change: bool
    may_share: bool
    errors: Mapping[str, str] = {}


class QueuesNowView(View, frozen=True, kw_only=True):
    """Values of the tile that is loaded alone."""

    template: ClassVar = "queues_now.html"
    queues_now: QueuesNow


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """A dashboard with its tiles, and the filter with the period and the PBX that it has. `page_query` are the
    parameters of links to the same page.
    """

    dashboard: SavedDashboard | None
    tiles: Sequence[Tile]
    is_default: bool
    search_filter: RecordFilter
    texts: Mapping[str, str]
    page_query: dict[str, object]


@get("/", opt=SCOPED, include_in_schema=False)
async def dashboard_page(  # noqa: PLR0917 - the parameters of the URL
    request: AnyRequest,
    app_state: AppStateDep,
    search_filter: SearchFilterDep,
    reader_zone: ReaderZone,
    dashboard: DashboardQuery = None,
    tiles: TilesQuery = "",
    edit: FlagQuery = "",
    filters: FlagQuery = "",
    part: PartQuery = "",
) -> Response[str]:
    """Return the dashboard, or the part of it that changes without a call; without calls, the steps to the first
    one.
    """
    scope, principal = get_access_scope(request.scope), get_principal(request.scope)
    # Read before the calls: a call in between is sent twice rather than never.
    position = await app_state.store.position()
    now = app_state.clock.now()
    saved = None if dashboard is None else await find_visible_dashboard(request, app_state, dashboard)
    selection = select_dashboard(
        saved, tiles, filter_texts_of(request), search_filter, reader_zone, now, is_governed_by_url=bool(filters)
    )
    query, period = await load_dashboard_query(app_state, selection.search_filter, reader_zone, selection.texts, now)
    if part:
        return await render_queues_now(app_state, scope, selection, query, position)
    latest = await load_latest_calls(app_state, RecordFilter(scope=scope), position)
    is_empty = not latest.data
    content = None
    if not is_empty:
        content = await load_selected_content(
            app_state, scope, selection, query, period, latest, position, is_edited=bool(edit)
        )
    return await render_page(
        request,
        app_state,
        reader_zone,
        DashboardView(
            content=content,
            issue_summary=await load_issue_summary(app_state, position, reader_zone)
            if is_empty and scope is None
            else IssueSummary(),
            texts=selection.texts,
            link_texts=link_texts(selection.texts),
            date_range=create_date_range(
                "/",
                {name: str(text) for name, text in (selection.page_query | ({"edit": "yes"} if edit else {})).items()},
                reader_zone,
                now,
                since_default=period.current.since,
            ),
            columns=COLUMNS_DEFAULT,
            position=position,
            # A user who may not see a PBX's calls may not see its name.
            pbxs=await list_visible_pbxs(app_state, scope),
            intake_port=intake_port(app_state.config) if is_empty else 0,
            intake_host=intake_host(app_state.config, request.url.hostname or "")[0] if is_empty else "",
            dashboards=await list_visible_dashboards(request, app_state),
            selected=saved,
            page_query=selection.page_query,
            editor=create_editor(selection.tiles, selection.page_query, scope) if edit else None,
            may_save=principal is not None and principal.can_save,
            is_own=saved is not None and principal is not None and saved.author == principal.author,
            may_change=saved is not None and principal is not None and may_change(principal, saved),
            may_share=saved is not None and principal is not None and may_share(principal, saved),
        ),
    )


def select_dashboard(  # noqa: PLR0917 - what a dashboard is selected by
    saved: SavedDashboard | None,
    tiles_text: str,
    texts: Mapping[str, str],
    search_filter: RecordFilter,
    zone: ZoneInfo,
    now: datetime,
    *,
    is_governed_by_url: bool,
) -> Selection:
    """Return the tiles of the URL, else those of a saved dashboard, else the usual ones. The period and the PBX of a
    saved dashboard apply unless the filters of the URL are all there are. Raises `UsageError`.
    """
    tiles = parse_tiles(tiles_text) if tiles_text else list(DEFAULT_TILES)
    if saved is not None:
        layout = saved.layout
        if not tiles_text:
            tiles = [Tile(tile.kind, tile.width) for tile in layout.tiles]
        if not is_governed_by_url and not texts.get("since") and not texts.get("until"):
            texts = {**texts, "since": layout.since, "until": layout.until}
            search_filter = msgspec.structs.replace(
                search_filter,
                since=parse_time(layout.since, zone, now, name="since") if layout.since else None,
                until=parse_time(layout.until, zone, now, name="until") if layout.until else None,
            )
        if not is_governed_by_url and not texts.get("pbx") and layout.pbx:
            texts = {**texts, "pbx": layout.pbx}
            search_filter = msgspec.structs.replace(search_filter, pbx=layout.pbx)
        texts = {name: text for name, text in texts.items() if text}
    page_query: dict[str, object] = dict(texts)
    if saved is not None:
        page_query |= {"dashboard": saved.dashboard_id, "filters": "url"}
    if tiles_text:
        page_query["tiles"] = format_tiles(tiles)
    return Selection(
        dashboard=saved,
        tiles=tiles,
        is_default=saved is None and not tiles_text,
        search_filter=search_filter,
        texts=texts,
        page_query=page_query,
    )


async def render_queues_now(
    app_state: AppState, scope: AccessScope | None, selection: Selection, query: ReportQuery, position: int
) -> Response[str]:
    """Return the queues of this moment alone, for a page that has them. Raises `NotFound` for another dashboard."""
    if not any(tile.kind == "queues-now" for tile in selection.tiles):
        raise NotFound(_("this dashboard does not have the tile"), hint=_("load the page again"))
    view = QueuesNowView(queues_now=await load_queues_now(app_state, scope, query, position))
    return Response(render(view), media_type="text/html")


async def load_selected_content(  # noqa: PLR0917 - what a dashboard is made of
    app_state: AppState,
    scope: AccessScope | None,
    selection: Selection,
    query: ReportQuery,
    period: DashboardPeriod,
    latest: CallPage,
    position: int,
    *,
    is_edited: bool = False,
) -> DashboardContent:
    """Return the content of a selected dashboard; `latest` are the latest calls in scope, which a filter narrows."""
    if msgspec.structs.replace(selection.search_filter, since=None, until=None) != RecordFilter(scope=scope):
        latest = await load_latest_calls(app_state, selection.search_filter, position)
    return await load_content(
        app_state,
        scope,
        query,
        period,
        selection.tiles,
        latest,
        position,
        is_default=selection.is_default and not is_edited,
    )


async def load_dashboard_query(
    app_state: AppState, search_filter: RecordFilter, zone: ZoneInfo, texts: Mapping[str, str], now: datetime
) -> tuple[ReportQuery, DashboardPeriod]:
    """Return the query of a dashboard, and its period; without a start it is today. Raises `UsageError`."""
    if search_filter.status is not None:
        raise UsageError(_("a dashboard counts every outcome"), location="status", hint=_("leave status out"))
    since = search_filter.since or parse_time(SINCE_DEFAULT, zone, now)
    period = dashboard_period(since, search_filter.until, zone, now)
    query = await load_report_query(
        app_state,
        msgspec.structs.replace(search_filter, since=period.current.since),
        period.current,
        zone,
        by=choose_step(period.current),
        texts=link_texts(texts),
    )
    return query, period


def link_texts(texts: Mapping[str, str]) -> Mapping[str, str]:
    """Return the filters of links, which have the start that is usual here."""
    return {**texts, "since": texts.get("since") or SINCE_DEFAULT}
