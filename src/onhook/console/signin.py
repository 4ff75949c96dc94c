"""`/sign-in` and `/sign-out`: a browser changes a token for a cookie, so that no token stays in its address."""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.enums import RequestEncodingType
from litestar.exceptions import TooManyRequestsException
from litestar.params import BodyKwarg, QueryParameter
from litestar.response import Redirect

from onhook.console.access import OPEN, check_token, cookie_name
from onhook.console.rendering import render
from onhook.console.rooms import Handed, Rooms
from onhook.console.sessions import SESSION_SECONDS
from onhook.errors import NotAllowed
from onhook.settings.tokens import TOKEN_CHARACTERS_MAX

NEXT_CHARACTERS_MAX = 2_000

AnyRequest = Request[Any, Any, Any]
Next = Annotated[str, QueryParameter(max_length=NEXT_CHARACTERS_MAX)]
TokenText = Annotated[str, QueryParameter(max_length=TOKEN_CHARACTERS_MAX)]


class SignIn(msgspec.Struct, frozen=True):
    """What the form sends."""

    token: str = ""
    next: str = "/"


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
    """A token pasted into the form."""
    return _signed_in(request, rooms, data.token.strip(), data.next)


@post("/sign-out", opt=OPEN, include_in_schema=False, status_code=200)
async def sign_out(request: AnyRequest, rooms: Handed) -> Response[Any]:
    """End the session. Browsers send its cookie from our own pages only (SameSite=Strict), so nobody else ends it."""
    rooms.sessions.end(request.cookies.get(cookie_name(rooms), ""))
    answer = Redirect("/sign-in", status_code=303)
    answer.set_cookie(_cookie(request, rooms, "", seconds=0))
    return answer


def _signed_in(request: AnyRequest, rooms: Rooms, token: str, next_path: str) -> Response[Any]:
    try:
        check_token(request, rooms, token)
    except NotAllowed:
        return _form(next_path, "This token does not count.", status=401)
    except TooManyRequestsException as error:
        return _form(next_path, "Too many wrong tokens: wait a minute.", status=429, headers=error.headers)
    session_id = rooms.sessions.begin(token, rooms.clock.microseconds())
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


def _form(next_path: str, wrong: str = "", status: int = 200, headers: dict[str, str] | None = None) -> Response[Any]:
    page = render("sign_in.html", next=_own_path(next_path), wrong=wrong)
    return Response(page, status_code=status, media_type="text/html", headers=headers)
