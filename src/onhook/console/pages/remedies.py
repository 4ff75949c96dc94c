"""`/issues/…` and `/rebuild`: what an issue says is to be done, where the server can do it itself.

Other remedies are forms of the pages that they belong to: back-fills and diagnostics of a PBX, retries of a
destination, retries of the quarantine. `remedies.html` has the button for each kind of issue.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated

import msgspec
from litestar import post
from litestar.response import Redirect

from onhook.appdb.appdb import AppDb
from onhook.appdb.stored_json import UnreadableRow
from onhook.console.pages.formatting import url
from onhook.console.pages.page import FORM_BODY, MESSAGE_CHARACTERS_MAX
from onhook.console.state import AppStateDep
from onhook.lib.errors import NotFound, OnhookError
from onhook.lib.messages import _

REMOVERS: Mapping[str, Callable[[AppDb, str], Awaitable[object]]] = {
    "pbxs": lambda appdb, name: appdb.remove_pbx(name),
    "users": lambda appdb, name: appdb.users.remove(name),
    "tokens": lambda appdb, name: appdb.tokens.remove(name),
    "apps": lambda appdb, name: appdb.apps.remove(name),
    "destinations": lambda appdb, name: appdb.destinations.remove(name),
}
"""Removes what cannot be read, by table: what has a name of its own, and a command that removes it."""


class UnreadableRowForm(msgspec.Struct, frozen=True):
    """Content of the form that removes a row that cannot be read."""

    table: str = ""
    name: str = ""


class RebuildForm(msgspec.Struct, frozen=True):
    """Content of the form that orders a rebuild, from the page of a PBX or from that of the issues."""

    sn: str = ""


@post("/issues/permissions", include_in_schema=False, status_code=200)
async def restrict_permissions(app_state: AppStateDep) -> Redirect:
    """Take from other users of the machine the right to read the data directory."""
    try:
        names = await app_state.actions.restrict_permissions()
        action = f"restrict the permissions of {', '.join(names) or 'no file'}"
        await app_state.appdb.audit.add_action(action, now_us=app_state.clock.microseconds())
    except OnhookError as error:
        return _redirect(error=str(error))
    return _redirect(_("Only their owner can read the files now. The issue ends within minutes."))


@post("/issues/unreadable/remove", include_in_schema=False, status_code=200)
async def remove_unreadable(app_state: AppStateDep, data: Annotated[UnreadableRowForm, FORM_BODY]) -> Redirect:
    """Remove something that cannot be read."""
    rows = await app_state.appdb.list_unreadable()
    try:
        if not any(is_removable(row) and (row.table, row.name) == (data.table, data.name) for row in rows):
            raise NotFound(_("there is no such row"), hint=_("it may have been removed already, or can be read again"))
        await REMOVERS[data.table](app_state.appdb, data.name)
    except OnhookError as error:
        return _redirect(error=str(error))
    return _redirect(_("{name} in {table} was removed.", name=data.name, table=data.table))


@post("/rebuild", include_in_schema=False, status_code=200)
async def order_rebuild(app_state: AppStateDep, data: Annotated[RebuildForm, FORM_BODY]) -> Redirect:
    """Have all events read again, so that settings apply to earlier calls too."""
    path = f"/pbxs/{(await app_state.appdb.pbx(data.sn)).sn}" if data.sn else "/issues"
    try:
        await app_state.actions.rebuild()
        await app_state.appdb.audit.add_action("rebuild the store", now_us=app_state.clock.microseconds())
    except OnhookError as error:
        return _redirect(error=str(error), path=path)
    message = _("All events are being read again. These pages show the calls as they were until that is done.")
    return _redirect(message, path=path)


ROUTES = (restrict_permissions, remove_unreadable, order_rebuild)


def is_removable(row: UnreadableRow) -> bool:
    """Return whether there is a button that removes a row."""
    return row.table in REMOVERS and bool(row.name)


def _redirect(message: str = "", *, error: str = "", path: str = "/issues") -> Redirect:
    texts = {"message": message[:MESSAGE_CHARACTERS_MAX], "error": error[:MESSAGE_CHARACTERS_MAX]}
    return Redirect(url(path, **texts), status_code=303)
