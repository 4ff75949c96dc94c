"""Who may come in: a token in the header, a session by cookie, or anybody on a loopback that was opened on purpose.

Laws: every route asks here before it reads a parameter; only routes marked `open` answer strangers. Who changes
something is an administrator. A browser changes something only from a page of ours.
"""

from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

import msgspec
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException, PermissionDeniedException, TooManyRequestsException
from litestar.handlers.base import BaseRouteHandler

from onhook.console.rooms import Rooms
from onhook.errors import NotAllowed
from onhook.settings.tokens import Role, Token

OPEN = {"open": True}
"""The mark of a route that answers strangers: `@get(..., opt=OPEN)`."""

FOR_ADMINISTRATORS = {"administrator": True}
"""The mark of a route that a reader's token may not even read."""

NEEDS_TOKEN: list[dict[str, list[str]]] = [{"token": []}]
"""What the schema says of all the others."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

Connection = ASGIConnection[Any, Any, Any, Any]


class Visitor(msgspec.Struct, frozen=True):
    """Who asks, and how we know."""

    name: str
    role: Role
    by: Literal["token", "cookie", "open door"]


def let_in(connection: Connection, handler: BaseRouteHandler) -> None:
    """The guard of every route. Raises `NotAllowed` (401), and 403, 421, 429 as the framework's errors."""
    rooms: Rooms = connection.app.state.rooms
    _check_host(connection, rooms)
    if handler.opt.get("open"):
        return
    visitor = _visitor(connection, rooms)
    if connection.scope.get("method") in SAFE_METHODS:
        if handler.opt.get("administrator") and visitor.role != "administrator":
            raise PermissionDeniedException("only an administrator's token may read this")
        return
    if visitor.by != "token" and not is_from_our_page(connection):
        raise PermissionDeniedException("a browser may change something only from a page of this console")
    if visitor.role != "administrator":
        raise PermissionDeniedException("this token may read, not change: use an administrator's")


def cookie_name(rooms: Rooms) -> str:
    """Browsers share cookies between ports, so that two consoles on one machine need two names."""
    return f"onhook_session_{rooms.config.console.port}"


def check_token(connection: Connection, rooms: Rooms, text: str) -> Token:
    """The token with this text. Raises `NotAllowed`, or 429 for an address with many wrong ones of late."""
    at = rooms.clock.microseconds()
    token = rooms.settings.token_for(text, at=at)
    if token is not None:
        return token
    address = connection.client.host if connection.client else ""
    rooms.failures.note(address, at)
    if wait := rooms.failures.seconds_to_wait(address, at):
        raise TooManyRequestsException("too many wrong tokens from this address", headers={"Retry-After": str(wait)})
    raise NotAllowed("this token does not count", todo="`onhook token list` shows which do")


def is_from_our_page(connection: Connection) -> bool:
    """Whether a browser says that one of our own pages sent this (Fetch Metadata, else `Origin`)."""
    site = connection.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = _split(connection.headers.get("origin", ""))
    return bool(origin.netloc) and origin.netloc == connection.headers.get("host", "")


def _visitor(connection: Connection, rooms: Rooms) -> Visitor:
    kind, _, text = connection.headers.get("authorization", "").partition(" ")
    if kind:
        if kind.lower() != "bearer":
            raise NotAllowed("only bearer tokens are known here", todo="send `Authorization: Bearer TOKEN`")
        token = check_token(connection, rooms, text.strip())
        return Visitor(token.name, token.role, "token")
    text = rooms.sessions.token_text(connection.cookies.get(cookie_name(rooms), ""), rooms.clock.microseconds())
    # Asked anew each time: a token that was removed lets nobody in, whatever sessions began with it.
    if text and (known := rooms.settings.token_for(text)):
        return Visitor(known.name, known.role, "cookie")
    if rooms.config.console_open:
        return Visitor("anybody", "reader", "open door")
    raise NotAllowed("no token was sent", todo="send `Authorization: Bearer TOKEN`, or sign in at /sign-in")


def _check_host(connection: Connection, rooms: Rooms) -> None:
    """Refuse names that are not ours: a page of another site could have its name point here (DNS rebinding).

    A number cannot be made to point elsewhere, so every address is right.
    """
    host = _split(f"//{connection.headers.get('host', '')}").hostname or ""
    names = {"localhost", rooms.config.console.host.lower(), *rooms.config.console_names.split(",")} - {""}
    if host in names or host.endswith(".localhost") or _is_number(host):
        return
    raise HTTPException(status_code=421, detail="this console has another name: use its address, or set console_names")


def _split(address: str) -> SplitResult:
    """The parts of an address; none of what no address can be, such as a bracket that is never closed."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _is_number(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
