"""`/sign-in`, `/invitation` and `/sign-out`: a token or a password is exchanged for a cookie.

Invariants: no token stays in a URL. A link does not sign in by itself: it shows a button, and another site's page can
send none of these forms. Passwords are checked a few at a time, because each check costs memory and time on purpose;
see `auth.failures` for the waits after wrong ones.
"""

import asyncio
from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Response, get, post
from litestar.exceptions import PermissionDeniedException, TooManyRequestsException
from litestar.params import QueryParameter
from litestar.response import Redirect

from onhook.appdb.passwords import is_outdated_hash, verify_password
from onhook.appdb.pbxs import NAME_CHARACTERS_MAX
from onhook.appdb.stored_json import RowUnreadable
from onhook.appdb.tokens import TOKEN_CHARACTERS_MAX, Token
from onhook.console.auth.access import OPEN, check_token, client_address, is_cross_site, read_session_ids
from onhook.console.auth.failures import RETRY_SECONDS, TooManyTries
from onhook.console.auth.passkeys import find_relying_party
from onhook.console.auth.second_step import sign_user_in
from onhook.console.auth.session_start import (
    NEXT_CHARACTERS_MAX,
    local_path,
    record_sign_in,
    session_cookie,
    start_token_session,
)
from onhook.console.pages.page import FORM_BODY
from onhook.console.pages.rendering import View, render
from onhook.console.problem_documents import Problem, ProblemView
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import NotAllowed, OnhookError, UsageError
from onhook.lib.messages import _

Next = Annotated[str, QueryParameter(max_length=NEXT_CHARACTERS_MAX)]
TokenText = Annotated[str, QueryParameter(max_length=TOKEN_CHARACTERS_MAX)]


class SignInForm(msgspec.Struct, frozen=True):
    """Content of the form."""

    token: str = ""
    name: str = ""
    password: str = ""
    next: str = "/"


class AcceptInvitationForm(msgspec.Struct, frozen=True):
    """Content of the form of an invitation."""

    invitation: str = ""
    username: str = ""
    """For the browser's password manager; the invitation identifies the user."""
    password: str = ""
    password_repeat: str = ""


class SignInView(View, frozen=True, kw_only=True):
    """Values of the sign-in page; `next` is the page after it."""

    template: ClassVar = "sign_in.html"
    next: str
    error: str
    can_use_passkeys: bool
    provider_label: str


class SignInLinkView(View, frozen=True, kw_only=True):
    """Values of the page that a sign-in link opens: the token, its name, and the page after it."""

    template: ClassVar = "sign_in_link.html"
    token: str
    name: str
    next: str
    can_add_account: bool = False
    """Whether there is no user yet, and the token may add the first one."""


class InvitationView(View, frozen=True, kw_only=True):
    """Values of the page on which an invited user chooses a password."""

    template: ClassVar = "invitation.html"
    name: str
    invitation: str
    error: str = ""


@get("/sign-in", opt=OPEN, include_in_schema=False)
async def sign_in_by_link(
    request: AnyRequest,
    app_state: AppStateDep,
    token: TokenText = "",
    next: Next = "/",  # noqa: A002 - the name in the URL
) -> Response[Any]:
    """Return the page of the link that the start prints: a button that signs in. Without a token, return the form."""
    if not token:
        return await render_sign_in(app_state, next)
    valid_token = await _find_token(request, app_state, token, next)
    if isinstance(valid_token, Response):
        return valid_token
    can_add_account = valid_token.role == "administrator" and not await app_state.appdb.users.all()
    return _html_response(
        SignInLinkView(token=token, name=valid_token.name, next=local_path(next), can_add_account=can_add_account)
    )


@post("/sign-in", opt=OPEN, include_in_schema=False, status_code=200)
async def sign_in_by_form(
    request: AnyRequest,
    app_state: AppStateDep,
    data: Annotated[SignInForm, FORM_BODY],
) -> Response[Any]:
    """Sign in by name and password, or by a token in the form."""
    _reject_cross_site(request)
    if data.name.strip():
        return await _sign_in_with_password(request, app_state, data)
    return await _sign_in_with_token(request, app_state, data.token.strip(), data.next)


@get("/invitation", opt=OPEN, include_in_schema=False)
async def invitation_page(app_state: AppStateDep, invitation: TokenText = "") -> Response[Any]:
    """Return the page for choosing a password. Only sending the form uses the invitation up."""
    try:
        name = (await app_state.appdb.users.get_invited(invitation, now_us=app_state.clock.microseconds())).name
    except OnhookError as error:
        return _html_response(ProblemView(problem=_problem(error)), 401)
    return _html_response(InvitationView(name=name, invitation=invitation))


