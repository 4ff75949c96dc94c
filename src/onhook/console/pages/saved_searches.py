"""`/saved-searches`: saved searches, shared by all users."""

from typing import Annotated

import msgspec
from litestar import post
from litestar.response import Redirect

from onhook.console.auth.access import get_principal
from onhook.console.pages.page import FORM_BODY
from onhook.console.state import AnyRequest, AppStateDep


class SaveSearchForm(msgspec.Struct, frozen=True):
    """Content of the form: a name, and the address of the search, page and query."""

    name: str = ""
    path: str = ""


class RemoveSearchForm(msgspec.Struct, frozen=True):
    """Content of the button's form."""

    search_id: int = 0


@post("/saved-searches", include_in_schema=False, status_code=200)
async def save_search(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[SaveSearchForm, FORM_BODY]
) -> Redirect:
    """Save a search, and return to it."""
    principal = get_principal(request.scope)
    await app_state.appdb.saved_searches.add(data.name, data.path, author=principal.name if principal else "")
    return Redirect(data.path, status_code=303)


@post("/saved-searches/remove", include_in_schema=False, status_code=200)
async def remove_saved_search(app_state: AppStateDep, data: Annotated[RemoveSearchForm, FORM_BODY]) -> Redirect:
    """Remove a saved search."""
    await app_state.appdb.saved_searches.remove(data.search_id)
    return Redirect("/calls", status_code=303)


ROUTES = (save_search, remove_saved_search)
