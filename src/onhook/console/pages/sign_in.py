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
from onhook.appdb.users import is_password
from onhook.console.auth.access import OPEN, address_of, check_token, cookie_name
from onhook.console.auth.sessions import SESSION_SECONDS
from onhook.console.pages.rendering import render
from onhook.console.problem_documents import Problem
from onhook.console.state import Handed, Rooms
from onhook.lib.errors import NotAllowed, OnhookError, UsageError

NEXT_CHARACTERS_MAX = 2_000

SCRAMBLING_MAX = 4
"""Passwords tried at once: each takes 32 MiB and a tenth of a second."""

AnyRequest = Request[Any, Any, Any]
Next = Annotated[str, QueryParameter(max_length=NEXT_CHARACTERS_MAX)]
TokenText = Annotated[str, QueryParameter(max_length=TOKEN_CHARACTERS_MAX)]


class SignIn(msgspec.Struct, frozen=True):
    """What the form sends."""

    token: str = ""
    name: str = ""
    password: str = ""
    next: str = "/"


class Accept(msgspec.Struct, frozen=True):
    """What the form of an invitation sends."""

    invitation: str = ""
    username: str = ""
    """For the browser's own list of passwords; the invitation says who it is."""
    password: str = ""
    again: str = ""


@get("/sign-in", opt=OPEN, include_in_schema=False)
async def sign_in_by_link(request: AnyRequest, rooms: Handed, token: TokenText = "", next: Next = "/") -> Response[Any]:  # noqa: A002 - the name in the address
    """The link that the start prints; without a token, the form."""
    if not token:
        return _form(next)
    return _signed_in(request, rooms, token, next)


@post("/sign-in", opt=OPEN, include_in_schema=False, status_code=200)
async def sign_in_by_form(
    request: AnyRequest,
    rooms: Handed,
    data: Annotated[SignIn, BodyKwarg(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[Any]:
    """A name and a password, or a token pasted into the form."""
    if data.name.strip():
        return await _by_password(request, rooms, data)
    return _signed_in(request, rooms, data.token.strip(), data.next)


@get("/invited", opt=OPEN, include_in_schema=False)
async def invited(rooms: Handed, invitation: TokenText = "") -> Response[Any]:
    """Where an invitation leads: choosing a password. Only sending the form uses the invitation up."""
    try:
        name = rooms.settings.people.invited(invitation, at=rooms.clock.microseconds()).name
    except OnhookError as error:
        return _page("problem.html", 401, problem=_problem(error))
    return _page("invited.html", name=name, invitation=invitation, wrong="")


@post("/invited", opt=OPEN, include_in_schema=False, status_code=200)
async def accept(
    request: AnyRequest,
    rooms: Handed,
    data: Annotated[Accept, BodyKwarg(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[Any]:
    """The password is chosen, and one is signed in."""
    people, at = rooms.settings.people, rooms.clock.microseconds()
    try:
        name = people.invited(data.invitation, at=at).name
    except OnhookError as error:
        return _page("problem.html", 401, problem=_problem(error))
    if data.password != data.again:
        return _page("invited.html", 400, name=name, invitation=data.invitation, wrong="These two are not the same.")
    try:
        person = await asyncio.to_thread(people.accept, data.invitation, data.password, at=at)
    except UsageError as error:
        return _page("invited.html", 400, name=name, invitation=data.invitation, wrong=str(error))
    note_sign_in(request, rooms, person.name, "invitation", 200)
    return _with_session(request, rooms, "/", person=person.name, stamp=person.stamp)


@post("/sign-out", opt=OPEN, include_in_schema=False, status_code=200)
async def sign_out(request: AnyRequest, rooms: Handed) -> Response[Any]:
    """End the session. Browsers send its cookie from our own pages only (SameSite=Strict), so nobody else ends it."""
    rooms.sessions.end(request.cookies.get(cookie_name(rooms), ""))
    answer = Redirect("/sign-in", status_code=303)
    answer.set_cookie(_cookie(request, rooms, "", seconds=0))
    return answer


def _signed_in(request: AnyRequest, rooms: Rooms, token: str, next_path: str) -> Response[Any]:
    try:
        known = check_token(request, rooms, token)
    except NotAllowed:
        return _form(next_path, "This token does not count.", status=401)
    except TooManyRequestsException as error:
        return _form(next_path, "Too many wrong tokens: wait a minute.", status=429, headers=error.headers)
    note_sign_in(request, rooms, known.name, "token", 200)
    return _with_session(request, rooms, next_path, token_text=token)


async def _by_password(request: AnyRequest, rooms: Rooms, data: SignIn) -> Response[Any]:
    at, name, address = rooms.clock.microseconds(), data.name.strip()[:NAME_CHARACTERS_MAX], address_of(request)
    guards = (address, f"name {name.lower()}")
    wait = max(rooms.failures.seconds_to_wait(guard, at) for guard in guards)
    if wait or rooms.scrambling.is_full:
        headers = {"Retry-After": str(wait or 1)}
        return _form(data.next, "Too many tries: wait a minute.", status=429, headers=headers)
    kept = rooms.settings.people.password_of(name)
    with rooms.scrambling.taking_one():
        is_right = await asyncio.to_thread(is_password, data.password, kept)
    person = rooms.settings.people.find(name) if is_right else None
    if person is None:
        for guard in guards:
            rooms.failures.note(guard, at)
        note_sign_in(request, rooms, name, "password", 401)
        return _form(data.next, "This name and this password do not belong together.", status=401)
    rooms.settings.people.note_seen(person.name, at=at)
    note_sign_in(request, rooms, person.name, "password", 200)
    return _with_session(request, rooms, data.next, person=person.name, stamp=person.stamp)


def note_sign_in(request: AnyRequest, rooms: Rooms, who: str, by: str, status: int) -> None:
    """Keep that somebody signed in, or tried to."""
    at = rooms.clock.microseconds()
    rooms.settings.audit.note(at=at, who=who, by=by, address=address_of(request), what="signs in", status=status)


def _with_session(request: AnyRequest, rooms: Rooms, next_path: str, **of: Any) -> Response[Any]:
    session_id = rooms.sessions.begin(rooms.clock.microseconds(), address=address_of(request), **of)
    answer = Redirect(_own_path(next_path), status_code=303)
    answer.set_cookie(_cookie(request, rooms, session_id, seconds=SESSION_SECONDS))
    return answer


def _cookie(request: AnyRequest, rooms: Rooms, text: str, *, seconds: int) -> Cookie:
    return Cookie(
        key=cookie_name(rooms),
        value=text,
        max_age=seconds,
        path="/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def _own_path(text: str) -> str:
    """Where to go after signing in: a path of ours, never another site (`//host`, `/\\host`)."""
    is_path = text.startswith("/") and not text.startswith("//") and "\\" not in text and text.isprintable()
    return text if is_path and not text.startswith("/sign-") else "/"


def _problem(error: OnhookError) -> Problem:
    return Problem(title="Unauthorized", status=401, detail=error.what, todo=error.todo)


def _page(template: str, status: int = 200, **values: Any) -> Response[Any]:
    return Response(render(template, **values), status_code=status, media_type="text/html")


def _form(next_path: str, wrong: str = "", status: int = 200, headers: dict[str, str] | None = None) -> Response[Any]:
    page = render("sign_in.html", next=_own_path(next_path), wrong=wrong)
    return Response(page, status_code=status, media_type="text/html", headers=headers)
