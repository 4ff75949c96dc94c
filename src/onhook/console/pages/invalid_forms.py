"""Pages whose URL has an invalid parameter: the form of the page with all values, the invalid one marked."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from zoneinfo import ZoneInfo

from litestar import Request
from litestar.enums import HttpMethod, ScopeType
from litestar.exceptions import HTTPException
from litestar.types import Scope

from onhook.appdb.pbxs import Pbx
from onhook.appdb.saved_searches import SavedSearch
from onhook.console.auth.access import get_access_scope
from onhook.console.pages.calls import (
    ALL_FILTERS,
    FIRST_ROW_FILTERS,
    FORM_FILTERS,
    list_visible_pbxs,
    list_visible_searches,
    load_tags,
)
from onhook.console.pages.date_range import DateRange, create_date_range
from onhook.console.pages.page import load_common_values
from onhook.console.pages.rendering import InvalidFormView, render
from onhook.console.pages.reports.kinds import KINDS, ReportKind
from onhook.console.pages.reports.page import KIND_DEFAULT, STEPS, filter_texts_of
from onhook.console.problem_documents import accepts_html, list_parameter_errors, set_invalid_page
from onhook.console.reader import load_reader_settings, make_reader_zone
from onhook.console.state import AnyRequest, AppState
from onhook.lib.errors import OnhookError
from onhook.lib.messages import _


class InvalidCallsView(InvalidFormView, frozen=True, kw_only=True):
    """Values of the page of calls with its form alone."""

    form_template: str = "calls_form.html"
    filter_texts: Mapping[str, str]
    more_filters: Sequence[str]
    has_more_filters: bool = True
    is_filtered: bool = True
    columns_param: str
    sort: str
    pbxs: Sequence[Pbx]
    known_tags: Sequence[str]
    saved_searches: Sequence[SavedSearch]
    current_path: str = ""
    date_range: DateRange
    search_meaning: str = ""
    unlimited_url: str = ""


class InvalidReportView(InvalidFormView, frozen=True, kw_only=True):
    """Values of the page of a report with its form alone."""

    form_template: str = "reports_form.html"
    texts: Mapping[str, str]
    report_name: str
    kind: ReportKind
    by: str
    compare: str
    group_by: str
    steps: Sequence[str] = STEPS
    date_range: DateRange
    pbxs: Sequence[Pbx]


class InvalidDashboardView(InvalidFormView, frozen=True, kw_only=True):
    """Values of the dashboard with its form alone."""

    form_template: str = "dashboard_form.html"
    texts: Mapping[str, str]
    page_query: Mapping[str, object]
    date_range: DateRange
    pbxs: Sequence[Pbx]


class InvalidMissedView(InvalidFormView, frozen=True, kw_only=True):
    """Values of the page of missed calls with its form alone."""

    form_template: str = "missed_form.html"
    texts: Mapping[str, str]
    date_range: DateRange
    pbxs: Sequence[Pbx]


async def render_invalid_form(error: Exception, scope: Scope) -> None:
    """Render the page of a request that an invalid parameter ended, where its page has a form; else do nothing."""
    make_view = _VIEWS.get(str(scope.get("path_template", "")))
    if scope["type"] != ScopeType.HTTP or scope["method"] != HttpMethod.GET or make_view is None:
        return
    request: AnyRequest = Request(scope)
    errors = list_parameter_errors(error)
    if not errors or not _is_bad_request(error) or not accepts_html(request):
        return
    app_state: AppState = request.app.state.app_state
    try:
        zone = make_reader_zone(app_state, await load_reader_settings(request, app_state))
        common_values = await load_common_values(app_state, request, zone, app_state.clock.now())
        view = await make_view(request, app_state, zone, dict(errors))
    except OnhookError:
        return  # the page of the problem needs no database
    set_invalid_page(request, render(view, **common_values))


def _is_bad_request(error: Exception) -> bool:
    status = error.status_code if isinstance(error, HTTPException) else getattr(error, "http_status", None)
    return status == HTTPStatus.BAD_REQUEST


async def _make_calls_view(
    request: AnyRequest, app_state: AppState, zone: ZoneInfo, errors: Mapping[str, str]
) -> InvalidFormView:
    texts = dict(request.query_params.multi_items())
    access_scope = get_access_scope(request.scope)
    filter_texts = {name: texts.get(name, "") for name in ALL_FILTERS}
    return InvalidCallsView(
        title=_("Calls"),
        errors=errors,
        filter_texts=filter_texts,
        more_filters=[name for name in ALL_FILTERS if name not in FORM_FILTERS],
        has_more_filters=any(texts.get(name) for name in ALL_FILTERS if name not in FIRST_ROW_FILTERS),
        # A sort key or column that does not exist is left out.
        columns_param="" if "columns" in errors else texts.get("columns", ""),
        sort="" if "sort" in errors else texts.get("sort", ""),
        pbxs=await list_visible_pbxs(app_state, access_scope),
        known_tags=await load_tags(app_state) if access_scope is None else [],
        saved_searches=await list_visible_searches(request, app_state),
        date_range=create_date_range("/calls", filter_texts, zone, app_state.clock.now(), offers_all=True),
    )


async def _make_dashboard_view(
    request: AnyRequest, app_state: AppState, zone: ZoneInfo, errors: Mapping[str, str]
) -> InvalidFormView:
    texts = filter_texts_of(request)
    return InvalidDashboardView(
        title=_("Dashboard"),
        errors=errors,
        texts=texts,
        page_query={},
        date_range=create_date_range("/", texts, zone, app_state.clock.now()),
        pbxs=await list_visible_pbxs(app_state, get_access_scope(request.scope)),
    )


async def _make_report_view(
    request: AnyRequest, app_state: AppState, zone: ZoneInfo, errors: Mapping[str, str]
) -> InvalidFormView:
    report_name = request.query_params.get("report", KIND_DEFAULT)
    report_name = report_name if report_name in KINDS else KIND_DEFAULT
    return InvalidReportView(
        title=_(KINDS[report_name].title),
        errors=errors,
        texts=filter_texts_of(request),
        report_name=report_name,
        kind=KINDS[report_name],
        by=request.query_params.get("by", ""),
        compare=request.query_params.get("compare", ""),
        group_by=request.query_params.get("group_by", ""),
        date_range=create_date_range(
            "/reports",
            {**filter_texts_of(request), "report": report_name},
            zone,
            app_state.clock.now(),
            compare=request.query_params.get("compare", ""),
        ),
        pbxs=await list_visible_pbxs(app_state, get_access_scope(request.scope)),
    )


async def _make_missed_view(
    request: AnyRequest, app_state: AppState, zone: ZoneInfo, errors: Mapping[str, str]
) -> InvalidFormView:
    texts = {**filter_texts_of(request), "show": request.query_params.get("show", "")}
    return InvalidMissedView(
        title=_("Missed calls"),
        errors=errors,
        texts=texts,
        date_range=create_date_range("/missed", texts, zone, app_state.clock.now()),
        pbxs=await list_visible_pbxs(app_state, get_access_scope(request.scope)),
    )


_VIEWS: Mapping[str, Callable[[AnyRequest, AppState, ZoneInfo, Mapping[str, str]], Awaitable[InvalidFormView]]] = {
    "/": _make_dashboard_view,
    "/calls": _make_calls_view,
    "/missed": _make_missed_view,
    "/reports": _make_report_view,
}
"""By path template."""
