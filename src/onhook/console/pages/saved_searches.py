"""`/searches`: searches that are kept under a name, for everybody who may see the pages."""

from typing import Annotated

import msgspec
from litestar import post
from litestar.enums import RequestEncodingType
from litestar.params import BodyKwarg
from litestar.response import Redirect

from onhook.console.auth.access import visitor_of
from onhook.console.pages.page import AnyRequest
from onhook.console.state import Handed

FormOf = BodyKwarg(media_type=RequestEncodingType.URL_ENCODED)


class Keeping(msgspec.Struct, frozen=True):
    """What the form sends: a name, and the address of the search, page and query."""

    name: str = ""
    path: str = ""


class Dropping(msgspec.Struct, frozen=True):
    """What the button sends."""

    search_id: int = 0


@post("/searches", include_in_schema=False, status_code=200)
async def keep_search(request: AnyRequest, rooms: Handed, data: Annotated[Keeping, FormOf]) -> Redirect:
    """Keep it, and go back to it."""
    visitor = visitor_of(request.scope)
    rooms.settings.searches.keep(data.name, data.path, who=visitor.name if visitor else "")
    return Redirect(data.path, status_code=303)


@post("/searches/remove", include_in_schema=False, status_code=200)
async def remove_search(rooms: Handed, data: Annotated[Dropping, FormOf]) -> Redirect:
    """Keep it no more."""
    rooms.settings.searches.remove(data.search_id)
    return Redirect("/calls", status_code=303)


ROUTES = (keep_search, remove_search)
