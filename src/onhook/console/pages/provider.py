"""`/sign-in/provider` and `/account/provider`: signing in by the identity provider, and linking an account of it.

The provider is another site: where it leads a browser back to, the cookie of a session is not sent yet, so that the
answer is a page that leads on.
"""

from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Response, get, post
from litestar.params import QueryParameter
from litestar.response import Redirect

from onhook.console.auth.access import OPEN, OPEN_ANSWER, PERSONAL, require_session
from onhook.console.auth.failures import TooManyTries
from onhook.console.auth.password_check import check_password
from onhook.console.auth.provider_sign_in import (
    NoProviderRequest,
    ProviderAnswer,
    begin_provider_request,
    find_provider_user,
    link_identity,
    provider_cookie,
    read_provider_answer,
)
from onhook.console.auth.second_step import sign_user_in
from onhook.console.auth.session_start import NEXT_CHARACTERS_MAX, record_sign_in, start_user_session
from onhook.console.pages.formatting import url
from onhook.console.pages.page import FORM_BODY
from onhook.console.pages.rendering import View, render
from onhook.console.pages.second_factor import back_to_account, require_user
from onhook.console.pages.sign_in import render_sign_in
from onhook.console.state import AnyRequest, AppStateDep
from onhook.lib.errors import NotAllowed, OnhookError, UsageError
from onhook.lib.messages import _

ANSWER_CHARACTERS_MAX = 4_000
"""Of one parameter of an answer: codes of some providers have two thousand."""

Next = Annotated[str, QueryParameter(max_length=NEXT_CHARACTERS_MAX)]
AnswerText = Annotated[str, QueryParameter(max_length=ANSWER_CHARACTERS_MAX)]
StateText = Annotated[str, QueryParameter(name="state", max_length=ANSWER_CHARACTERS_MAX)]
"""`state` itself is a name of the framework."""


class AccountLinkForm(msgspec.Struct, frozen=True):
    """Content of the forms on the page of the account."""

    current_password: str = ""


class LeadOnView(View, frozen=True, kw_only=True):
    """Values of a page that leads on to another one, by itself and by a link."""

    template: ClassVar = "lead_on.html"
    url: str


@get("/sign-in/provider", opt=OPEN, include_in_schema=False)
async def begin_provider_sign_in(
    request: AnyRequest,
    app_state: AppStateDep,
    next: Next = "/",  # noqa: A002 - the name in the URL
) -> Response[Any]:
    """Send the browser to the identity provider."""
    try:
        address, cookie = await begin_provider_request(request, app_state, next_path=next)
    except OnhookError as error:
        return await render_sign_in(app_state, next, str(error), status=error.http_status)
    response = Redirect(address, status_code=303)
    response.set_cookie(cookie)
    return response


@get("/sign-in/provider/callback", opt=OPEN_ANSWER, include_in_schema=False)
async def complete_provider_sign_in(
    request: AnyRequest,
    app_state: AppStateDep,
    *,
    code: AnswerText = "",
    state_text: StateText = "",
    iss: AnswerText = "",
    error: AnswerText = "",
    error_description: AnswerText = "",
) -> Response[Any]:
    """Sign in whom the provider names, or link the account."""
    answer = ProviderAnswer(code=code, state=state_text, iss=iss, error=error, error_description=error_description)
    try:
        identity = await read_provider_answer(request, app_state, answer)
        if identity.request.session_number:
            await link_identity(app_state, identity)
            return _lead_on(url("/account", message=_("Account linked.")))
        user = await find_provider_user(app_state, identity)
        for number in identity.request.earlier_session_numbers:
            await app_state.appdb.sessions.end_by_number(number)
        next_path = identity.request.next_path
        if identity.settings.counts_as_factor:
            response = await start_user_session(request, app_state, user, "provider", next_path, factor="provider")
        else:
            response = await sign_user_in(request, app_state, user, "provider", next_path)
    except NoProviderRequest as refusal:  # every client can send one, so that the audit log has none
        return await render_sign_in(app_state, "/", str(refusal), status=refusal.http_status)
    except OnhookError as refusal:
        await record_sign_in(request, app_state, "", "provider", 401)
        return await render_sign_in(app_state, "/", str(refusal), status=refusal.http_status)
    page = _lead_on(response.url)
    for cookie in (*response.cookies, provider_cookie(request, "", seconds=0)):
        page.set_cookie(cookie)
    return page


@post("/account/provider", opt=PERSONAL, include_in_schema=False, status_code=200)
async def begin_link(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[AccountLinkForm, FORM_BODY]
) -> Response[Any]:
    """Send the browser to the identity provider, to link the account there to the user."""
    session = require_session(request.scope)
    try:
        user = await require_user(app_state, session)
        if not user.has_password:
            raise UsageError(_("you sign in without a password"))
        await check_password(request, app_state, user, data.current_password)
        address, cookie = await begin_provider_request(request, app_state, next_path="/account", session=session)
    except TooManyTries:
        raise
    except OnhookError as error:
        return back_to_account(str(error))
    page = _lead_on(address)
    page.set_cookie(cookie)
    return page


@post("/account/provider/remove", opt=PERSONAL, include_in_schema=False, status_code=200)
async def remove_link(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[AccountLinkForm, FORM_BODY]
) -> Redirect:
    """Remove the link of a user who can sign in by a password."""
    user = await require_user(app_state, require_session(request.scope))
    try:
        if not user.has_password:
            raise UsageError(_("you sign in without a password"), hint=_("an administrator can invite you to have one"))
        await check_password(request, app_state, user, data.current_password)
    except (UsageError, NotAllowed) as error:
        return back_to_account(str(error))
    await app_state.appdb.identity_provider.unlink(user.name)
    return Redirect(url("/account", message=_("Link removed.")), status_code=303)


ROUTES: tuple[Any, ...] = (begin_provider_sign_in, complete_provider_sign_in, begin_link, remove_link)


def _lead_on(address: str) -> Response[str]:
    return Response(render(LeadOnView(url=address)), media_type="text/html", status_code=200)
