"""Requests of the console and the connections that they came over: the address of the client, from trusted proxies, in
one place for all routes.

Invariant: a request without a known connection reaches no application. Its client has disconnected, or did not come
through the relay; the peer is the relay itself, which may have the address of a trusted proxy.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, Self

from onhook.lib.proxies import TrustedProxies

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]

METHODS_WITHOUT_BODY = frozenset({"GET", "HEAD"})


class ClientConnection(Protocol):
    """The connection of a client, with its address."""

    address: str

    def request_opened(self) -> None:
        """Note that a request has arrived whole; several may be open at once (HTTP/2)."""
        ...

    def request_closed(self) -> None:
        """Note that such a request has been answered."""
        ...


class ClientAddresses:
    """ASGI application around another one that replaces `client` in the scope of a request by the client's address.

    `find_connection` returns the connection of a client by the port of its peer.
    """

    def __init__(
        self, app: AsgiApp, trusted_proxies: TrustedProxies, find_connection: Callable[[int], ClientConnection | None]
    ) -> None:
        self._app = app
        self._trusted_proxies = trusted_proxies
        self._find_connection = find_connection

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle a request; one without a known connection is not answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Granian writes the port as a text.
        port = scope["client"][1]
        connection = self._find_connection(int(port))
        if connection is None:
            return
        address = self._trusted_proxies.client_address(
            connection.address,
            forwarded=_header_values(scope, b"forwarded"),
            x_forwarded_for=_header_values(scope, b"x-forwarded-for"),
        )
        scope["client"] = (address, port)
        if _header_values(scope, b"x-forwarded-proto") == ["https"] and self._trusted_proxies.trusts(
            connection.address
        ):
            # Cookies are then for encrypted connections alone, and printed addresses are those of the proxy.
            scope["scheme"] = "https"
        with _OpenRequest(connection, receive, has_body=scope["method"] not in METHODS_WITHOUT_BODY) as open_request:
            await self._app(scope, open_request.receive, send)


class _OpenRequest:
    """A request, which is open on its connection from the moment it has arrived whole."""

    def __init__(self, connection: ClientConnection, receive: Callable[[], Awaitable[Any]], *, has_body: bool) -> None:
        self._connection = connection
        self._receive = receive
        self._has_body = has_body
        self._is_open = False

    def __enter__(self) -> Self:
        if not self._has_body:
            self._open()
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._is_open:
            self._connection.request_closed()

    async def receive(self) -> Any:
        """Receive a part of the body, or the end of the connection."""
        message = await self._receive()
        if not message.get("more_body", False):
            self._open()
        return message

    def _open(self) -> None:
        if not self._is_open:
            self._is_open = True
            self._connection.request_opened()


def _header_values(scope: Any, name: bytes) -> list[str]:
    return [value.decode("latin-1") for header, value in scope["headers"] if header == name]
