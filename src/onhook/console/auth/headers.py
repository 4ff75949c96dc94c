"""Headers of every response that restrict the browser, and the audit log."""

from typing import Any

from litestar import Litestar
from litestar.types import Message, Scope

from onhook.console.auth.access import SAFE_METHODS, get_principal
from onhook.console.auth.cors import cors_headers
from onhook.console.state import AppState

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "media-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    # Not `no-referrer`: browsers would send `Origin: null` with the forms of Onhook's own pages.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

# Responses contain calls and people: no proxy and no shared browser may store them. A route may override it.
NO_STORE = (b"cache-control", b"no-store")


async def add_response_headers(message: Message, scope: Scope) -> None:
    """Add missing headers before a response begins, and count it."""
    if message["type"] != "http.response.start":
        return
    app: Litestar[Any] = scope["litestar_app"]  # type: ignore[type-arg]
    app_state: AppState = app.state.app_state
    cross_origin_headers = cors_headers(scope, app_state.config.cors_origins)
    replaced_names = {name for name, _ in cross_origin_headers}
    own_headers = (header for header in HEADERS if header[0] not in replaced_names)
    headers: list[tuple[bytes, bytes]] = [*message.get("headers", []), *cross_origin_headers, *own_headers]
    if not any(name.lower() == b"cache-control" for name, _ in headers):
        headers.append(NO_STORE)
    message["headers"] = headers
    app_state.response_counters.record_response(message["status"])
    _record_audit_entry(app_state, scope, message["status"])


def _record_audit_entry(app_state: AppState, scope: Scope, status: int) -> None:
    """Add the audit entry: here, where every response passes, no route can forget it."""
    principal = get_principal(scope)
    if principal is None or scope.get("method") in SAFE_METHODS:
        return
    client = scope.get("client")
    app_state.appdb.audit.add(
        now_us=app_state.clock.microseconds(),
        actor=principal.name,
        credential=principal.credential,
        address=client[0] if client else "",
        action=f"{scope.get('method')} {scope['path']}",
        status=status,
    )
