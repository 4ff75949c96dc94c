"""`/sign-in/code`: the second step of a sign-in, for a browser whose first step has succeeded."""

from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Response, get, post
from litestar.exceptions import PermissionDeniedException
from litestar.response import Redirect

from onhook.appdb.second_factors import TooManyCodes, WrongCode
from onhook.console.auth.access import OPEN, is_cross_site
from onhook.console.auth.second_step import complete_sign_in, find_pending, use_code
from onhook.console.pages.page import FORM_BODY
from onhook.console.pages.rendering import View, render
from onhook.console.state import AnyRequest, AppStateDep
from onhook.lib.messages import _


class SignInCodeForm(msgspec.Struct, frozen=True):
    """Content of the form: a code of the app, or a recovery code."""

    code: str = ""


class SignInCodeView(View, frozen=True, kw_only=True):
    """Values of the page."""

    template: ClassVar = "sign_in_code.html"
    error: str = ""


@get("/sign-in/code", opt=OPEN, include_in_schema=False)
async def sign_in_code_page(request: AnyRequest, app_state: AppStateDep) -> Response[Any]:
    """Return the page that asks for a code; a browser without a first step gets the page of the sign-in."""
    if await find_pending(request, app_state) is None:
        return Redirect("/sign-in", status_code=303)
    return _code_page()


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
        return _code_page(str(error), 429)
    except WrongCode as error:
        return _code_page(str(error), 401)
    return await complete_sign_in(request, app_state, pending, factor)


ROUTES: tuple[Any, ...] = (sign_in_code_page, sign_in_by_code)


def _code_page(error: str = "", status: int = 200) -> Response[str]:
    return Response(render(SignInCodeView(error=error)), status_code=status, media_type="text/html")
