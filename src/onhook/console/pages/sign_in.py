"""`/sign-in`, `/invited` and `/sign-out`: a browser changes a token or a password for a cookie.

Laws: no token stays in an address. A password is tried only while neither its name nor its address has failed too often
of late, and by a few at once, because each try costs memory and time on purpose.
"""

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.enums import RequestEncodingType
from litestar.exceptions import TooManyRequestsException
from litestar.params import BodyKwarg, QueryParameter
from litestar.response import Redirect

from onhook.appdb.pbxs import NAME_CHARACTERS_MAX
from onhook.appdb.tokens import TOKEN_CHARACTERS_MAX
from onhook.appdb.users import verify_password
from onhook.console.auth.access import OPEN, check_token, client_address, cookie_name
from onhook.console.auth.sessions import SESSION_SECONDS
from onhook.console.pages.rendering import render
from onhook.console.problem_documents import Problem
from onhook.console.state import AppState, AppStateDep
from onhook.lib.errors import NotAllowed, OnhookError, UsageError

NEXT_CHARACTERS_MAX = 2_000

PASSWORD_CHECKS_MAX = 4
"""Passwords tried at once: each takes 32 MiB and a tenth of a second."""

AnyRequest = Request[Any, Any, Any]
Next = Annotated[str, QueryParameter(max_length=NEXT_CHARACTERS_MAX)]
TokenText = Annotated[str, QueryParameter(max_length=TOKEN_CHARACTERS_MAX)]


class SignInForm(msgspec.Struct, frozen=True):
    """What the form sends."""

    token: str = ""
    name: str = ""
    password: str = ""
    next: str = "/"


class AcceptInvitationForm(msgspec.Struct, frozen=True):
    """What the form of an invitation sends."""

    invitation: str = ""
    username: str = ""
    """For the browser's own list of passwords; the invitation says who it is."""
    password: str = ""
    again: str = ""


@get("/sign-in", opt=OPEN, include_in_schema=False)
async def sign_in_by_link(
    request: AnyRequest,
    rooms: AppStateDep,
    token: TokenText = "",
    next: Next = "/",  # noqa: A002 - the name in the URL
) -> Response[Any]:
    """The link that the start prints; without a token, the form."""
    if not token:
        return _sign_in_page(next)
    return _sign_in_with_token(request, rooms, token, next)


