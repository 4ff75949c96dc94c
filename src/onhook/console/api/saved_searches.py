"""`/api/v1/saved-searches`: searches that are kept under a name, for everybody."""

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


@get("/saved-searches", opt=SCOPED, summary="Searches that are kept", tags=["calls"], responses=PROBLEMS)
async def list_saved_searches(app_state: AppStateDep) -> SavedSearchList:
    """For everybody, by name; each finds what the one who asks may see."""
    return SavedSearchList(app_state.appdb.saved_searches.all())


@post("/saved-searches", summary="Keep a search", tags=["calls"], responses=PROBLEMS)
async def save_search(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[NewSavedSearch, BodyKwarg()]
) -> SavedSearch:
    """For everybody, under a name that no other has."""
    principal = get_principal(request.scope)
    return app_state.appdb.saved_searches.add(data.name, data.path, author=principal.name if principal else "")


@delete("/saved-searches/{search_id:int}", summary="Keep a search no more", tags=["calls"], responses=PROBLEMS)
async def remove_saved_search(app_state: AppStateDep, search_id: SavedSearchId) -> None:
    """Its link works all the same."""
    app_state.appdb.saved_searches.remove(search_id)


ROUTES = (list_saved_searches, save_search, remove_saved_search)
