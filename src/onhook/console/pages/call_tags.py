"""`/calls/tags`: a tag is added to selected calls, or removed from them; the rest of their notes stays."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from litestar import post
from litestar.response import Redirect

from onhook.appdb.notes import parse_tags
from onhook.cdr.record import Call
from onhook.console.auth.access import ANNOTATES, get_access_scope, get_principal
from onhook.console.pages.page import FORM_BODY
from onhook.console.pages.reader_settings import local_path
from onhook.console.queries.calls import find_call, list_notes, write_note
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

CALLS_MAX = 200
"""Selected calls: some pages of them are no longer chosen by hand."""

KEY_SEPARATOR = "\n"
"""Between serial number and id of a call: neither contains it."""


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
    keys = [data.call] if isinstance(data.call, str) else data.call
    tags = parse_tags(data.tags)
    _check(keys, tags)
    principal, scope = get_principal(request.scope), get_access_scope(request.scope)
    calls = [await find_call(app_state, *split_key(key), scope) for key in dict.fromkeys(keys)]
    async with app_state.appdb.transaction():
        for call in calls:
            await _change(app_state, call, tags, principal.name if principal else "", is_added=data.action == "add")
    return Redirect(local_path(data.next, without=""), status_code=303)


def _check(keys: Sequence[str], tags: Sequence[str]) -> None:
    if not keys or not tags:
        raise UsageError(_("no call or no tag is chosen"), hint=_("select calls in the list, and write a tag"))
    if len(keys) > CALLS_MAX:
        raise UsageError(_("more than {maximum} calls are selected", maximum=CALLS_MAX), hint=_("select fewer"))


def split_key(key: str) -> tuple[str, str]:
    """Return serial number and id of a selected call."""
    sn, _separator, call_id = key.replace("\r\n", KEY_SEPARATOR).partition(KEY_SEPARATOR)
    return sn, call_id


async def _change(app_state: AppState, call: Call, tags: Sequence[str], author: str, *, is_added: bool) -> None:
    versions = await list_notes(app_state, call)
    old_tags = versions[0].tags if versions else ()
    new_tags = [*old_tags, *tags] if is_added else [tag for tag in old_tags if tag not in tags]
    await write_note(app_state, call, versions[0].text if versions else "", ",".join(new_tags), author)


ROUTES = (change_tags,)
