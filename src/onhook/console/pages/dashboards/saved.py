"""`/dashboards/…`: save, copy, share and remove a dashboard: forms that return to the dashboard.

Invariants: every user may save dashboards of their own; only an administrator shares one, or changes a shared one. A
limited reader sees no dashboard of a PBX out of scope.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from litestar import post
from litestar.exceptions import PermissionDeniedException
from litestar.response import Redirect

from onhook.appdb.dashboards import DashboardLayout, SavedDashboard, StoredTile
from onhook.console.auth.access import PERSONAL, Principal, get_principal
from onhook.console.pages.dashboards.layout import parse_tiles
from onhook.console.pages.formatting import url
from onhook.console.pages.page import FORM_BODY
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import NotFound
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


@post("/dashboards/save", opt=PERSONAL, include_in_schema=False, status_code=200)
async def save_dashboard(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[SaveDashboardForm, FORM_BODY]
) -> Redirect:
    """Save a dashboard of the user; one of the same name is replaced."""
    principal = _require_user(request)
    layout = DashboardLayout(
        tiles=tuple(StoredTile(tile.kind, tile.width) for tile in parse_tiles(data.tiles)),
        since=data.since.strip(),
        until=data.until.strip(),
        pbx=data.pbx,
    )
    for dashboard in await app_state.appdb.dashboards.all():
        is_same = dashboard.author == author_of(principal) and dashboard.name.casefold() == data.name.strip().casefold()
        if is_same and dashboard.is_shared:
            _require_administrator(principal)
    dashboard = await app_state.appdb.dashboards.save(data.name, layout, author=author_of(principal))
    return _redirect_to(dashboard)


@post("/dashboards/copy", opt=PERSONAL, include_in_schema=False, status_code=200)
async def copy_dashboard(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[DashboardForm, FORM_BODY]
) -> Redirect:
    """Copy a dashboard to one of the user, under another name."""
    principal = _require_user(request)
    dashboard = await find_visible_dashboard(request, app_state, data.dashboard_id)
    own_names = {
        other.name.casefold()
        for other in await app_state.appdb.dashboards.all()
        if other.author == author_of(principal)
    }
    names = (_("{name} copy {number}", name=dashboard.name[:60], number=number) for number in range(1, COPIES_MAX))
    name = next((name for name in names if name.casefold() not in own_names), dashboard.name)
    copied = await app_state.appdb.dashboards.save(name, dashboard.layout, author=author_of(principal))
    return Redirect(url("/", dashboard=copied.dashboard_id, edit="yes"), status_code=303)


@post("/dashboards/share", include_in_schema=False, status_code=200)
async def share_dashboard(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[DashboardForm, FORM_BODY]
) -> Redirect:
    """Show a dashboard to all users, or to its author alone; administrators only."""
    dashboard = await find_visible_dashboard(request, app_state, data.dashboard_id)
    await app_state.appdb.dashboards.set_shared(dashboard.dashboard_id, is_shared=data.shared == "yes")
    is_own = dashboard.author == author_of(_require_user(request))
    return _redirect_to(dashboard) if is_own or data.shared == "yes" else Redirect("/", status_code=303)


@post("/dashboards/remove", opt=PERSONAL, include_in_schema=False, status_code=200)
async def remove_dashboard(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[DashboardForm, FORM_BODY]
) -> Redirect:
    """Remove a dashboard of the user; of shared ones an administrator any."""
    principal = _require_user(request)
    dashboard = await find_visible_dashboard(request, app_state, data.dashboard_id)
    if dashboard.is_shared:
        _require_administrator(principal)
    await app_state.appdb.dashboards.remove(dashboard.dashboard_id)
    return Redirect("/", status_code=303)


ROUTES: tuple[Any, ...] = (save_dashboard, copy_dashboard, share_dashboard, remove_dashboard)


def author_of(principal: Principal) -> str:
    """Return the author that a dashboard of this user has; a token is no user of the same name."""
    return principal.name if principal.is_user else f"token:{principal.name}"


def may_save(principal: Principal | None) -> bool:
    """Return whether a reader may have dashboards: an open console and a link have no user."""
    return principal is not None and principal.credential in ("cookie", "token")


async def list_visible_dashboards(request: AnyRequest, app_state: AppState) -> Sequence[SavedDashboard]:
    """Return the dashboards of the user, and the shared ones that are for all PBXs or for one in scope."""
    principal = get_principal(request.scope)
    if principal is None:
        return []
    sns = {pbx.name: pbx.sn for pbx in await app_state.appdb.pbxs()}
    return [
        dashboard
        for dashboard in await app_state.appdb.dashboards.all()
        if dashboard.author == author_of(principal)
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
    if principal is None or not may_save(principal):
        raise PermissionDeniedException(_("only a user can save a dashboard: sign in"))
    return principal


def _require_administrator(principal: Principal) -> None:
    if principal.role != "administrator":
        raise PermissionDeniedException(
            _("only an administrator changes a shared dashboard: save it under another name")
        )


def _redirect_to(dashboard: SavedDashboard) -> Redirect:
    return Redirect(url("/", dashboard=dashboard.dashboard_id), status_code=303)
