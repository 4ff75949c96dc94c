"""Cross-origin requests of web pages to the API: from the origins in `cors_origins`, with a token in the header.

Invariants: only paths of the API, and none without that setting. A cookie is never accepted across origins: the
browser is not allowed to send one (no `Access-Control-Allow-Credentials`).
"""

from collections.abc import Sequence
from typing import Final

from litestar.types import Scope, Send

API_PREFIX: Final = "/api/v1/"
MAX_AGE: Final = b"600"
"""Seconds for which a browser remembers the answer to a preflight."""

_PREFLIGHT_HEADERS: Final = (
    (b"access-control-allow-methods", b"GET, POST, PATCH, PUT, DELETE"),
    (b"access-control-allow-headers", b"authorization, content-type, last-event-id"),
    (b"access-control-max-age", MAX_AGE),
)


def cors_headers(scope: Scope, origins: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of a response to a request from an allowed origin, none for any other. `origins` are separated
    by commas.
    """
    if not origins or not scope["path"].startswith(API_PREFIX):
        return []
    origin = _header(scope, b"origin")
    vary = [(b"vary", b"Origin")]
    if origin.lower() not in origins.split(","):
        return vary
    return [
        *vary,
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", b"content-disposition, retry-after"),
        # The page that may read the response is of another site.
        (b"cross-origin-resource-policy", b"cross-origin"),
    ]


def is_preflight(scope: Scope) -> bool:
    """Return whether a browser asks if a page of another origin may send a request."""
    return scope.get("method") == "OPTIONS" and bool(_header(scope, b"access-control-request-method"))


async def answer_preflight(headers: Sequence[tuple[bytes, bytes]], send: Send) -> None:
    """Answer a preflight from an allowed origin; it needs no token, which a browser does not send with it."""
    await send({"type": "http.response.start", "status": 204, "headers": [*headers, *_PREFLIGHT_HEADERS]})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for header, value in scope["headers"] if header == name), "")
