"""`/account`: the password of the user, and the browsers in which the user is signed in.

Invariants: every route is for the session of the request and what belongs to its user or token, whatever the form says.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Response, get, post
from litestar.params import PathParameter
from litestar.response import Redirect

from onhook.appdb.passkeys import Passkey
from onhook.appdb.sessions import Session
from onhook.appdb.users import User
from onhook.console.auth.access import ENROLMENT_PAGE, PERSONAL, require_session
from onhook.console.auth.failures import RETRY_SECONDS, TooManyTries
from onhook.console.auth.passkeys import find_relying_party
from onhook.console.auth.password_check import check_password
from onhook.console.auth.session_start import start_user_session
from onhook.console.pages.formatting import url
from onhook.console.pages.page import FORM_BODY, MESSAGE_CHARACTERS_MAX, Message, render_page
from onhook.console.pages.rendering import View
from onhook.console.pages.sign_in import find_provider_label
from onhook.console.parameters import SEQ_MAX, ReaderZone
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import NotAllowed, UsageError
from onhook.lib.messages import _

SessionNumber = Annotated[int, PathParameter(ge=1, le=SEQ_MAX)]


class PasswordForm(msgspec.Struct, frozen=True):
    """Content of the form for another password."""

    current_password: str = ""
    password: str = ""
    password_repeat: str = ""


class AccountView(View, frozen=True, kw_only=True):
    """Values of the page: a session of a token has no `user`."""

    template: ClassVar = "account.html"
    user: User | None
    session: Session
    sessions: Sequence[Session]
    recovery_codes: int
    has_app: bool = False
    passkeys: Sequence[Passkey] = ()
    can_use_passkeys: bool
    provider_label: str = ""
    is_linked: bool = False
    message: str = ""
    error: str = ""


@get("/account", opt=ENROLMENT_PAGE, include_in_schema=False)
async def account_page(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, message: Message = "", error: Message = ""
) -> Response[str]:
    """Return the page of the account."""
    return await _render_account(request, app_state, reader_zone, message=message, error=error)


@post("/account/password", opt=PERSONAL, include_in_schema=False, status_code=200)
async def change_password(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[PasswordForm, FORM_BODY]
) -> Response[Any]:
    """Set another password: all sessions of the user end, and this browser has a new one."""
    session = require_session(request.scope)
    try:
        user = await _change_password(request, app_state, session, data)
    except TooManyTries as error:
        response = await _render_account(request, app_state, reader_zone, error=str(error), status=429)
        response.headers["Retry-After"] = RETRY_SECONDS
        return response
    except (UsageError, NotAllowed) as error:
        return await _render_account(request, app_state, reader_zone, error=str(error))
    next_path = _account_url(_("Password changed. Other browsers were signed out."))
    return await start_user_session(request, app_state, user, "password", next_path, factor=session.factor)


@post("/account/sessions/{number:int}/end", opt=PERSONAL, include_in_schema=False, status_code=200)
async def end_own_session(request: AnyRequest, app_state: AppStateDep, number: SessionNumber) -> Redirect:
    """Sign one browser of the same user or token out."""
    await _end_sessions(request, app_state, lambda session, _current: session.number == number)
    return Redirect(_account_url(_("Browser signed out.")), status_code=303)


@post("/account/sessions/end-others", opt=PERSONAL, include_in_schema=False, status_code=200)
async def end_other_sessions(request: AnyRequest, app_state: AppStateDep) -> Redirect:
    """Sign all browsers of the same user or token out but this one."""
    await _end_sessions(request, app_state, lambda session, current: session.number != current.number)
    return Redirect(_account_url(_("All other browsers were signed out.")), status_code=303)


ROUTES: tuple[Any, ...] = (account_page, change_password, end_own_session, end_other_sessions)


async def _change_password(request: AnyRequest, app_state: AppState, session: Session, form: PasswordForm) -> User:
    """Check the form and set the password; a wrong one counts as a failed sign-in. Raises `UsageError`, `NotAllowed`,
    `TooManyTries`.
    """
    users, now_us = app_state.appdb.users, app_state.clock.microseconds()
    user = await users.get(session.user_name) if session.user_name else None
    if user is None or not user.has_password:
        raise UsageError(_("you sign in without a password"))
    await check_password(request, app_state, user, form.current_password)
    if form.password != form.password_repeat:
        raise UsageError(_("The passwords differ."))
    return await users.change_password(user.name, form.password, password_version=user.password_version, now_us=now_us)


async def _end_sessions(
    request: AnyRequest, app_state: AppState, is_chosen: Callable[[Session, Session], bool]
) -> None:
    current = require_session(request.scope)
    sessions = app_state.appdb.sessions
    for session in await sessions.same_owner(current, app_state.clock.microseconds()):
        if is_chosen(session, current):
            await sessions.end_by_number(session.number)


def _account_url(message: str) -> str:
    return url("/account", message=message[:MESSAGE_CHARACTERS_MAX])


async def _render_account(
    request: AnyRequest, app_state: AppState, zone: ReaderZone, *, message: str = "", error: str = "", status: int = 200
) -> Response[str]:
    session = require_session(request.scope)
    user = await app_state.appdb.users.find(session.user_name) if session.user_name else None
    appdb = app_state.appdb
    view = AccountView(
        user=user,
        session=session,
        recovery_codes=0 if user is None else await appdb.second_factors.count_recovery_codes(user.name),
        has_app=user is not None and await appdb.second_factors.has_app(user.name),
        passkeys=[] if user is None else await appdb.passkeys.of_user(user.name),
        can_use_passkeys=await find_relying_party(app_state) is not None,
        provider_label=await find_provider_label(app_state),
        is_linked=user is not None and await appdb.identity_provider.has_identity(user.name),
        sessions=await app_state.appdb.sessions.same_owner(session, app_state.clock.microseconds()),
        message=message,
        error=error,
    )
    return await render_page(request, app_state, zone, view, status=status)
