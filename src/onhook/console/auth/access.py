"""Who may come in: a token in the header, a session by cookie, or anybody on a loopback that was opened on purpose.

Laws: every route asks here before it reads a parameter; only routes marked `open` answer strangers. Who changes
something is an administrator. A browser changes something only from a page of ours. A reader who is limited to some
PBXs or numbers is refused by every route that is not marked as showing him no more than that.
"""

from ipaddress import ip_address
from typing import Any, Literal, cast
from urllib.parse import SplitResult, urlsplit

import msgspec
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException, PermissionDeniedException, TooManyRequestsException
from litestar.handlers.base import BaseRouteHandler
from litestar.types import Scope

from onhook.appdb.tokens import Role, Token
from onhook.cdr.access_scope import AccessScope
from onhook.console.auth.sessions import BrowserSession
from onhook.console.state import AppState
from onhook.lib.errors import NotAllowed

OPEN = {"open": True}
"""The mark of a route that answers strangers: `@get(..., opt=OPEN)`."""

SCOPED = {"scoped": True}
"""The mark of a route that a limited reader may ask: all that it shows goes through `get_access_scope` or a filter."""

FOR_ADMINISTRATORS = {"administrator": True}
"""The mark of a route that a reader's token may not even read."""

NEEDS_TOKEN: list[dict[str, list[str]]] = [{"token": []}]
"""What the schema says of all the others."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_PRINCIPAL = "onhook_principal"

Connection = ASGIConnection[Any, Any, Any, Any]


class Principal(msgspec.Struct, frozen=True):
    """Who asks, and how we know."""

    name: str
    role: Role
    credential: Literal["token", "cookie", "open_console"]
    scope: AccessScope | None = None


def authorize(connection: Connection, handler: BaseRouteHandler) -> None:
    """The guard of every route. Raises `NotAllowed` (401), and 403, 421, 429 as the framework's errors."""
    app_state: AppState = connection.app.state.app_state
    _check_host(connection, app_state)
    if handler.opt.get("open"):
        return
    principal = _authenticate(connection, app_state)
    connection.scope["state"][_PRINCIPAL] = principal
    if principal.scope is not None and not handler.opt.get("scoped"):
        raise PermissionDeniedException("this token sees some calls only, and this tells of more")
    if connection.scope.get("method") in SAFE_METHODS:
        if handler.opt.get("administrator") and principal.role != "administrator":
            raise PermissionDeniedException("only an administrator's token may read this")
        return
    if principal.credential != "token" and not is_same_origin(connection):
        raise PermissionDeniedException("a browser may change something only from a page of this console")
    if principal.role != "administrator":
        raise PermissionDeniedException("this token may read, not change: use an administrator's")


def get_principal(scope: Scope) -> Principal | None:
    """Who asks; None where a route is open to strangers."""
    return cast("Principal | None", scope["state"].get(_PRINCIPAL))


def get_access_scope(scope: Scope) -> AccessScope | None:
    """What the one who asks is limited to; a stranger on an open route is shown nothing."""
    principal = get_principal(scope)
    return AccessScope(sns=()) if principal is None else principal.scope


def cookie_name(app_state: AppState) -> str:
    """Browsers share cookies between ports, so that two consoles on one machine need two names."""
    return f"onhook_session_{app_state.config.console.port}"


def check_token(connection: Connection, app_state: AppState, text: str) -> Token:
    """The token with this text. Raises `NotAllowed`, or 429 for an address with many wrong ones of late."""
    now_us = app_state.clock.microseconds()
    token = app_state.appdb.find_token(text, now_us=now_us)
    if token is not None:
        return token
    address = client_address(connection)
    app_state.failed_logins.record_failure(address, now_us)
    if wait_seconds := app_state.failed_logins.seconds_to_wait(address, now_us):
        raise TooManyRequestsException(
            "too many wrong tokens from this address", headers={"Retry-After": str(wait_seconds)}
        )
    raise NotAllowed("this token does not count", hint="`onhook token list` shows which do")


def is_same_origin(connection: Connection) -> bool:
    """Whether a browser says that one of our own pages sent this (Fetch Metadata, else `Origin`)."""
    site = connection.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = _split_url(connection.headers.get("origin", ""))
    return bool(origin.netloc) and origin.netloc == connection.headers.get("host", "")


def _authenticate(connection: Connection, app_state: AppState) -> Principal:
    kind, _, text = connection.headers.get("authorization", "").partition(" ")
    if kind:
        if kind.lower() != "bearer":
            raise NotAllowed("only bearer tokens are known here", hint="send `Authorization: Bearer TOKEN`")
        token = check_token(connection, app_state, text.strip())
        return Principal(token.name, token.role, "token", token.scope)
    session = app_state.sessions.find(
        connection.cookies.get(cookie_name(app_state), ""), app_state.clock.microseconds()
    )
    if session is not None and (principal := _session_principal(app_state, session)):
        return principal
    if app_state.config.console_open:
        return Principal("anybody", "reader", "open_console")
    raise NotAllowed("no token was sent", hint="send `Authorization: Bearer TOKEN`, or sign in at /sign-in")


def _session_principal(app_state: AppState, session: BrowserSession) -> Principal | None:
    """Asked anew each time: a token or person that was removed lets nobody in, whatever sessions began with it."""
    if session.user_name:
        user = app_state.appdb.users.find(session.user_name)
        if user is None or user.password_version != session.password_version:
            return None
        return Principal(user.name, user.role, "cookie", user.scope)
    token = app_state.appdb.find_token(session.token_text)
    return None if token is None else Principal(token.name, token.role, "cookie", token.scope)


def client_address(connection: Connection) -> str:
    """Where the one who asks comes from."""
    return connection.client.host if connection.client else ""


def _check_host(connection: Connection, app_state: AppState) -> None:
    """Refuse names that are not ours: a page of another site could have its name point here (DNS rebinding).

    A number cannot be made to point elsewhere, so every address is right.
    """
    host = _split_url(f"//{connection.headers.get('host', '')}").hostname or ""
    names = {"localhost", app_state.config.console.host.lower(), *app_state.config.console_names.split(",")} - {""}
    if host in names or host.endswith(".localhost") or _is_ip_address(host):
        return
    raise HTTPException(status_code=421, detail="this console has another name: use its address, or set console_names")


def _split_url(address: str) -> SplitResult:
    """The parts of an address; none of what no address can be, such as a bracket that is never closed."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _is_ip_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
