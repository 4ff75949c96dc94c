"""`/account/passkeys`, `/sign-in/passkey` and `/sign-in/code/passkey`: passkeys added, removed, and used to sign in.

A script asks for options, has the browser make or prove a passkey, and sends the form with its answer; without scripts
there are no passkeys.
"""

from typing import Annotated, Any

import msgspec
from litestar import Response, post
from litestar.exceptions import PermissionDeniedException
from litestar.params import PathParameter
from litestar.response import Redirect

from onhook.console.auth.access import ENROLS, OPEN, PERSONAL, is_cross_site, require_session
from onhook.console.auth.passkeys import (
    RefusedPasskey,
    begin_authentication,
    begin_registration,
    finish_authentication,
    finish_registration,
)
from onhook.console.auth.password_check import check_password
from onhook.console.auth.second_step import complete_sign_in, find_pending, use_code
from onhook.console.auth.session_start import record_sign_in, start_user_session
from onhook.console.pages.formatting import url
from onhook.console.pages.page import FORM_BODY, render_page
from onhook.console.pages.second_factor import ERRORS, RecoveryCodesView, back_to_account, require_user
from onhook.console.pages.sign_in import render_sign_in
from onhook.console.pages.sign_in_code import render_code_page
from onhook.console.parameters import SEQ_MAX, ReaderZone
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import NotAllowed, NotFound, OnhookError, UsageError
from onhook.lib.messages import _

PasskeyId = Annotated[int, PathParameter(ge=1, le=SEQ_MAX)]


class PasskeyForm(msgspec.Struct, frozen=True):
    """Content of the forms: what the browser answers, and what the form is for."""

    credential: str = ""
    current_password: str = ""
    code: str = ""
    name: str = ""
    next: str = "/"


@post("/account/passkeys/options", opt=ENROLS, include_in_schema=False, status_code=200)
async def begin_passkey(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[PasskeyForm, FORM_BODY]
) -> Response[bytes]:
    """Return what the browser makes a passkey by, after the password."""
    user = await require_user(app_state, require_session(request.scope))
    if user.has_password:
        await check_password(request, app_state, user, data.current_password)
    return await begin_registration(request, app_state, user)


@post("/account/passkeys", opt=ENROLS, include_in_schema=False, status_code=200)
async def add_passkey(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[PasskeyForm, FORM_BODY]
) -> Response[Any]:
    """Add the passkey that the browser has made; other browsers of the user are signed out. The first factor of a user
    comes with recovery codes.
    """
    session, appdb = require_session(request.scope), app_state.appdb
    user = await require_user(app_state, session)
    try:
        passkey = await finish_registration(request, app_state, user, data.credential)
        async with appdb.transaction():
            values, now_us = msgspec.structs.asdict(passkey), app_state.clock.microseconds()
            await appdb.passkeys.add(user.name, data.name, **values, now_us=now_us)
            await appdb.sessions.set_factor(session.number, session.factor or "passkey")
            await appdb.sessions.end_others(session)
            has_codes = await appdb.second_factors.count_recovery_codes(user.name) > 0
            codes = [] if has_codes else await appdb.second_factors.renew_recovery_codes(user.name)
    except ERRORS as error:
        return back_to_account(str(error))
    if codes:
        return await render_page(request, app_state, reader_zone, RecoveryCodesView(codes=codes))
    return Redirect(url("/account", message=_("Passkey added.")), status_code=303)


@post("/account/passkeys/{passkey_id:int}/remove", opt=PERSONAL, include_in_schema=False, status_code=200)
async def remove_passkey(
    request: AnyRequest, app_state: AppStateDep, passkey_id: PasskeyId, data: Annotated[PasskeyForm, FORM_BODY]
) -> Redirect:
    """Remove a passkey, by the password, and by a code where the user has an app."""
    user = await require_user(app_state, require_session(request.scope))
    try:
        if user.has_password:
            await check_password(request, app_state, user, data.current_password)
        if await app_state.appdb.second_factors.has_app(user.name):
            await use_code(request, app_state, user.name, data.code)
        await app_state.appdb.second_factors.remove_passkey(user.name, passkey_id)
    except (*ERRORS, NotFound) as error:
        return back_to_account(str(error))
    return Redirect(url("/account", message=_("Passkey removed.")), status_code=303)


@post("/sign-in/passkey/options", opt=OPEN, include_in_schema=False, status_code=200)
async def begin_passkey_sign_in(request: AnyRequest, app_state: AppStateDep) -> Response[bytes]:
    """Return what the browser proves: any passkey of any user."""
    _reject_cross_site(request)
    return await begin_authentication(request, app_state)


@post("/sign-in/passkey", opt=OPEN, include_in_schema=False, status_code=200)
async def sign_in_by_passkey(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[PasskeyForm, FORM_BODY]
) -> Response[Any]:
    """Sign in by a passkey alone, whose device has verified the user."""
    _reject_cross_site(request)
    try:
        user = await finish_authentication(request, app_state, data.credential)
        if not user.has_password:
            # Role and scope of such a user are those that the provider gives with each sign-in.
            raise NotAllowed(
                _("you sign in by the identity provider"), hint=_("after it, the passkey is your second step")
            )
    except (UsageError, NotAllowed) as error:
        await _record_refusal(request, app_state, error)
        return await render_sign_in(app_state, data.next, str(error), status=401)
    return await start_user_session(request, app_state, user, "passkey", data.next, factor="passkey")


@post("/sign-in/code/passkey/options", opt=OPEN, include_in_schema=False, status_code=200)
async def begin_passkey_step(request: AnyRequest, app_state: AppStateDep) -> Response[bytes]:
    """Return what the browser proves in the second step: a passkey of the user."""
    _reject_cross_site(request)
    pending = await find_pending(request, app_state)
    if pending is None:
        raise NotAllowed(_("this sign-in has ended"), hint=_("sign in again"))
    return await begin_authentication(request, app_state, pending.user_name)


@post("/sign-in/code/passkey", opt=OPEN, include_in_schema=False, status_code=200)
async def complete_by_passkey(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[PasskeyForm, FORM_BODY]
) -> Response[Any]:
    """Sign in by a passkey after the password."""
    _reject_cross_site(request)
    pending = await find_pending(request, app_state)
    if pending is None:
        return Redirect("/sign-in", status_code=303)
    try:
        await finish_authentication(request, app_state, data.credential, pending.user_name)
    except (UsageError, NotAllowed) as error:
        await _record_refusal(request, app_state, error)
        return await render_code_page(app_state, pending, str(error), 401)
    return await complete_sign_in(request, app_state, pending, "passkey")


ROUTES: tuple[Any, ...] = (
    *(begin_passkey, add_passkey, remove_passkey),
    *(begin_passkey_sign_in, sign_in_by_passkey, begin_passkey_step, complete_by_passkey),
)


def _reject_cross_site(request: AnyRequest) -> None:
    """Raise 403 for what another site's page sent."""
    if is_cross_site(request):
        raise PermissionDeniedException(_("sign in from a page of this console"))


async def _record_refusal(request: AnyRequest, app_state: AppState, error: OnhookError) -> None:
    """Add a passkey that was refused to the audit log; one that is not known says nothing of a user."""
    if isinstance(error, RefusedPasskey):
        await record_sign_in(request, app_state, error.user_name, "passkey", 401)
