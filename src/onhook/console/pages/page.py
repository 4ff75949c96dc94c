"""Values that every page needs: the user, the time zone, the time."""

from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from litestar import Response
from litestar.enums import HttpMethod, RequestEncodingType
from litestar.params import BodyKwarg, QueryParameter

from onhook.console.auth.access import get_principal
from onhook.console.pages.rendering import View, render
from onhook.console.queries.open_issues import OpenIssues, load_open_issues
from onhook.console.reader import load_reader_settings, loaded_theme
from onhook.console.state import AnyRequest, AppState

_MENU_PAGES = {
    "/call": "/calls",
    "/alarms": "/issues",
    "/quarantine": "/issues",
    "/events": "/issues",
    "/audit": "/users",
    "/first-account": "/users",
    "/erasure": "/users",
    "/mail": "/users",
    "/sign-in-settings": "/users",
    "/report-schedules": "/reports",
    "/wallboard-links": "/",
    "/add-pbx": "/pbxs",
    "/directory": "/pbxs",
    "/retention": "/pbxs",
}
"""Pages below one of the menu."""

MESSAGE_CHARACTERS_MAX = 500
"""Result of an action, passed in the URL to the page that follows."""

Message = Annotated[str, QueryParameter(max_length=MESSAGE_CHARACTERS_MAX)]

FORM_BODY = BodyKwarg(media_type=RequestEncodingType.URL_ENCODED)
"""The body of a form: `data: Annotated[TheForm, FORM_BODY]`."""


async def render_page(
    request: AnyRequest, app_state: AppState, zone: ZoneInfo, view: View, *, status: int = 200
) -> Response[str]:
    """Return the page of a view, for the user of the request."""
    page = render(view, **await load_common_values(app_state, request, zone, app_state.clock.now()))
    return Response(page, media_type="text/html", status_code=status)


async def load_common_values(app_state: AppState, request: AnyRequest, zone: ZoneInfo, now: datetime) -> dict[str, Any]:
    """Return the values of every page: the user, the time zone, the time."""
    principal = get_principal(request.scope)
    return {
        "menu_page": menu_page(request.url.path),
        "principal": principal,
        "open_issues": await load_open_issues(app_state, zone)
        if principal is not None and principal.scope is None and not principal.needs_factor
        else OpenIssues(),
        "zone": zone,
        "reader_settings": await load_reader_settings(request, app_state),
        "theme": loaded_theme(request.scope),
        "this_page": this_page(request),
        "zone_param": request.query_params.get("zone", ""),
        "now": now,
        "is_open": app_state.config.console_open,
    }


def this_page(request: AnyRequest) -> str:
    """Return the path and query of the page, to return to it; the page of the menu for one that a form made."""
    if request.method != HttpMethod.GET:
        return menu_page(request.url.path)
    return f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path


def menu_page(path: str) -> str:
    """Return the page of the menu that a page belongs to.

    >>> menu_page("/calls/3631A2124XXX/1777287876.1"), menu_page("/alarms"), menu_page("/about")
    ('/calls', '/issues', '/about')
    """
    first = "/" + path.split("/")[1]
    return _MENU_PAGES.get(first, first)
