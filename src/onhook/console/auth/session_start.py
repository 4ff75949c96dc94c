"""The beginning of a session: its cookie, its entry in the audit log, and the page after it.

Invariants: the id of a session is made when it begins and never accepted from a browser, and a session that the browser
had before ends with it, so that no id from before a sign-in is valid after it.
"""

import logging
from http import HTTPStatus

from litestar.datastructures import Cookie
from litestar.response import Redirect

from onhook.appdb.sessions import SESSION_SECONDS
from onhook.appdb.users import User
from onhook.console.auth.access import client_address, cookie_name, read_session_ids
from onhook.console.state import AnyRequest, AppState

NEXT_CHARACTERS_MAX = 2_000
"""Of the page after a sign-in."""


async def start_user_session(
    request: AnyRequest, app_state: AppState, user: User, credential: str, next_path: str, *, factor: str = ""
) -> Redirect:
    """Sign a user in, with the second factor that was used and the entry in the audit log, or not at all. Raises
    `NotAllowed`, `Unavailable`.
    """
    appdb, now_us = app_state.appdb, app_state.clock.microseconds()
    async with appdb.transaction():
        await _end_earlier_session(request, app_state)
        await appdb.users.record_sign_in(user.name, now_us=now_us)
        await record_sign_in(request, app_state, user.name, credential, 200)
        session_id = await appdb.sessions.start_for_user(
            user.name, user.password_version, address=client_address(request), now_us=now_us, factor=factor
        )
    return _signed_in(request, app_state, session_id, next_path)


async def start_token_session(
    request: AnyRequest, app_state: AppState, token_name: str, token: str, next_path: str
) -> Redirect:
    """Sign in by a token, with the entry in the audit log, or not at all. Raises `NotAllowed`, `Unavailable`."""
    appdb, now_us = app_state.appdb, app_state.clock.microseconds()
    async with appdb.transaction():
        await _end_earlier_session(request, app_state)
        await record_sign_in(request, app_state, token_name, "token", 200)
        session_id = await appdb.sessions.start_for_token(token, address=client_address(request), now_us=now_us)
    return _signed_in(request, app_state, session_id, next_path)


async def record_sign_in(request: AnyRequest, app_state: AppState, user: str, credential: str, status: int) -> None:
    """Add a sign-in, or a failed one, to the audit log. Each failed one is in the log of the hub."""
    if status >= HTTPStatus.BAD_REQUEST:
        extra = {"actor": user, "credential": credential, "address": client_address(request)}
        logging.getLogger("onhook.console").warning("sign-in failed", extra=extra)
    now_us = app_state.clock.microseconds()
    await app_state.appdb.audit.add_sign_in(
        now_us=now_us, actor=user, credential=credential, address=client_address(request), status=status
    )


def session_cookie(request: AnyRequest, app_state: AppState, text: str, *, seconds: int) -> Cookie:
    """Return the cookie of a session; of an ended one with `seconds` of 0."""
    return Cookie(
        key=cookie_name(app_state),
        value=text,
        max_age=seconds,
        path="/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def local_path(text: str) -> str:
    r"""Return the page after signing in: a path of Onhook, never another site (`//host`, `/\host`).

    >>> local_path("/calls?q=1"), local_path("//evil.example"), local_path("/sign-in"), local_path("https://evil.example")
    ('/calls?q=1', '/', '/', '/')
    """
    is_path = text.startswith("/") and not text.startswith("//") and "\\" not in text and text.isprintable()
    return text if is_path and not text.startswith("/sign-") and len(text) <= NEXT_CHARACTERS_MAX else "/"


async def _end_earlier_session(request: AnyRequest, app_state: AppState) -> None:
    """End the sessions of the browser, also that of a cookie of another console under the same host name."""
    await app_state.appdb.sessions.end(read_session_ids(request, app_state))


def _signed_in(request: AnyRequest, app_state: AppState, session_id: str, next_path: str) -> Redirect:
    response = Redirect(local_path(next_path), status_code=303)
    response.set_cookie(session_cookie(request, app_state, session_id, seconds=SESSION_SECONDS))
    return response
