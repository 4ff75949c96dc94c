"""`/wallboard/NAME`: a dashboard for a screen: big figures, dark, loaded again by itself; and its links.

Invariants: a link shows its dashboard in its scope, and opens no other route. What it shows is loaded anew for each
request, so that a revoked link ends with the next one. A link of a user who is no administrator has that user's scope,
and ends when the user's access changes; such a user sees and revokes no other links.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Any, ClassVar
from urllib.parse import quote

import msgspec
from litestar import Response, get, post
from litestar.params import PathParameter, QueryParameter

from onhook.appdb.dashboards import SavedDashboard
from onhook.appdb.pbxs import NAME_CHARACTERS_MAX
from onhook.appdb.tokens import TOKEN_CHARACTERS_MAX
from onhook.appdb.wallboard_links import WallboardLink
from onhook.cdr.record_filter import RecordFilter
from onhook.console.auth.access import (
    MAKES_LINKS,
    WALLBOARD,
    get_access_scope,
    get_principal,
    get_wallboard_dashboard,
)
from onhook.console.pages.calls import COLUMNS_DEFAULT, list_visible_pbxs
from onhook.console.pages.dashboards.content import DashboardContent, load_latest_calls
from onhook.console.pages.dashboards.page import (
    PartQuery,
    link_texts,
    load_dashboard_query,
    load_selected_content,
    render_queues_now,
    select_dashboard,
)
from onhook.console.pages.dashboards.saved import find_visible_dashboard, list_visible_dashboards
from onhook.console.pages.page import FORM_BODY, render_page
from onhook.console.pages.rendering import View
from onhook.console.pages.users import ScopeForm, parse_expiry, parse_form_scope
from onhook.console.parameters import ReaderZone
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import NotFound, OnhookError
from onhook.lib.messages import _

OVERVIEW_NAME = "overview"
"""Of the dashboard that exists without having been saved."""

REFRESH_SECONDS = 15
"""With a script; without one the browser loads the page again after twice as long."""

WallboardName = Annotated[str, PathParameter(description="Name of a dashboard", max_length=NAME_CHARACTERS_MAX)]
LinkText = Annotated[str, QueryParameter(description="Text of a link", max_length=TOKEN_CHARACTERS_MAX)]


class WallboardView(View, frozen=True, kw_only=True):
    """Values of the page: the tiles of a dashboard."""

    template: ClassVar = "wallboard.html"
    name: str
    content: DashboardContent
    texts: Mapping[str, str]
    link_texts: Mapping[str, str]
    columns: Sequence[str]
    refresh_seconds: int


class WallboardLinkForm(ScopeForm, frozen=True):
    """Content of the form for a link, valid through `expires_on`; without a language it is that of the browser."""

    dashboard_id: int = 0
    name: str = ""
    expires_on: str = ""
    language: str = ""


class LinkForm(msgspec.Struct, frozen=True):
    """Content of a button's form."""

    link_id: int = 0


class WallboardLinksView(View, frozen=True, kw_only=True):
    """Values of the page: the links that the user may revoke, and the form for another one; a new link is shown once.
    With `is_own_scope` its scope is that of the user.
    """

    template: ClassVar = "wallboard_links.html"
    links: Sequence[tuple[WallboardLink, str]]
    dashboards: Sequence[SavedDashboard]
    pbx_names: Mapping[str, str]
    today: date
    is_own_scope: bool
    form: WallboardLinkForm = WallboardLinkForm()
    link_url: str = ""
    error: str = ""
    message: str = ""


@get("/wallboard/{name:str}", opt=WALLBOARD, include_in_schema=False)
async def wallboard_page(  # noqa: PLR0917 - the parameters of the URL
    request: AnyRequest,
    app_state: AppStateDep,
    reader_zone: ReaderZone,
    name: WallboardName,
    token: LinkText = "",  # noqa: ARG001 - read before the route, by `authorize`
    part: PartQuery = "",
) -> Response[str]:
    """Return the wallboard of a dashboard, or the part of it that changes without a call: that of a link, or one by its
    name, the user's own one first.
    """
    dashboard = await find_wallboard(request, app_state, name)
    scope, now = get_access_scope(request.scope), app_state.clock.now()
    position = await app_state.store.position()
    selection = select_dashboard(
        dashboard, "", {}, RecordFilter(scope=scope), reader_zone, now, is_governed_by_url=False
    )
    query, period = await load_dashboard_query(app_state, selection.search_filter, reader_zone, selection.texts, now)
    if part:
        return await render_queues_now(app_state, scope, selection, query, position)
    latest = await load_latest_calls(app_state, RecordFilter(scope=scope), position)
    content = await load_selected_content(app_state, scope, selection, query, period, latest, position)
    return await render_page(
        request,
        app_state,
        reader_zone,
        WallboardView(
            name=_("Overview") if dashboard is None else dashboard.name,
            content=content,
            texts=selection.texts,
            link_texts=link_texts(selection.texts),
            columns=COLUMNS_DEFAULT,
            refresh_seconds=REFRESH_SECONDS,
        ),
    )


