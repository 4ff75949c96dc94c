"""What every page is made with: who looks, by which clock, at what time."""

from typing import Any
from zoneinfo import ZoneInfo

from litestar import Request, Response

from onhook.console.access import visitor_of
from onhook.console.rendering import render
from onhook.console.rooms import Rooms

AnyRequest = Request[Any, Any, Any]


def page(request: AnyRequest, rooms: Rooms, zone: ZoneInfo, template: str, /, **values: Any) -> Response[str]:
    """The page that a template makes of these values, for the one who asks."""
    around = {
        "visitor": visitor_of(request.scope),
        "zone": zone,
        "zone_asked": request.query_params.get("zone", ""),
        "now": rooms.clock.now(),
        "is_open": rooms.config.console_open,
    }
    return Response(render(template, **around, **values), media_type="text/html")
