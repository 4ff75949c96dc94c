"""`/dashboards/…`: save, copy, share and remove a dashboard: forms that return to the dashboard.

Invariants: every user may save dashboards of their own. An administrator shares and changes every one that is shared; a
user with the permission `share` those of their own. A limited reader sees no dashboard of a PBX out of scope.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from litestar import Response, post
from litestar.exceptions import PermissionDeniedException
from litestar.response import Redirect

from onhook.appdb.dashboards import DashboardLayout, SavedDashboard, StoredTile
from onhook.console.auth.access import PERSONAL, SHARES, Principal, get_principal
from onhook.console.pages.dashboards.layout import parse_tiles
from onhook.console.pages.formatting import url
from onhook.console.pages.page import FORM_BODY, render_page
from onhook.console.pages.rendering import InvalidFormView
from onhook.console.parameters import ReaderZone
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.messages import _

COPIES_MAX = 20
"""Names that are tried for a copy."""


class SaveDashboardForm(msgspec.Struct, frozen=True):
    """Content of the form below the tiles; `tiles` as in the URL."""

    name: str = ""
    tiles: str = ""
    since: str = ""
    until: str = ""
    pbx: str = ""


class DashboardForm(msgspec.Struct, frozen=True):
    """Content of a button's form; `shared` is `yes`, or empty for the author alone."""

    dashboard_id: int = 0
    shared: str = ""


class InvalidDashboardSaveView(InvalidFormView, frozen=True, kw_only=True):
    """Values of the form with a name under which a dashboard cannot be saved."""

    form_template: str = "dashboard_save_form.html"
    form: Mapping[str, str]


@post("/dashboards/save", opt=PERSONAL, include_in_schema=False, status_code=200)
async def save_dashboard(
    request: AnyRequest,
    app_state: AppStateDep,
    reader_zone: ReaderZone,
    data: Annotated[SaveDashboardForm, FORM_BODY],
) -> Response[str] | Redirect:
    """Save a dashboard of the user; one of the same name is replaced."""
    principal = _require_user(request)
    try:
        return _redirect_to(await _save(app_state, principal, data))
    except UsageError as error:
        message, status = str(error), error.http_status
    except PermissionDeniedException as error:
        message, status = error.detail, error.status_code
    view = InvalidDashboardSaveView(
        title=_("Save dashboard"), form=msgspec.structs.asdict(data), errors={"name": message}
    )
    return await render_page(request, app_state, reader_zone, view, status=status)


async def _save(app_state: AppState, principal: Principal, form: SaveDashboardForm) -> SavedDashboard:
    """Save the dashboard of a form. Raises `UsageError`, `PermissionDeniedException`."""
    layout = DashboardLayout(
        tiles=tuple(StoredTile(tile.kind, tile.width) for tile in parse_tiles(form.tiles)),
        since=form.since.strip(),
        until=form.until.strip(),
        pbx=form.pbx,
    )
    for dashboard in await app_state.appdb.dashboards.all():
        if dashboard.author == principal.author and dashboard.name.casefold() == form.name.strip().casefold():
            _require_may_change(principal, dashboard)
    return await app_state.appdb.dashboards.save(form.name, layout, author=principal.author)


@post("/dashboards/copy", opt=PERSONAL, include_in_schema=False, status_code=200)
async def copy_dashboard(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[DashboardForm, FORM_BODY]
) -> Redirect:
    """Copy a dashboard to one of the user, under another name."""
    principal = _require_user(request)
    dashboard = await find_visible_dashboard(request, app_state, data.dashboard_id)
    own_names = {
        other.name.casefold() for other in await app_state.appdb.dashboards.all() if other.author == principal.author
    }
    names = (_("{name} copy {number}", name=dashboard.name[:60], number=number) for number in range(1, COPIES_MAX))
    name = next((name for name in names if name.casefold() not in own_names), dashboard.name)
    copied = await app_state.appdb.dashboards.save(name, dashboard.layout, author=principal.author)
    return Redirect(url("/", dashboard=copied.dashboard_id, edit="yes"), status_code=303)