@get("/wallboard-links", opt=MAKES_LINKS, include_in_schema=False)
async def wallboard_links_page(request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone) -> Response[str]:
    """Return the page of all links, or of those of the user."""
    return await _render_links(request, app_state, reader_zone)


@post("/wallboard-links", opt=MAKES_LINKS, include_in_schema=False, status_code=200)
async def add_wallboard_link(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[WallboardLinkForm, FORM_BODY]
) -> Response[str]:
    """Add a link to a dashboard; it is shown this once."""
    author = _own_author(request)
    try:
        if author:
            dashboard = await find_visible_dashboard(request, app_state, data.dashboard_id)
            scope = get_access_scope(request.scope)
        else:
            dashboard = await app_state.appdb.dashboards.get(data.dashboard_id)
            scope = await parse_form_scope(app_state, data)
        text = await app_state.appdb.wallboard_links.add(
            dashboard.dashboard_id,
            data.name,
            scope=scope,
            expires_us=parse_expiry(data.expires_on, reader_zone),
            now_us=app_state.clock.microseconds(),
            author=author,
            language=data.language,
        )
    except OnhookError as error:
        return await _render_links(request, app_state, reader_zone, error=str(error), form=data)
    link_url = f"{request.base_url}wallboard/{quote(dashboard.name, safe='')}?token={text}"
    return await _render_links(request, app_state, reader_zone, link_url=link_url)


@post("/wallboard-links/revoke", opt=MAKES_LINKS, include_in_schema=False, status_code=200)
async def revoke_wallboard_link(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[LinkForm, FORM_BODY]
) -> Response[str]:
    """Revoke a link."""
    try:
        await app_state.appdb.wallboard_links.remove(data.link_id, author=_own_author(request) or None)
    except OnhookError as error:
        return await _render_links(request, app_state, reader_zone, error=str(error))
    return await _render_links(request, app_state, reader_zone, message=_("Link revoked."))


ROUTES: tuple[Any, ...] = (wallboard_page, wallboard_links_page, add_wallboard_link, revoke_wallboard_link)


async def find_wallboard(request: AnyRequest, app_state: AppState, name: str) -> SavedDashboard | None:
    """Return the dashboard of a link, or else the one with this name that the user sees; None for the overview. Raises
    `NotFound`.
    """
    dashboard_id = get_wallboard_dashboard(request.scope)
    if dashboard_id is not None:
        return await app_state.appdb.dashboards.get(dashboard_id)
    return await _find_by_name(request, app_state, name)


async def _find_by_name(request: AnyRequest, app_state: AppState, name: str) -> SavedDashboard | None:
    """Return the dashboard with this name that the user sees; None for the overview. Raises `NotFound`."""
    principal = get_principal(request.scope)
    author = "" if principal is None else principal.author
    matches = [
        dashboard
        for dashboard in await list_visible_dashboards(request, app_state)
        if dashboard.name.casefold() == name.casefold()
    ]
    if matches:
        return min(matches, key=lambda dashboard: dashboard.author != author)
    if name == OVERVIEW_NAME:
        return None
    raise NotFound(_("there is no such dashboard"), hint=_("it may have been removed, or is no longer shared"))


def _own_author(request: AnyRequest) -> str:
    """Return the author of the links of a user who is no administrator; empty for an administrator, who has all."""
    principal = get_principal(request.scope)
    return "" if principal is None or principal.role == "administrator" else principal.author


async def _render_links(
    request: AnyRequest, app_state: AppState, zone: ReaderZone, **extra_values: Any
) -> Response[str]:
    author = _own_author(request)
    names = {dashboard.dashboard_id: dashboard.name for dashboard in await app_state.appdb.dashboards.all()}
    pbxs = await list_visible_pbxs(app_state, get_access_scope(request.scope))
    return await render_page(
        request,
        app_state,
        zone,
        WallboardLinksView(
            links=[
                (link, names.get(link.dashboard_id, ""))
                for link in await app_state.appdb.wallboard_links.all()
                if not author or link.author == author
            ],
            dashboards=await list_visible_dashboards(request, app_state),
            pbx_names={pbx.sn: pbx.name for pbx in pbxs},
            is_own_scope=bool(author),
            today=app_state.clock.now().astimezone(zone).date(),
            **extra_values,
        ),
    )
