"""`/api/v1/searches`: searches that are kept under a name, for everybody."""

from typing import Annotated

import msgspec
from litestar import delete, get, post
from litestar.params import BodyKwarg, PathParameter

from onhook.appdb.pbxs import NAME_CHARACTERS_MAX
from onhook.appdb.saved_searches import QUERY_CHARACTERS_MAX, SavedSearch
from onhook.console.api.records import SEQ_MAX
from onhook.console.auth.access import SCOPED, get_principal
from onhook.console.pages.page import AnyRequest
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import AppStateDep

SavedSearchId = Annotated[int, PathParameter(description="`search_id` of a search", ge=1, le=SEQ_MAX)]


class NewSavedSearch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A search to keep: `path` is the address of the page with its filters, such as `/calls?status=busy`."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARACTERS_MAX)]
    path: Annotated[str, msgspec.Meta(min_length=1, max_length=QUERY_CHARACTERS_MAX)]


class SavedSearchList(msgspec.Struct, frozen=True):
    """All searches, by name."""

    data: list[SavedSearch]
    next: None = None


@get("/searches", opt=SCOPED, summary="Searches that are kept", tags=["calls"], responses=PROBLEMS)
async def list_saved_searches(rooms: AppStateDep) -> SavedSearchList:
    """For everybody, by name; each finds what the one who asks may see."""
    return SavedSearchList(rooms.settings.searches.all())


@post("/searches", summary="Keep a search", tags=["calls"], responses=PROBLEMS)
async def save_search(
    request: AnyRequest, rooms: AppStateDep, data: Annotated[NewSavedSearch, BodyKwarg()]
) -> SavedSearch:
    """For everybody, under a name that no other has."""
    principal = get_principal(request.scope)
    return rooms.settings.searches.keep(data.name, data.path, who=principal.name if principal else "")


@delete("/searches/{search_id:int}", summary="Keep a search no more", tags=["calls"], responses=PROBLEMS)
async def remove_saved_search(rooms: AppStateDep, search_id: SavedSearchId) -> None:
    """Its link works all the same."""
    rooms.settings.searches.remove(search_id)


ROUTES = (list_saved_searches, save_search, remove_saved_search)
