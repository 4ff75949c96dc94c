"""`/calls/tags`: a tag is added to selected calls, or removed from them; the rest of their notes stays."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from litestar import post
from litestar.response import Redirect

from onhook.appdb.notes import parse_tags
from onhook.console.auth.access import ANNOTATES, get_access_scope, get_principal
from onhook.console.pages.page import FORM_BODY
from onhook.console.pages.reader_settings import local_path
from onhook.console.pages.selected_calls import find_selected_calls
from onhook.console.queries.calls import FoundCall, list_notes, write_note
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import UsageError
from onhook.lib.messages import _


class CallTagsForm(msgspec.Struct, frozen=True):
    """Content of the form: a call or several, a tag or several."""

    call: str | list[str] = []
    tags: str = ""
    action: Literal["add", "remove"] = "add"
    next: str = "/calls"


@post("/calls/tags", opt=ANNOTATES, include_in_schema=False, status_code=200)
async def change_tags(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[CallTagsForm, FORM_BODY]
) -> Redirect:
    """Add or remove tags of the selected calls, of all or of none, and return to the list."""
    if not (tags := parse_tags(data.tags)):
        raise UsageError(_("no tag is chosen"), hint=_("write a tag"))
    principal = get_principal(request.scope)
    calls = await find_selected_calls(app_state, data.call, get_access_scope(request.scope))
    async with app_state.appdb.transaction():
        for call in calls:
            await _change(app_state, call, tags, principal.name if principal else "", is_added=data.action == "add")
    return Redirect(local_path(data.next, without=""), status_code=303)


async def _change(
    app_state: AppState, found_call: FoundCall, tags: Sequence[str], author: str, *, is_added: bool
) -> None:
    # The store was read before the transaction, in which other writers wait.
    versions = await list_notes(app_state, found_call.call, found_call.original)
    old_tags = versions[0].tags if versions else ()
    new_tags = [*old_tags, *tags] if is_added else [tag for tag in old_tags if tag not in tags]
    text = versions[0].text if versions else ""
    await write_note(app_state, found_call.call, text, ",".join(new_tags), author, found_call.original)


ROUTES = (change_tags,)
