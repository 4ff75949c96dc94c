"""What every page is made with: who looks, by which clock, at what time."""

import re
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from litestar import Request, Response

from onhook.console.auth.access import visitor_of
from onhook.console.pages.rendering import render
from onhook.console.state import Rooms
from onhook.delivery.issues import Plight, all_plights

_PLACES = {"/call": "/calls", "/alarms": "/attention", "/quarantine": "/attention", "/audit": "/people"}
"""Pages that stand below one of the menu."""

_REPORT = re.compile(r"/reports/[0-9]+")
"""As a PBX sent it: not a report over calls."""

AnyRequest = Request[Any, Any, Any]


def page(request: AnyRequest, rooms: Rooms, zone: ZoneInfo, template: str, /, **values: Any) -> Response[str]:
    """The page that a template makes of these values, for the one who asks."""
    return page_of(template, **zone_and_time(rooms, request, zone, rooms.clock.now()), **values)


def zone_and_time(rooms: Rooms, request: AnyRequest, zone: ZoneInfo, now: datetime) -> dict[str, Any]:
    """What every page is told of the one who asks, of his zone, and of now."""
    visitor = visitor_of(request.scope)
    return {
        "place": place_of(request.url.path),
        "visitor": visitor,
        "plights": plights_now(rooms) if visitor is not None and visitor.limits is None else (),
        "zone": zone,
        "zone_asked": request.query_params.get("zone", ""),
        "now": now,
        "is_open": rooms.config.console_open,
    }


def place_of(path: str) -> str:
    """The page of the menu that a page belongs to.

    >>> place_of("/calls/3631A2124XXX/1777287876.1"), place_of("/alarms"), place_of("/about")
    ('/calls', '/attention', '/about')
    """
    first = "/" + path.split("/")[1]
    return _PLACES.get(first, first) if not _REPORT.fullmatch(path) else "/attention"


def plights_now(rooms: Rooms) -> list[Plight]:
    """What a person should know of subscriptions; for those who may see all of them."""
    settings = rooms.settings
    return all_plights(settings.subscriptions.all(), settings.deliveries.backlogs(), rooms.clock.now())


def page_of(template: str, **values: Any) -> Response[str]:
    """The page that a template makes of these values."""
    return Response(render(template, **values), media_type="text/html")
