"""The second step of a sign-in: the cookie of one that waits for it, and the code that ends the wait.

Invariants: the id in the cookie is made when the first step has succeeded, and is none of a session; the session that
begins has a new one. One first step leads to one session at most.
"""

from litestar.datastructures import Cookie
from litestar.response import Redirect

from onhook.appdb.pending_sign_ins import PENDING_SECONDS, PendingSignIn
from onhook.appdb.second_factors import Factor, TooManyCodes, WrongCode
from onhook.appdb.users import User
from onhook.console.auth.session_start import local_path, record_sign_in, start_user_session
from onhook.console.state import AnyRequest, AppState
from onhook.lib.errors import NotAllowed
from onhook.lib.messages import _

COOKIE_NAME = "onhook_pending_sign_in"
"""The same at all hubs, so that another one behind the same name may serve the second step."""

PATH = "/sign-in"
"""The cookie is sent to the pages of the sign-in alone."""


async def sign_user_in(
    request: AnyRequest, app_state: AppState, user: User, credential: str, next_path: str
) -> Redirect:
    """Sign a user in, or begin the second step where the user has a second factor. Raises `NotAllowed`,
    `Unavailable`.
    """
    if not user.has_second_factor:
        return await start_user_session(request, app_state, user, credential, next_path)
    pending_id = await app_state.appdb.pending_sign_ins.add(
        user.name,
        user.password_version,
        credential=credential,
        next_path=local_path(next_path),
        now_us=app_state.clock.microseconds(),
    )
    response = Redirect("/sign-in/code", status_code=303)
    response.set_cookie(_pending_cookie(request, pending_id, seconds=PENDING_SECONDS))
    return response


async def find_pending(request: AnyRequest, app_state: AppState) -> PendingSignIn | None:
    """Return the sign-in of this browser that waits for the second step, or None."""
    pending_id = request.cookies.get(COOKIE_NAME, "")
    return await app_state.appdb.pending_sign_ins.find(pending_id, app_state.clock.microseconds())


async def complete_sign_in(request: AnyRequest, app_state: AppState, pending: PendingSignIn, factor: str) -> Redirect:
    """Begin the session of a sign-in whose second factor was accepted. Raises `NotAllowed`, `Unavailable`."""
    appdb = app_state.appdb
    async with appdb.transaction():
        if not await appdb.pending_sign_ins.end(request.cookies.get(COOKIE_NAME, "")):
            raise NotAllowed(_("this sign-in has ended"), hint=_("sign in again"))
        user = await appdb.users.get(pending.user_name)
        credential = f"{pending.credential}, {factor}"
        response = await start_user_session(request, app_state, user, credential, pending.next_path, factor=factor)
    response.set_cookie(_pending_cookie(request, "", seconds=0))
    return response


async def use_code(request: AnyRequest, app_state: AppState, name: str, code: str) -> Factor:
    """Use a code of a user up; a wrong one is in the audit log. Raises `WrongCode`."""
    try:
        return await app_state.appdb.second_factors.use_code(name, code, now_us=app_state.clock.microseconds())
    except TooManyCodes:
        raise
    except WrongCode:
        await record_sign_in(request, app_state, name, "code", 401)
        raise


def _pending_cookie(request: AnyRequest, text: str, *, seconds: int) -> Cookie:
    return Cookie(
        key=COOKIE_NAME,
        value=text,
        max_age=seconds,
        path=PATH,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
