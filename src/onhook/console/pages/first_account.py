"""`/first-account`: the first user, an administrator, added by a browser that signed in with an administrator's token.

Invariants: it adds a user only while there is none; the session of the token ends.
"""

from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Response, get, post
from litestar.response import Redirect

from onhook.console.auth.access import FOR_ADMINISTRATORS, require_session
from onhook.console.auth.session_start import start_user_session
from onhook.console.pages.page import FORM_BODY, render_page
from onhook.console.pages.rendering import View
from onhook.console.parameters import ReaderZone
from onhook.console.state import AnyRequest, AppStateDep
from onhook.lib.errors import UsageError
from onhook.lib.messages import _


class FirstAccountForm(msgspec.Struct, frozen=True):
    """Content of the form."""

    name: str = ""
    password: str = ""
    password_repeat: str = ""


class FirstAccountView(View, frozen=True, kw_only=True):
    """Values of the page; the name is the one entered before an error."""

    template: ClassVar = "first_account.html"
    name: str = ""
    error: str = ""


@get("/first-account", opt=FOR_ADMINISTRATORS, include_in_schema=False)
async def first_account_page(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone
) -> Response[str] | Redirect:
    """Return the form; where there are users, the page of users."""
    if await app_state.appdb.users.all():
        return Redirect("/users", status_code=303)
    return await render_page(request, app_state, reader_zone, FirstAccountView())


@post("/first-account", include_in_schema=False, status_code=200)
async def add_first_account(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[FirstAccountForm, FORM_BODY]
) -> Response[Any]:
    """Add the user, and sign in as this user."""
    require_session(request.scope)
    try:
        if data.password != data.password_repeat:
            raise UsageError(_("The passwords differ."))
        user = await app_state.appdb.users.add_first(data.name, data.password, now_us=app_state.clock.microseconds())
    except UsageError as error:
        view = FirstAccountView(name=data.name, error=str(error))
        return await render_page(request, app_state, reader_zone, view)
    return await start_user_session(request, app_state, user, "password", "/")


ROUTES: tuple[Any, ...] = (first_account_page, add_first_account)
