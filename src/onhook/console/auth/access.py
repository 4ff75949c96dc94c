"""Access: by a token in the header, a session cookie, or without either on a loopback console that was opened on
purpose.

Invariants: every route is checked here before it reads a parameter; only routes marked `open` need no credentials. Only
an administrator changes what others see, or a user whom the mark of a route admits. A browser changes something only
from a page of Onhook. A limited reader is rejected by every route that is not marked as limiting what it shows; so is
one who sees masked numbers.
"""

import logging
from ipaddress import ip_address
from typing import Any, Literal, cast
from urllib.parse import SplitResult, urlsplit

import msgspec
from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, PermissionDeniedException, TooManyRequestsException
from litestar.handlers.base import BaseRouteHandler
from litestar.types import Scope

from onhook.appdb.origin import Origin, set_origin
from onhook.appdb.permissions import Permission
from onhook.appdb.sessions import Session
from onhook.appdb.tokens import Role, Token, token_author
from onhook.cdr.access_scope import AccessScope
from onhook.console.auth.share_tokens import restrict_query, share_token_text
from onhook.console.state import AppState
from onhook.lib.errors import NotAllowed, OnhookError
from onhook.lib.messages import _

OPEN = {"open": True}
"""Mark of a public route: `@get(..., opt=OPEN)`."""

SCOPED = {"scoped": True}
"""Mark of a route for limited readers: everything that it shows goes through `get_access_scope` or a filter."""

SHARED = {"scoped": True, "shared": True}
"""Mark of an export: a share token in the URL is enough, and limits it to the calls of its search."""

ANNOTATES = {"annotates": True, "scoped": True}
"""Mark of a route by which annotators write notes; it serves limited ones too, and checks the scope itself."""

WALLBOARD = {"scoped": True, "wallboard": True}
"""Mark of the route of wallboards: a link's text in the URL is enough, and shows its dashboard in its scope."""

PERSONAL = {"personal": True, "scoped": True}
"""Mark of a route by which every user changes settings of their own, and nothing else."""

ENROLS = {"enrols": True, "personal": True, "scoped": True}
"""Mark of a route by which users add a second factor: the only ones for those whose role needs one they do not have."""

ENROLMENT_PAGE = {"enrols": True, "scoped": True}
"""Mark of a page for that."""

OWN_QUESTIONS = {"personal": True}
"""Mark of a route by which users without limits change questions in SQL of their own, which limited ones cannot run."""

SHARES = {"permission": "share", "scoped": True}
SHARES_QUESTIONS = {"permission": "share"}
MAKES_LINKS = {"permission": "links", "scoped": True}
"""Marks of routes for administrators and for users with a permission; a route checks what belongs to whom itself."""

OPEN_ANSWER = {"open": True, "foreign_query": True}
"""Mark of a public route that another server leads browsers to, with parameters of its own."""

FOR_ADMINISTRATORS = {"administrator": True}
"""Mark of a route that a reader's token may not read."""

NEEDS_TOKEN: list[dict[str, list[str]]] = [{"token": []}]
"""Security of all other routes, for the schema."""

