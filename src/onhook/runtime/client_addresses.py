"""Address of the client in each request of the console: from trusted proxies, in one place for all routes.

Invariant: a request without a known connection reaches no application. Its client has disconnected, or did not come
through the relay; the peer is the relay itself, which may have the address of a trusted proxy.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from onhook.lib.proxies import TrustedProxies

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]


class ClientAddresses:
    """ASGI application around another one that replaces `client` in the scope of a request by the client's address.

    `relayed_client` returns the client of a connection by the port of its peer, or an empty text.
    """

    def __init__(self, app: AsgiApp, trusted_proxies: TrustedProxies, relayed_client: Callable[[int], str]) -> None:
        self._app = app
        self._trusted_proxies = trusted_proxies
        self._relayed_client = relayed_client

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle a request; one without a known connection is not answered."""
        if scope["type"] == "http":
            # Granian writes the port as a text.
            port = scope["client"][1]
            relayed_client = self._relayed_client(int(port))
            if not relayed_client:
                return
            address = self._trusted_proxies.client_address(
                relayed_client,
                forwarded=_header_values(scope, b"forwarded"),
                x_forwarded_for=_header_values(scope, b"x-forwarded-for"),
            )
            scope["client"] = (address, port)
        await self._app(scope, receive, send)


def _header_values(scope: Any, name: bytes) -> list[str]:
    return [value.decode("latin-1") for header, value in scope["headers"] if header == name]
