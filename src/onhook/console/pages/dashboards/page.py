"""`/`: the dashboard: figures of a period beside those of the same weekdays before, the latest calls, issues.

Complete without a script; scripts only load the page again when a call has ended, and draw the charts.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response, get

from onhook.appdb.pbxs import Pbx
from onhook.cdr.record_filter import RecordFilter, parse_time
from onhook.console.addresses import intake_host, intake_port
from onhook.console.auth.access import SCOPED, get_access_scope
from onhook.console.pages.calls import COLUMNS_DEFAULT, list_visible_pbxs
from onhook.console.pages.dashboards.content import DashboardContent, load_content, load_latest_calls
from onhook.console.pages.dashboards.issue_summary import IssueSummary, load_issue_summary
from onhook.console.pages.dashboards.period import SINCE_DEFAULT, DashboardPeriod, dashboard_period
from onhook.console.pages.dashboards.tiles import DEFAULT_TILES
from onhook.console.pages.date_range import DateRange, create_date_range
from onhook.console.pages.page import render_page
from onhook.console.pages.rendering import View
from onhook.console.pages.reports.page import filter_texts_of
from onhook.console.pages.reports.period import choose_step
from onhook.console.pages.reports.query import load_report_query
from onhook.console.pages.reports.report import ReportQuery
from onhook.console.parameters import ReaderZone, SearchFilterDep
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import UsageError
from onhook.lib.messages import _


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
    errors: Mapping[str, str] = {}


@get("/", opt=SCOPED, include_in_schema=False)
async def dashboard_page(
    request: AnyRequest, app_state: AppStateDep, search_filter: SearchFilterDep, reader_zone: ReaderZone
) -> Response[str]:
    """Return the dashboard; without calls, the steps to the first one."""
    scope = get_access_scope(request.scope)
    # Read before the calls: a call in between is sent twice rather than never.
    position = await app_state.store.position()
    texts, now = filter_texts_of(request), app_state.clock.now()
    query, period = await load_dashboard_query(app_state, search_filter, reader_zone, texts, now)
    everything = RecordFilter(scope=scope)
    latest = await load_latest_calls(app_state, everything, position)
    is_empty = not latest.data
    if msgspec.structs.replace(search_filter, since=None, until=None) != everything:
        latest = await load_latest_calls(app_state, search_filter, position)
    content = (
        None
        if is_empty
        else await load_content(app_state, scope, query, period, DEFAULT_TILES, latest, position, is_default=True)
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
            texts=texts,
            link_texts=link_texts(texts),
            date_range=create_date_range("/", texts, reader_zone, now, since_default=period.current.since),
            columns=COLUMNS_DEFAULT,
            position=position,
            # A user who may not see a PBX's calls may not see its name.
            pbxs=await list_visible_pbxs(app_state, scope),
            intake_port=intake_port(app_state.config) if is_empty else 0,
            intake_host=intake_host(app_state.config, request.url.hostname or "")[0] if is_empty else "",
        ),
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