UNROUTED_STATUSES = frozenset({404, 405})
"""Of requests that no route answers: an unknown path, or a method that the path does not have."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

COOKIES_MAX = 8
"""Session cookies of a browser that are looked up: one of each hub."""

_COOKIE_PREFIX = "onhook_session_"
_PRINCIPAL = "onhook_principal"
_SESSION = "onhook_session"
_WALLBOARD_DASHBOARD = "onhook_wallboard_dashboard"
_WALLBOARD_LANGUAGE = "onhook_wallboard_language"
_SHARE_TOKEN = "onhook_share_token"  # noqa: S105 - the name of a member

Connection = ASGIConnection[Any, Any, Any, Any]


class Principal(msgspec.Struct, frozen=True):
    """The user of a request, and the credential."""

    name: str
    role: Role
    credential: Literal["token", "cookie", "open_console", "share"]
    scope: AccessScope | None = None
    is_user: bool = False
    """Whether it is a user with settings, and no token or open console."""
    permissions: tuple[Permission, ...] = ()
    needs_factor: bool = False
    """Whether the role needs a second factor that is missing: then nothing is allowed but to add one."""

    @property
    def author(self) -> str:
        """Return the author of what this user saves."""
        return self.name if self.is_user else token_author(self.name)

    @property
    def can_save(self) -> bool:
        """Return whether it may have anything of its own: an open console and a link have no user."""
        return self.credential in ("cookie", "token")

    def may(self, permission: Permission) -> bool:
        """Return whether it has a permission, as an administrator does."""
        return self.role == "administrator" or permission in self.permissions


async def authorize(connection: Connection, handler: BaseRouteHandler) -> None:
    """Guard of every route. Raises `NotAllowed` (401), and 403, 421, 429 as the framework's errors."""
    app_state: AppState = connection.app.state.app_state
    _check_host(connection, app_state)
    _set_origin(connection, None)
    if handler.opt.get("open"):
        return
    principal = await _resolve_scope(
        app_state,
        await _authenticate_share(connection, app_state, handler)
        or await _authenticate_wallboard(connection, app_state, handler)
        or await _authenticate(connection, app_state),
    )
    connection.scope["state"][_PRINCIPAL] = principal
    _set_origin(connection, principal)
    if principal.needs_factor and not handler.opt.get("enrols"):
        raise PermissionDeniedException(_("your role needs a second factor: add one on the page of your account"))
    if principal.scope is not None and not handler.opt.get("scoped"):
        raise PermissionDeniedException(_("you do not have access to this page"))
    if connection.scope.get("method") in SAFE_METHODS:
        if handler.opt.get("administrator") and principal.role != "administrator":
            raise PermissionDeniedException(_("only an administrator may read this"))
        if "permission" in handler.opt and not principal.may(handler.opt["permission"]):
            raise PermissionDeniedException(_("only an administrator, or a user with the permission, may read this"))
        return
    if principal.credential != "token" and not is_same_origin(connection):
        _log_refusal(connection, principal)
        raise PermissionDeniedException(_("a browser may change something only from a page of this console"))
    if not _may_change(principal, handler):
        _log_refusal(connection, principal)
        raise PermissionDeniedException(_change_refusal(principal))


def _may_change(principal: Principal, handler: BaseRouteHandler) -> bool:
    """Return whether a user may send a request that changes something to a route."""
    if principal.role == "administrator" or handler.opt.get("personal"):
        return True
    if "permission" in handler.opt:
        return principal.may(handler.opt["permission"])
    return principal.role == "annotator" and bool(handler.opt.get("annotates"))


async def is_still_authorized(scope: Scope) -> bool:
    """Return whether the credential of a running request is still valid, with the same role and scope, and the same
    members of its departments and sites.
    """
    principal = get_principal(scope)
    if principal is None:
        return True
    connection = ASGIConnection[Any, Any, Any, Any](scope)
    app_state: AppState = connection.app.state.app_state
    current = await _current_principal(connection, app_state)
    return current is not None and await _resolve_scope(app_state, current) == principal


async def identify_reader(error: Exception, scope: Scope) -> None:
    """Find the user of a request that no route answers, for the menu of its page: guards run for routes only.

    Nothing is granted: the page shows links, and each page checks access itself.
    """
    is_unrouted = isinstance(error, HTTPException) and error.status_code in UNROUTED_STATUSES
    if scope["type"] != ScopeType.HTTP or not is_unrouted or get_principal(scope) is not None:
        return
    connection = Connection(scope)
    try:
        scope["state"][_PRINCIPAL] = await _cookie_principal(connection, connection.app.state.app_state)
    except OnhookError:
        return  # the page has the menu of a browser that is not signed in


def _change_refusal(principal: Principal) -> str:
    """Return why a reader may not change something, for a person who signed in or for a program."""
    if principal.credential == "token":
        return _("the role of this token cannot change this: use an administrator's token")
    return _("your role cannot change this: ask an administrator")


def _log_refusal(connection: Connection, principal: Principal) -> None:
    """Log a request that is refused: it changes nothing, so that the audit log has no entry."""
    extra = {
        "actor": principal.name,
        "address": client_address(connection),
        "method": connection.scope.get("method"),
        "path": connection.url.path,
    }
    logging.getLogger("onhook.console").warning("change refused", extra=extra)


def get_principal(scope: Scope) -> Principal | None:
    """Return the user of a request; None for a public route without credentials."""
    return cast("Principal | None", scope["state"].get(_PRINCIPAL))


def may_act_for(principal: Principal | None, user_name: str) -> bool:
    """Return whether a user sees and changes what belongs to a user: the own things, an administrator those of all."""
    if principal is None:
        return False
    return principal.role == "administrator" or (principal.is_user and principal.name == user_name)


