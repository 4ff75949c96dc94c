"""`/`: the dashboard. Today compared with the same weekday before, the latest calls, issues.

Complete without a script; the script only loads the page again when a call has ended.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response, get

from onhook.appdb.pbxs import Pbx
from onhook.cdr.record_filter import RecordFilter, parse_time
from onhook.console.addresses import intake_host, intake_port
from onhook.console.auth.access import SCOPED, get_access_scope, get_principal
from onhook.console.pages.calls import COLUMNS_DEFAULT
from onhook.console.pages.page import render_page
from onhook.console.pages.rendering import View
from onhook.console.pages.totals import Totals, add_up
from onhook.console.parameters import ReaderZone
from onhook.console.queries.directory import name_calls
from onhook.console.queries.open_issues import OpenIssues, load_open_issues
from onhook.console.queries.quarantine import list_counters, load_quarantine
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.receiver.rejections import RequestCounter, list_rejections
from onhook.store.contract import CallPage, DurationHistogram, QuarantineEntry

CALLS_SHOWN_MAX = 25
"""A screen; the rest is on the page of calls."""

ISSUES_SHOWN_MAX = 5
"""Lines in the box at the top; the rest is on a page of its own."""

COMPARISON_OFFSET = timedelta(days=7)
"""Today is compared with the same weekday: traffic of offices depends on it."""


class IssueSummary(msgspec.Struct, frozen=True):
    """Issues that need attention."""

    quarantined_count: int = 0
    newest_quarantined: Sequence[QuarantineEntry] = ()
    rejections: Sequence[RequestCounter] = ()
    open_issues: OpenIssues = OpenIssues()

    @property
    def has_issues(self) -> bool:
        """Return whether there is an issue."""
        return bool(self.quarantined_count or self.rejections or self.open_issues.count)


class DaySummary(msgspec.Struct, frozen=True):
    """Figures of a day so far."""

    by_pbx: Sequence[Mapping[str, Any]]
    answer_times: DurationHistogram

    @property
    def totals(self) -> Totals:
        """Return the totals of all PBXs."""
        return add_up(self.by_pbx)

    @property
    def longest_wait(self) -> int | None:
        """Return the longest wait in seconds; None where it is unknown."""
        return max(
            (row["wait_duration_max"] for row in self.by_pbx if row["wait_duration_max"] is not None), default=None
        )


class DashboardView(View, frozen=True, kw_only=True):
    """Values of the page: today, compared with the same weekday before, the latest calls and issues."""

    template: ClassVar = "dashboard.html"
    page: CallPage
    columns: Sequence[str]
    totals: Totals
    by_pbx: Sequence[Mapping[str, Any]]
    answer_times: DurationHistogram
    longest_wait: int | None
    previous: Totals
    previous_since: datetime
    previous_until: datetime
    is_today: bool
    is_filtered: bool
    position: int
    issue_summary: IssueSummary
    pbxs: Sequence[Pbx]
    intake_port: int
    intake_host: str
    is_empty: bool


@get("/", opt=SCOPED, include_in_schema=False)
async def dashboard_page(request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone) -> Response[str]:
    """Return the dashboard; without calls, the steps to the first one."""
    now = app_state.clock.now()
    scope = get_access_scope(request.scope)
    # Read before the calls: a call in between is sent twice rather than never.
    position = await app_state.store.position()
    latest_filter = RecordFilter(scope=scope)
    call_page = await app_state.coalescer.get(
        (position, "latest", latest_filter), lambda: app_state.store.calls(latest_filter, CALLS_SHOWN_MAX)
    )
    today = parse_time("today", reader_zone, now)
    earlier_since, earlier_until = (_same_time_last_week(time, reader_zone) for time in (today, now))
    day = await _load_day(app_state, position, RecordFilter(since=today, scope=scope), reader_zone)
    earlier_day = await _load_day(
        app_state,
        position,
        RecordFilter(since=earlier_since, until=earlier_until.replace(second=0), scope=scope),
        reader_zone,
    )
    is_empty = not call_page.data
    return await render_page(
        request,
        app_state,
        reader_zone,
        DashboardView(
            page=await name_calls(app_state, call_page),
            columns=COLUMNS_DEFAULT,
            totals=day.totals,
            by_pbx=day.by_pbx,
            answer_times=day.answer_times,
            longest_wait=day.longest_wait,
            previous=earlier_day.totals,
            previous_since=earlier_since,
            previous_until=earlier_until.replace(second=0),
            is_today=True,
            is_filtered=False,
            position=position,
            issue_summary=await _load_issues(request, app_state, position, reader_zone),
            pbxs=await app_state.appdb.pbxs() if scope is None else [],
            intake_port=intake_port(app_state.config) if is_empty else 0,
            intake_host=intake_host(app_state.config, request.url.hostname or "")[0] if is_empty else "",
            is_empty=is_empty,
        ),
    )


async def _load_day(app_state: AppState, position: int, day_filter: RecordFilter, zone: ZoneInfo) -> DaySummary:
    by_pbx = await app_state.coalescer.get(
        (position, "summary", day_filter, zone.key), lambda: app_state.store.summary(day_filter, "pbx", zone.key)
    )
    answered_filter = msgspec.structs.replace(day_filter, status="ANSWERED")
    answer_times = await app_state.coalescer.get(
        (position, "answer_times", answered_filter),
        lambda: app_state.store.histogram(answered_filter, "wait_duration", [0]),
    )
    return DaySummary(by_pbx, answer_times)


def _same_time_last_week(time: datetime, zone: ZoneInfo) -> datetime:
    """Return the same local time of the same weekday."""
    local = time.astimezone(zone).replace(tzinfo=None, microsecond=0)
    return (local - COMPARISON_OFFSET).replace(tzinfo=zone).astimezone(UTC)


async def _load_issues(request: AnyRequest, app_state: AppState, position: int, zone: ZoneInfo) -> IssueSummary:
    principal = get_principal(request.scope)
    if principal is None or principal.scope is not None:
        return IssueSummary()
    total, newest = await app_state.coalescer.get(
        (position, "quarantine"), lambda: load_quarantine(app_state.store, ISSUES_SHOWN_MAX)
    )
    counters = await app_state.coalescer.get("counters", lambda: list_counters(app_state.ledger, app_state.appdb))
    now = app_state.clock.now()
    rejections = list_rejections(counters, now)
    issues = await load_open_issues(app_state, zone)
    # Of the quarantine there is a line with the number and the reason.
    checks = [check for check in issues.checks if check.kind != "check_quarantine"]
    listed_issues = OpenIssues(
        checks=checks[:ISSUES_SHOWN_MAX],
        alarms=issues.alarms[:ISSUES_SHOWN_MAX],
        destinations=issues.destinations[:ISSUES_SHOWN_MAX],
    )
    return IssueSummary(total, newest, rejections[:ISSUES_SHOWN_MAX], listed_issues)
