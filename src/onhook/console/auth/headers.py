"""Headers of every response that restrict the browser."""

from typing import Any

from litestar import Litestar
from litestar.types import Message, Scope

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
