"""`/api/v1/saved-searches`: saved searches, shared by all users."""

from typing import Annotated

import msgspec
from litestar import delete, get, post
from litestar.params import BodyKwarg, PathParameter

from onhook.appdb.saved_searches import QUERY_CHARACTERS_MAX, SavedSearch
from onhook.console.auth.access import SCOPED, get_principal
from onhook.console.parameters import SEQ_MAX, Label
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import AnyRequest, AppStateDep

SavedSearchId = Annotated[int, PathParameter(description="`search_id` of a search", ge=1, le=SEQ_MAX)]


class NewSavedSearch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A search to save: `path` is the URL of the page with its filters, such as `/calls?status=busy`."""

    name: Label
    path: Annotated[str, msgspec.Meta(min_length=1, max_length=QUERY_CHARACTERS_MAX)]


class SavedSearchList(msgspec.Struct, frozen=True):
    """All searches, by name."""

    data: list[SavedSearch]
    next: None = None


@get("/saved-searches", opt=SCOPED, summary="List saved searches", tags=["calls"], responses=PROBLEMS)
async def list_saved_searches(request: AnyRequest, app_state: AppStateDep) -> SavedSearchList:
    """List saved searches by name; a limited reader sees its own."""
    principal = get_principal(request.scope)
    searches = app_state.appdb.saved_searches
    return SavedSearchList(await searches.visible(principal.name, principal.scope) if principal else [])


@post("/saved-searches", summary="Save a search", tags=["calls"], responses=PROBLEMS)
async def save_search(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[NewSavedSearch, BodyKwarg()]
) -> SavedSearch:
    """Save a search for all users, under an unused name."""
    principal = get_principal(request.scope)
    return await app_state.appdb.saved_searches.add(data.name, data.path, author=principal.name if principal else "")


@delete("/saved-searches/{search_id:int}", summary="Remove a saved search", tags=["calls"], responses=PROBLEMS)
async def remove_saved_search(app_state: AppStateDep, search_id: SavedSearchId) -> None:
    """Remove a saved search; its link still works."""
    await app_state.appdb.saved_searches.remove(search_id)


ROUTES = (list_saved_searches, save_search, remove_saved_search)
