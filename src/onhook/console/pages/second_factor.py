"""`/account/app` and what follows: the authenticator app of the user, and the recovery codes.

Invariants: adding and removing take the password, and a code of the app; the other browsers of the user are signed out
when the factor is added. Recovery codes are shown in the answer that makes them, and never again.
"""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Response, get, post
from litestar.response import Redirect

from onhook.appdb.sessions import Session
from onhook.appdb.users import User
from onhook.console.auth.access import ENROLMENT_PAGE, ENROLS, PERSONAL, require_session
from onhook.console.auth.password_check import check_password
from onhook.console.auth.second_step import use_code
from onhook.console.pages.formatting import url
from onhook.console.pages.page import FORM_BODY, MESSAGE_CHARACTERS_MAX, render_page
from onhook.console.pages.rendering import View
from onhook.console.parameters import ReaderZone
from onhook.console.qr_codes import qr_code_url
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import NotAllowed, UsageError
from onhook.lib.messages import _
from onhook.lib.totp import otpauth_url

ISSUER = "Onhook"
"""What apps show above the name of the user."""

SECRET_GROUP = 4
"""Characters between two blanks of a secret that a person types."""

ERRORS = (UsageError, NotAllowed)
"""Of what a person has written; too many tries are answered 429."""


class FactorForm(msgspec.Struct, frozen=True):
    """Content of the forms: the password, and a code of the app."""

    current_password: str = ""
    code: str = ""


class AuthenticatorView(View, frozen=True, kw_only=True):
    """Values of the page that adds an app: what it scans, and the same as text."""

    template: ClassVar = "authenticator.html"
    user: User
    qr_code: str
    secret: str
    error: str = ""


class RecoveryCodesView(View, frozen=True, kw_only=True):
    """Values of the page that shows new recovery codes, once."""

    template: ClassVar = "recovery_codes.html"
    codes: Sequence[str]


@post("/account/app", opt=ENROLS, include_in_schema=False, status_code=200)
async def begin_app(request: AnyRequest, app_state: AppStateDep) -> Redirect:
    """Make a secret for an app, and show it."""
    user = await require_user(app_state, require_session(request.scope))
    try:
        await app_state.appdb.second_factors.begin_enrolment(user.name, now_us=app_state.clock.microseconds())
    except UsageError as error:
        return back_to_account(str(error))
    return Redirect("/account/app", status_code=303)


@get("/account/app", opt=ENROLMENT_PAGE, include_in_schema=False)
async def app_page(request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone) -> Response[Any]:
    """Return the page with the secret for the app; without one, that of the account."""
    session = require_session(request.scope)
    if not session.user_name:
        return back_to_account("")
    user = await require_user(app_state, session)
    return await _render_app(request, app_state, reader_zone, user)


@post("/account/app/confirm", opt=ENROLS, include_in_schema=False, status_code=200)
async def confirm_app(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[FactorForm, FORM_BODY]
) -> Response[Any]:
    """Add the app by its code, and show the recovery codes; other browsers of the user are signed out."""
    session = require_session(request.scope)
    user, appdb, now_us = await require_user(app_state, session), app_state.appdb, app_state.clock.microseconds()
    try:
        await _check_password(request, app_state, user, data)
        async with appdb.transaction():
            codes = await appdb.second_factors.confirm_enrolment(user.name, data.code, now_us=now_us)
            await appdb.sessions.set_factor(session.number, "code")
            await appdb.sessions.end_others(session)
    except ERRORS as error:
        return await _render_app(request, app_state, reader_zone, user, str(error))
    return await render_page(request, app_state, reader_zone, RecoveryCodesView(codes=codes))


@post("/account/app/remove", opt=PERSONAL, include_in_schema=False, status_code=200)
async def remove_app(request: AnyRequest, app_state: AppStateDep, data: Annotated[FactorForm, FORM_BODY]) -> Redirect:
    """Remove the app and the recovery codes."""
    try:
        user = await _check_factor(request, app_state, data)
    except ERRORS as error:
        return back_to_account(str(error))
    await app_state.appdb.second_factors.remove_app(user.name)
    return Redirect(url("/account", message=_("Authenticator app removed.")), status_code=303)


@post("/account/recovery-codes", opt=PERSONAL, include_in_schema=False, status_code=200)
async def renew_recovery_codes(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[FactorForm, FORM_BODY]
) -> Response[Any]:
    """Make new recovery codes, and show them; earlier ones become invalid."""
    try:
        user = await _check_factor(request, app_state, data)
    except ERRORS as error:
        return back_to_account(str(error))
    codes = await app_state.appdb.second_factors.renew_recovery_codes(user.name)
    return await render_page(request, app_state, reader_zone, RecoveryCodesView(codes=codes))


ROUTES: tuple[Any, ...] = (begin_app, app_page, confirm_app, remove_app, renew_recovery_codes)


async def require_user(app_state: AppState, session: Session) -> User:
    """Return the user of a session. Raises `UsageError` for that of a token."""
    if not session.user_name:
        raise UsageError(_("you signed in with a token, which has no second factor"), hint=_("sign in as a user"))
    return await app_state.appdb.users.get(session.user_name)


async def _check_factor(request: AnyRequest, app_state: AppState, form: FactorForm) -> User:
    """Return the user of the request after the password, and a code where there is an app. Raises one of `ERRORS`,
    `TooManyTries`.
    """
    user = await require_user(app_state, require_session(request.scope))
    if not user.has_second_factor:
        raise UsageError(_("there is no second factor"))
    await _check_password(request, app_state, user, form)
    if await app_state.appdb.second_factors.has_app(user.name):
        await use_code(request, app_state, user.name, form.code)
    return user


async def _check_password(request: AnyRequest, app_state: AppState, user: User, form: FactorForm) -> None:
    if user.has_password:
        await check_password(request, app_state, user, form.current_password)


async def _render_app(
    request: AnyRequest, app_state: AppState, zone: ReaderZone, user: User, error: str = ""
) -> Response[Any]:
    secret = await app_state.appdb.second_factors.get_enrolment(user.name, now_us=app_state.clock.microseconds())
    if not secret:
        return back_to_account(error)
    view = AuthenticatorView(
        user=user,
        qr_code=qr_code_url(otpauth_url(secret, issuer=ISSUER, account=user.name)),
        secret=" ".join(secret[start : start + SECRET_GROUP] for start in range(0, len(secret), SECRET_GROUP)),
        error=error,
    )
    return await render_page(request, app_state, zone, view)


def back_to_account(error: str) -> Redirect:
    """Return to the page of the account, with what is wrong."""
    query = {"error": error[:MESSAGE_CHARACTERS_MAX]} if error else {}
    return Redirect(url("/account", **query), status_code=303)
