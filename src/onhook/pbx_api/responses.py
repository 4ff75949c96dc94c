"""Responses that do not name the server's software: aiohttp adds a `Server` header, which a PBX does not send; and
sockets that accept no frames without a mask, and only so many in a time.
"""

import time
from collections.abc import Callable
from typing import Any, cast

from aiohttp import WebSocketError, WSCloseCode, hdrs, web

from onhook.pbx_api.frame_masks import FrameBudget, LimitedFrameParser


class _WithoutServerHeader(web.StreamResponse):
    async def _prepare_headers(self) -> None:
        # No public hook exists outside of an application's signals.
        await super()._prepare_headers()
        self.headers.pop(hdrs.SERVER, None)


class StreamResponse(_WithoutServerHeader):
    """A response that is written piece by piece."""


class TextResponse(_WithoutServerHeader, web.Response):
    """A short text."""


class SocketResponse(_WithoutServerHeader, web.WebSocketResponse):
    """A WebSocket. `on_flood` is called when it is closed because of too many frames; `monotonic` returns seconds."""

    def __init__(
        self,
        *,
        on_flood: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
        **options: Any,
    ) -> None:
        # Pings are answered by the reader of the socket, in its turn.
        super().__init__(autoping=False, **options)
        self.frame_budget = FrameBudget(monotonic)
        self._on_flood = on_flood
        self._close_reason = b""

    def _post_start(self, request: web.BaseRequest, protocol: str | None, writer: Any) -> None:
        # No public hook exists between the connection and the parser.
        super()._post_start(cast(web.BaseRequest, _RequestOfSocket(request, self)), protocol, writer)

    def set_error(self, error: WebSocketError) -> None:
        """Let the reader of the socket receive an error: it closes the socket."""
        assert self._reader is not None
        self._close_reason = str(error).encode()
        if error.code == WSCloseCode.POLICY_VIOLATION:
            self._on_flood()
        self._reader.set_exception(error)

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True) -> bool:
        """Close the socket, with the reason of the error if there was one."""
        return await super().close(code=code, message=message or self._close_reason, drain=drain)


class _RequestOfSocket:
    """What a socket uses of its request when it begins; its parser is given only frames within the limits."""

    def __init__(self, request: web.BaseRequest, socket: SocketResponse) -> None:
        self._protocol = request._protocol
        self._socket = socket
        self.protocol = self

    def set_parser(self, parser: Any, data_received_cb: Any = None) -> None:
        limited_parser: Any = LimitedFrameParser(parser, self._socket.set_error, self._socket.frame_budget)
        self._protocol.set_parser(limited_parser, data_received_cb=data_received_cb)

    def keep_alive(self, value: bool) -> None:
        self._protocol.keep_alive(value)