def require_session(scope: Scope) -> Session:
    """Return the session of a request by a browser that is signed in. Raises 403 for a token in a header, a share token
    and an open console.
    """
    session = cast("Session | None", scope["state"].get(_SESSION))
    if session is None:
        raise PermissionDeniedException(_("this is for a browser that is signed in"))
    return session


def get_access_scope(scope: Scope) -> AccessScope | None:
    """Return the scope of the user; an empty one on a public route without credentials."""
    principal = get_principal(scope)
    return AccessScope(sns=()) if principal is None else principal.scope


def get_wallboard_dashboard(scope: Scope) -> int | None:
    """Return the number of the dashboard of a request by a link to a wallboard; None of any other request."""
    return cast("int | None", scope["state"].get(_WALLBOARD_DASHBOARD))


def get_wallboard_language(scope: Scope) -> str:
    """Return the language of the link of a request to a wallboard; empty without one, and for any other request."""
    return cast("str", scope["state"].get(_WALLBOARD_LANGUAGE, ""))


def cookie_name(app_state: AppState) -> str:
    """Return the name of the cookie: browsers share cookies between ports, so that two consoles on one machine need two
    names.
    """
    return f"{_COOKIE_PREFIX}{app_state.config.console.port}"


def read_session_ids(connection: Connection, app_state: AppState) -> list[str]:
    """Return the ids in the cookies of a browser: that of this console first, and those of others under the same host
    name, which may be hubs with the same users.
    """
    name = cookie_name(app_state)
    cookies = {key: text for key, text in connection.cookies.items() if key.startswith(_COOKIE_PREFIX) and text}
    other_ids = [text for key, text in cookies.items() if key != name]
    return [*([cookies[name]] if name in cookies else []), *other_ids][:COOKIES_MAX]


async def check_token(connection: Connection, app_state: AppState, text: str, *, is_share: bool = False) -> Token:
    """Return the token with this text. Raises `NotAllowed`, or 429 for an address with too many wrong ones."""
    now_us = app_state.clock.microseconds()
    find = app_state.appdb.tokens.find_share if is_share else app_state.appdb.tokens.find
    token = await find(text, now_us=now_us, is_use=True)
    if token is not None:
        return token
    await _reject_token(connection, app_state, now_us)
    raise NotAllowed(_("this token is not valid"), hint=_("`onhook token list` shows the valid ones"))


async def _reject_token(connection: Connection, app_state: AppState, now_us: int) -> None:
    """Count a wrong token. Raises 429 for an address with too many of them."""
    address = client_address(connection)
    await app_state.wrong_tokens.record(address, now_us)
    if wait_seconds := app_state.wrong_tokens.seconds_to_wait(address, now_us):
        raise TooManyRequestsException(
            _("too many wrong tokens from this address"), headers={"Retry-After": str(wait_seconds)}
        )


def is_same_origin(connection: Connection) -> bool:
    """Return whether one of Onhook's own pages sent the request (Fetch Metadata, else `Origin`)."""
    site = connection.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = _split_url(connection.headers.get("origin", ""))
    return bool(origin.netloc) and origin.netloc == connection.headers.get("host", "")


def is_cross_site(connection: Connection) -> bool:
    """Return whether a browser says that a page of another site sent the request. A program says neither."""
    is_from_browser = "sec-fetch-site" in connection.headers or "origin" in connection.headers
    return is_from_browser and not is_same_origin(connection)


async def _resolve_scope(app_state: AppState, principal: Principal) -> Principal:
    """Return the user with the members of the departments and sites in scope, as the directory has them now. Raises
    `Unavailable`.
    """
    if principal.scope is None or not principal.scope.has_groups:
        return principal
    groups = (await app_state.directory.get(None)).groups
    return msgspec.structs.replace(principal, scope=groups.resolve(principal.scope))


async def _current_principal(connection: Connection, app_state: AppState) -> Principal | None:
    """Return the user of a request that was accepted before, or None; counts no failure and stores no use."""
    now_us = app_state.clock.microseconds()
    share_text = connection.scope["state"].get(_SHARE_TOKEN)
    if share_text is not None:
        share_token = await app_state.appdb.tokens.find_share(cast("str", share_text), now_us=now_us)
        return None if share_token is None else Principal(share_token.name, "reader", "share", share_token.scope)
    kind, _separator, text = connection.headers.get("authorization", "").partition(" ")
    if kind:
        token = await app_state.appdb.tokens.find(text.strip(), now_us=now_us)
        return None if token is None else _token_principal(token)
    return await _cookie_principal(connection, app_state)


