"""`/sign-in/code`: the second step of a sign-in, for a browser whose first step has succeeded."""

from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Response, get, post
from litestar.exceptions import PermissionDeniedException
from litestar.response import Redirect

from onhook.appdb.pending_sign_ins import PendingSignIn
from onhook.appdb.second_factors import TooManyCodes, WrongCode
from onhook.console.auth.access import OPEN, is_cross_site
from onhook.console.auth.passkeys import find_relying_party
from onhook.console.auth.second_step import complete_sign_in, find_pending, use_code
from onhook.console.pages.page import FORM_BODY
from onhook.console.pages.rendering import View, render
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.messages import _


class SignInCodeForm(msgspec.Struct, frozen=True):
    """Content of the form: a code of the app, or a recovery code."""

    code: str = ""


class SignInCodeView(View, frozen=True, kw_only=True):
    """Values of the page: whether the user has passkeys for this address, and codes."""

    template: ClassVar = "sign_in_code.html"
    has_passkeys: bool
    has_app: bool
    error: str = ""


@get("/sign-in/code", opt=OPEN, include_in_schema=False)
async def sign_in_code_page(request: AnyRequest, app_state: AppStateDep) -> Response[Any]:
    """Return the page that asks for a code; a browser without a first step gets the page of the sign-in."""
    pending = await find_pending(request, app_state)
    if pending is None:
        return Redirect("/sign-in", status_code=303)
    return await render_code_page(app_state, pending)


@post("/sign-in/code", opt=OPEN, include_in_schema=False, status_code=200)
async def sign_in_by_code(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[SignInCodeForm, FORM_BODY]
) -> Response[Any]:
    """Sign in by a code."""
    if is_cross_site(request):
        raise PermissionDeniedException(_("sign in from a page of this console"))
    pending = await find_pending(request, app_state)
    if pending is None:
        return Redirect("/sign-in", status_code=303)
    try:
        factor = await use_code(request, app_state, pending.user_name, data.code)
    except TooManyCodes as error:
        return await render_code_page(app_state, pending, str(error), 429)
    except WrongCode as error:
        return await render_code_page(app_state, pending, str(error), 401)
    return await complete_sign_in(request, app_state, pending, factor)


ROUTES: tuple[Any, ...] = (sign_in_code_page, sign_in_by_code)


async def render_code_page(
    app_state: AppState, pending: PendingSignIn, error: str = "", status: int = 200
) -> Response[str]:
    """Return the page that asks the user of a first step for a code or a passkey."""
    party = await find_relying_party(app_state)
    passkeys = await app_state.appdb.passkeys.of_user(pending.user_name)
    view = SignInCodeView(
        has_passkeys=party is not None and any(passkey.rp_id == party.rp_id for passkey in passkeys),
        has_app=await app_state.appdb.second_factors.has_app(pending.user_name),
        error=error,
    )
    return Response(render(view), status_code=status, media_type="text/html")
