"""`/api/v1/searches`: searches that are kept under a name, for everybody."""

from typing import Annotated

import msgspec
from litestar import delete, get, post
from litestar.params import BodyKwarg, PathParameter

from onhook.appdb.pbxs import NAME_CHARACTERS_MAX
from onhook.appdb.saved_searches import QUERY_CHARACTERS_MAX, Search
from onhook.console.api.records import SEQ_MAX
from onhook.console.auth.access import LIMITED, visitor_of
from onhook.console.pages.page import AnyRequest
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import Handed

SearchId = Annotated[int, PathParameter(description="`search_id` of a search", ge=1, le=SEQ_MAX)]


class Keeping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A search to keep: `path` is the address of the page with its filters, such as `/calls?status=busy`."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARACTERS_MAX)]
    path: Annotated[str, msgspec.Meta(min_length=1, max_length=QUERY_CHARACTERS_MAX)]


class Searches(msgspec.Struct, frozen=True):
    """All searches, by name."""

    data: list[Search]
    next: None = None


@get("/searches", opt=LIMITED, summary="Searches that are kept", tags=["calls"], responses=PROBLEMS)
async def list_searches(rooms: Handed) -> Searches:
    """For everybody, by name; each finds what the one who asks may see."""
    return Searches(rooms.settings.searches.all())


@post("/searches", summary="Keep a search", tags=["calls"], responses=PROBLEMS)
async def keep_search(request: AnyRequest, rooms: Handed, data: Annotated[Keeping, BodyKwarg()]) -> Search:
    """For everybody, under a name that no other has."""
    visitor = visitor_of(request.scope)
    return rooms.settings.searches.keep(data.name, data.path, who=visitor.name if visitor else "")


@delete("/searches/{search_id:int}", summary="Keep a search no more", tags=["calls"], responses=PROBLEMS)
async def remove_search(rooms: Handed, search_id: SearchId) -> None:
    """Its link works all the same."""
    rooms.settings.searches.remove(search_id)


ROUTES = (list_searches, keep_search, remove_search)
