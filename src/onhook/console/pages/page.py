"""What every page is made with: who looks, by which clock, at what time."""

import re
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from litestar import Request, Response

from onhook.console.auth.access import get_principal
from onhook.console.pages.rendering import render
from onhook.console.state import AppState
from onhook.delivery.issues import Issue, find_all_issues

_MENU_PAGES = {"/call": "/calls", "/alarms": "/attention", "/quarantine": "/attention", "/audit": "/people"}
"""Pages that stand below one of the menu."""

_RAW_EVENT_PATH = re.compile(r"/reports/[0-9]+")
"""As a PBX sent it: not a report over calls."""

AnyRequest = Request[Any, Any, Any]


def render_page(request: AnyRequest, rooms: AppState, zone: ZoneInfo, template: str, /, **values: Any) -> Response[str]:
    """The page that a template makes of these values, for the one who asks."""
    return html_page(template, **common_values(rooms, request, zone, rooms.clock.now()), **values)


def common_values(rooms: AppState, request: AnyRequest, zone: ZoneInfo, now: datetime) -> dict[str, Any]:
    """What every page is told of the one who asks, of his zone, and of now."""
    principal = get_principal(request.scope)
    return {
        "place": menu_page(request.url.path),
        "visitor": principal,
        "plights": list_issues(rooms) if principal is not None and principal.limits is None else (),
        "zone": zone,
        "zone_asked": request.query_params.get("zone", ""),
        "now": now,
        "is_open": rooms.config.console_open,
    }


def menu_page(path: str) -> str:
    """The page of the menu that a page belongs to.

    >>> menu_page("/calls/3631A2124XXX/1777287876.1"), menu_page("/alarms"), menu_page("/about")
    ('/calls', '/attention', '/about')
    """
    first = "/" + path.split("/")[1]
    return _MENU_PAGES.get(first, first) if not _RAW_EVENT_PATH.fullmatch(path) else "/attention"


def list_issues(rooms: AppState) -> list[Issue]:
    """What a person should know of subscriptions; for those who may see all of them."""
    appdb = rooms.settings
    return find_all_issues(appdb.subscriptions.all(), appdb.deliveries.backlogs(), rooms.clock.now())


def html_page(template: str, **values: Any) -> Response[str]:
    """The page that a template makes of these values."""
    return Response(render(template, **values), media_type="text/html")