@post("/dashboards/share", opt=SHARES, include_in_schema=False, status_code=200)
async def share_dashboard(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[DashboardForm, FORM_BODY]
) -> Redirect:
    """Show a dashboard to all users, or to its author alone; one whose author was removed gets the user."""
    principal = _require_user(request)
    dashboard = await find_visible_dashboard(request, app_state, data.dashboard_id)
    if not may_share(principal, dashboard):
        raise PermissionDeniedException(_("only an administrator shares the dashboard of another user"))
    author = dashboard.author or principal.author
    await app_state.appdb.dashboards.set_shared(dashboard.dashboard_id, is_shared=data.shared == "yes", author=author)
    is_own = author == principal.author
    return _redirect_to(dashboard) if is_own or data.shared == "yes" else Redirect("/", status_code=303)


@post("/dashboards/remove", opt=PERSONAL, include_in_schema=False, status_code=200)
async def remove_dashboard(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[DashboardForm, FORM_BODY]
) -> Redirect:
    """Remove a dashboard of the user; of shared ones an administrator any."""
    dashboard = await find_visible_dashboard(request, app_state, data.dashboard_id)
    _require_may_change(_require_user(request), dashboard)
    await app_state.appdb.dashboards.remove(dashboard.dashboard_id)
    return Redirect("/", status_code=303)


ROUTES: tuple[Any, ...] = (save_dashboard, copy_dashboard, share_dashboard, remove_dashboard)


async def list_visible_dashboards(request: AnyRequest, app_state: AppState) -> Sequence[SavedDashboard]:
    """Return the dashboards of the user, and the shared ones that are for all PBXs or for one in scope."""
    principal = get_principal(request.scope)
    if principal is None:
        return []
    sns = {pbx.name: pbx.sn for pbx in await app_state.appdb.pbxs()}
    return [
        dashboard
        for dashboard in await app_state.appdb.dashboards.all()
        if dashboard.author == principal.author
        or (
            dashboard.is_shared
            and (
                principal.scope is None
                or not dashboard.layout.pbx
                or principal.scope.allows_pbx(sns.get(dashboard.layout.pbx, ""))
            )
        )
    ]


async def find_visible_dashboard(request: AnyRequest, app_state: AppState, dashboard_id: int) -> SavedDashboard:
    """Return a dashboard that the user may see. Raises `NotFound`, also for one of another user."""
    for dashboard in await list_visible_dashboards(request, app_state):
        if dashboard.dashboard_id == dashboard_id:
            return dashboard
    raise NotFound(_("there is no such dashboard"), hint=_("it may have been removed, or is no longer shared"))


def _require_user(request: AnyRequest) -> Principal:
    principal = get_principal(request.scope)
    if principal is None or not principal.can_save:
        raise PermissionDeniedException(_("only a user can save a dashboard: sign in"))
    return principal


def may_share(principal: Principal, dashboard: SavedDashboard) -> bool:
    """Return whether a user may show a dashboard to all users, or stop it."""
    return principal.role == "administrator" or (dashboard.author == principal.author and principal.may("share"))


def may_change(principal: Principal, dashboard: SavedDashboard) -> bool:
    """Return whether a user may change or remove a dashboard."""
    is_own = dashboard.author == principal.author
    return principal.role == "administrator" or (is_own and (not dashboard.is_shared or principal.may("share")))


def _require_may_change(principal: Principal, dashboard: SavedDashboard) -> None:
    if not may_change(principal, dashboard):
        raise PermissionDeniedException(
            _("only an administrator changes a shared dashboard: save it under another name")
        )


def _redirect_to(dashboard: SavedDashboard) -> Redirect:
    return Redirect(url("/", dashboard=dashboard.dashboard_id), status_code=303)