@post("/invitation", opt=OPEN, include_in_schema=False, status_code=200)
async def accept_invitation(
    request: AnyRequest,
    app_state: AppStateDep,
    data: Annotated[AcceptInvitationForm, FORM_BODY],
) -> Response[Any]:
    """Set the password, and sign in."""
    _reject_cross_site(request)
    users, now_us = app_state.appdb.users, app_state.clock.microseconds()
    try:
        name = (await users.get_invited(data.invitation, now_us=now_us)).name
    except OnhookError as error:
        return _html_response(ProblemView(problem=_problem(error)), 401)
    if data.password != data.password_repeat:
        return _html_response(
            InvitationView(name=name, invitation=data.invitation, error=_("The passwords differ.")), 400
        )
    try:
        user = await users.accept_invitation(data.invitation, data.password, now_us=now_us)
    except UsageError as error:
        return _html_response(InvitationView(name=name, invitation=data.invitation, error=str(error)), 400)
    return await sign_user_in(request, app_state, user, "invitation", "/")


@post("/sign-out", opt=OPEN, include_in_schema=False, status_code=200)
async def sign_out(request: AnyRequest, app_state: AppStateDep) -> Response[Any]:
    """End the session. Browsers send its cookie from Onhook's own pages only (SameSite=Strict), so no other site can
    end it.
    """
    _reject_cross_site(request)
    await app_state.appdb.sessions.end(read_session_ids(request, app_state))
    response = Redirect("/sign-in", status_code=303)
    response.set_cookie(session_cookie(request, app_state, "", seconds=0))
    return response


def _reject_cross_site(request: AnyRequest) -> None:
    """Raise 403 for a form that another site's page sent: it would sign a person in as another user."""
    if is_cross_site(request):
        raise PermissionDeniedException(_("sign in from a page of this console"))


async def _find_token(request: AnyRequest, app_state: AppState, token: str, next_path: str) -> Token | Response[Any]:
    """Return the token with this text, or the page with the error."""
    try:
        return await check_token(request, app_state, token)
    except NotAllowed:
        return await render_sign_in(app_state, next_path, _("This token is not valid."), status=401)
    except TooManyRequestsException as error:
        text = _("Too many wrong tokens: wait a minute.")
        return await render_sign_in(app_state, next_path, text, status=429, headers=error.headers)


async def _sign_in_with_token(request: AnyRequest, app_state: AppState, token: str, next_path: str) -> Response[Any]:
    valid_token = await _find_token(request, app_state, token, next_path)
    if isinstance(valid_token, Response):
        return valid_token
    return await start_token_session(request, app_state, valid_token.name, token, next_path)


async def _sign_in_with_password(request: AnyRequest, app_state: AppState, data: SignInForm) -> Response[Any]:
    name, users = data.name.strip()[:NAME_CHARACTERS_MAX], app_state.appdb.users
    try:
        async with app_state.password_tries.turn(name, client_address(request)) as password_try:
            password_hash = await users.get_password_hash(name)
            is_correct = await asyncio.to_thread(verify_password, data.password, password_hash)
            is_known = is_correct and password_hash is not None
            user = await users.find_with_password_hash(name, password_hash or b"") if is_known else None
            if user is not None:
                await password_try.record_success()
            if user is not None and password_hash is not None and is_outdated_hash(password_hash):
                await users.renew_password_hash(user.name, data.password, password_hash)
    except TooManyTries as error:
        headers = {"Retry-After": RETRY_SECONDS}
        return await render_sign_in(app_state, data.next, str(error), status=429, headers=headers)
    if user is None:
        await record_sign_in(request, app_state, name, "password", 401)
        return await render_sign_in(app_state, data.next, _("Wrong name or password."), status=401)
    return await sign_user_in(request, app_state, user, "password", data.next)


def _problem(error: OnhookError) -> Problem:
    return Problem(title="Unauthorized", status=401, detail=error.message, hint=error.hint)


def _html_response(view: View, status: int = 200, headers: dict[str, str] | None = None) -> Response[Any]:
    return Response(render(view), status_code=status, media_type="text/html", headers=headers)


async def render_sign_in(
    app_state: AppState, next_path: str, error: str = "", *, status: int = 200, headers: dict[str, str] | None = None
) -> Response[Any]:
    """Return the page of the sign-in."""
    can_use_passkeys = await find_relying_party(app_state) is not None
    view = SignInView(
        next=local_path(next_path),
        error=error,
        can_use_passkeys=can_use_passkeys,
        provider_label=await find_provider_label(app_state),
    )
    return _html_response(view, status, headers)


async def find_provider_label(app_state: AppState) -> str:
    """Return the text of the button of the identity provider; an empty one without a provider."""
    try:
        settings = await app_state.appdb.identity_provider.get()
    except RowUnreadable:  # its page says why
        return ""
    return "" if settings is None else settings.label
