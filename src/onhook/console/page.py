"""What every page is made with: who looks, by which clock, at what time."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from litestar import Request, Response

from onhook.console.access import visitor_of
from onhook.console.rendering import render
from onhook.console.rooms import Rooms
from onhook.delivery.plight import Plight, all_plights

AnyRequest = Request[Any, Any, Any]


def page(request: AnyRequest, rooms: Rooms, zone: ZoneInfo, template: str, /, **values: Any) -> Response[str]:
    """The page that a template makes of these values, for the one who asks."""
    return page_of(template, **zone_and_time(rooms, request, zone, rooms.clock.now()), **values)


def zone_and_time(rooms: Rooms, request: AnyRequest, zone: ZoneInfo, now: datetime) -> dict[str, Any]:
    """What every page is told of the one who asks, of his zone, and of now."""
    visitor = visitor_of(request.scope)
    return {
        "visitor": visitor,
        "plights": plights_now(rooms) if visitor is not None and visitor.limits is None else (),
        "zone": zone,
        "zone_asked": request.query_params.get("zone", ""),
        "now": now,
        "is_open": rooms.config.console_open,
    }


def plights_now(rooms: Rooms) -> list[Plight]:
    """What a person should know of subscriptions; for those who may see all of them."""
    settings = rooms.settings
    return all_plights(settings.subscriptions.all(), settings.deliveries.backlogs(), rooms.clock.now())


def page_of(template: str, **values: Any) -> Response[str]:
    """The page that a template makes of these values."""
    return Response(render(template, **values), media_type="text/html")