@post("/sign-in", opt=OPEN, include_in_schema=False, status_code=200)
async def sign_in_by_form(
    request: AnyRequest,
    rooms: AppStateDep,
    data: Annotated[SignInForm, BodyKwarg(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[Any]:
    """A name and a password, or a token pasted into the form."""
    if data.name.strip():
        return await _sign_in_with_password(request, rooms, data)
    return _sign_in_with_token(request, rooms, data.token.strip(), data.next)


@get("/invited", opt=OPEN, include_in_schema=False)
async def invitation_page(rooms: AppStateDep, invitation: TokenText = "") -> Response[Any]:
    """Where an invitation leads: choosing a password. Only sending the form uses the invitation up."""
    try:
        name = rooms.settings.people.invited(invitation, at=rooms.clock.microseconds()).name
    except OnhookError as error:
        return _html_response("problem.html", 401, problem=_problem(error))
    return _html_response("invited.html", name=name, invitation=invitation, wrong="")


@post("/invited", opt=OPEN, include_in_schema=False, status_code=200)
async def accept_invitation(
    request: AnyRequest,
    rooms: AppStateDep,
    data: Annotated[AcceptInvitationForm, BodyKwarg(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[Any]:
    """The password is chosen, and one is signed in."""
    users, now_us = rooms.settings.people, rooms.clock.microseconds()
    try:
        name = users.invited(data.invitation, at=now_us).name
    except OnhookError as error:
        return _html_response("problem.html", 401, problem=_problem(error))
    if data.password != data.again:
        return _html_response(
            "invited.html", 400, name=name, invitation=data.invitation, wrong="These two are not the same."
        )
    try:
        user = await asyncio.to_thread(users.accept, data.invitation, data.password, at=now_us)
    except UsageError as error:
        return _html_response("invited.html", 400, name=name, invitation=data.invitation, wrong=str(error))
    record_sign_in(request, rooms, user.name, "invitation", 200)
    return _start_session(request, rooms, "/", person=user.name, stamp=user.stamp)


@post("/sign-out", opt=OPEN, include_in_schema=False, status_code=200)
async def sign_out(request: AnyRequest, rooms: AppStateDep) -> Response[Any]:
    """End the session. Browsers send its cookie from our own pages only (SameSite=Strict), so nobody else ends it."""
    rooms.sessions.end(request.cookies.get(cookie_name(rooms), ""))
    response = Redirect("/sign-in", status_code=303)
    response.set_cookie(_cookie(request, rooms, "", seconds=0))
    return response


def _sign_in_with_token(request: AnyRequest, rooms: AppState, token: str, next_path: str) -> Response[Any]:
    try:
        valid_token = check_token(request, rooms, token)
    except NotAllowed:
        return _sign_in_page(next_path, "This token does not count.", status=401)
    except TooManyRequestsException as error:
        return _sign_in_page(next_path, "Too many wrong tokens: wait a minute.", status=429, headers=error.headers)
    record_sign_in(request, rooms, valid_token.name, "token", 200)
    return _start_session(request, rooms, next_path, token_text=token)


async def _sign_in_with_password(request: AnyRequest, rooms: AppState, data: SignInForm) -> Response[Any]:
    now_us, name, address = rooms.clock.microseconds(), data.name.strip()[:NAME_CHARACTERS_MAX], client_address(request)
    throttle_keys = (address, f"name {name.lower()}")
    wait = max(rooms.failures.seconds_to_wait(throttle_key, now_us) for throttle_key in throttle_keys)
    if wait or rooms.scrambling.is_full:
        headers = {"Retry-After": str(wait or 1)}
        return _sign_in_page(data.next, "Too many tries: wait a minute.", status=429, headers=headers)
    password_hash = rooms.settings.people.password_of(name)
    with rooms.scrambling.taking_one():
        is_correct = await asyncio.to_thread(verify_password, data.password, password_hash)
    user = rooms.settings.people.find(name) if is_correct else None
    if user is None:
        for throttle_key in throttle_keys:
            rooms.failures.note(throttle_key, now_us)
        record_sign_in(request, rooms, name, "password", 401)
        return _sign_in_page(data.next, "This name and this password do not belong together.", status=401)
    rooms.settings.people.note_seen(user.name, at=now_us)
    record_sign_in(request, rooms, user.name, "password", 200)
    return _start_session(request, rooms, data.next, person=user.name, stamp=user.stamp)


def record_sign_in(request: AnyRequest, rooms: AppState, who: str, by: str, status: int) -> None:
    """Keep that somebody signed in, or tried to."""
    now_us = rooms.clock.microseconds()
    rooms.settings.audit.note(
        at=now_us, who=who, by=by, address=client_address(request), what="signs in", status=status
    )


def _start_session(request: AnyRequest, rooms: AppState, next_path: str, **of: Any) -> Response[Any]:
    session_id = rooms.sessions.begin(rooms.clock.microseconds(), address=client_address(request), **of)
    response = Redirect(_local_path(next_path), status_code=303)
    response.set_cookie(_cookie(request, rooms, session_id, seconds=SESSION_SECONDS))
    return response


def _cookie(request: AnyRequest, rooms: AppState, text: str, *, seconds: int) -> Cookie:
    return Cookie(
        key=cookie_name(rooms),
        value=text,
        max_age=seconds,
        path="/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def _local_path(text: str) -> str:
    """Where to go after signing in: a path of ours, never another site (`//host`, `/\\host`)."""
    is_path = text.startswith("/") and not text.startswith("//") and "\\" not in text and text.isprintable()
    return text if is_path and not text.startswith("/sign-") else "/"


def _problem(error: OnhookError) -> Problem:
    return Problem(title="Unauthorized", status=401, detail=error.what, todo=error.todo)


def _html_response(template: str, status: int = 200, **values: Any) -> Response[Any]:
    return Response(render(template, **values), status_code=status, media_type="text/html")


def _sign_in_page(
    next_path: str, wrong: str = "", status: int = 200, headers: dict[str, str] | None = None
) -> Response[Any]:
    page = render("sign_in.html", next=_local_path(next_path), wrong=wrong)
    return Response(page, status_code=status, media_type="text/html", headers=headers)