async def _authenticate_share(
    connection: Connection, app_state: AppState, handler: BaseRouteHandler
) -> Principal | None:
    """Return the user of an export whose URL has a share token, or None for any other request; the query of the request
    becomes that of the token's search, restricted further by what the request adds. Raises `NotAllowed`, 403, 429.
    """
    text = share_token_text(connection.scope)
    if text is None or not handler.opt.get("shared"):
        return None
    token = await check_token(connection, app_state, text, is_share=True)
    connection.scope["query_string"] = restrict_query(connection.scope["query_string"], token.export_filter or "")
    connection.scope["state"][_SHARE_TOKEN] = text
    return Principal(token.name, "reader", "share", token.scope)


async def _authenticate_wallboard(
    connection: Connection, app_state: AppState, handler: BaseRouteHandler
) -> Principal | None:
    """Return the reader of a wallboard whose URL has the text of a link, or None for any other request. Raises
    `NotAllowed`, 429.
    """
    text = share_token_text(connection.scope)
    if text is None or not handler.opt.get("wallboard"):
        return None
    now_us = app_state.clock.microseconds()
    link = await app_state.appdb.wallboard_links.find(text, now_us=now_us, is_use=True)
    if link is None:
        await _reject_token(connection, app_state, now_us)
        raise NotAllowed(_("this link has ended or was revoked"), hint=_("ask an administrator for another one"))
    connection.scope["state"][_WALLBOARD_DASHBOARD] = link.dashboard_id
    connection.scope["state"][_WALLBOARD_LANGUAGE] = link.language
    return Principal(link.name, "reader", "share", link.scope)


async def _authenticate(connection: Connection, app_state: AppState) -> Principal:
    kind, _separator, text = connection.headers.get("authorization", "").partition(" ")
    if kind:
        if kind.lower() != "bearer":
            raise NotAllowed(_("only bearer tokens are supported"), hint=_("send `Authorization: Bearer TOKEN`"))
        token = await check_token(connection, app_state, text.strip())
        return _token_principal(token)
    principal = await _cookie_principal(connection, app_state, is_use=True)
    if principal is not None:
        return principal
    raise NotAllowed(_("no token was sent"), hint=_("send `Authorization: Bearer TOKEN`, or sign in at /sign-in"))


def _token_principal(token: Token) -> Principal:
    return Principal(token.name, token.role, "token", token.scope)


async def _cookie_principal(connection: Connection, app_state: AppState, *, is_use: bool = False) -> Principal | None:
    """Return the user of the session cookie; without one that of a console that is open to all, or None.

    Looked up for every request: a removed token or user has no access at any hub.
    """
    session_ids = read_session_ids(connection, app_state)
    session = await app_state.appdb.sessions.find(session_ids, app_state.clock.microseconds(), is_use=is_use)
    connection.scope["state"][_SESSION] = session
    if session is not None:
        name, is_user = session.user_name or session.token_name, bool(session.user_name)
        needs_factor = is_user and session.needs_factor
        return Principal(name, session.role, "cookie", session.scope, is_user, session.permissions, needs_factor)
    return Principal("open console", "reader", "open_console") if app_state.config.console_open else None


def _set_origin(connection: Connection, principal: Principal | None) -> None:
    """Set the origin of what this request changes."""
    set_origin(
        Origin(
            actor="" if principal is None else principal.name,
            credential="" if principal is None else principal.credential,
            address=client_address(connection),
            way="api" if connection.url.path.startswith("/api/") else "page",
        )
    )


def client_address(connection: Connection) -> str:
    """Return the address of the client."""
    return connection.client.host if connection.client else ""


def _check_host(connection: Connection, app_state: AppState) -> None:
    """Reject unknown host names: another site could point its name here (DNS rebinding).

    An IP address cannot be pointed elsewhere, so every one is allowed.
    """
    host = _split_url(f"//{connection.headers.get('host', '')}").hostname or ""
    names = {"localhost", app_state.config.console.host.lower(), *app_state.config.console_names.split(",")} - {""}
    if host in names or host.endswith(".localhost") or _is_ip_address(host):
        return
    raise HTTPException(
        status_code=421, detail=_("this host name is not allowed: use the IP address, or set console_names")
    )


def _split_url(address: str) -> SplitResult:
    """Return the parts of a URL; empty ones for an invalid URL, such as a bracket that is never closed."""
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
