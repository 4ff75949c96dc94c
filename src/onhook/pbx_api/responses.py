"""Responses that do not name the server's software: aiohttp adds a `Server` header, which a PBX does not send; and
sockets that accept no frames without a mask.
"""

from typing import Any, cast

from aiohttp import hdrs, web

from onhook.pbx_api.frame_masks import MaskedFrameParser


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
    """A WebSocket."""

    def _post_start(self, request: web.BaseRequest, protocol: str | None, writer: Any) -> None:
        # No public hook exists between the connection and the parser.
        super()._post_start(cast(web.BaseRequest, _RequestOfSocket(request, self)), protocol, writer)

    def set_error(self, error: Exception) -> None:
        """Let the reader of the socket receive an error: it closes the socket."""
        assert self._reader is not None
        self._reader.set_exception(error)


class _RequestOfSocket:
    """What a socket uses of its request when it begins; its parser is given only frames with a mask."""

    def __init__(self, request: web.BaseRequest, socket: SocketResponse) -> None:
        self._protocol = request._protocol
        self._socket = socket
        self.protocol = self

    def set_parser(self, parser: Any, data_received_cb: Any = None) -> None:
        masked_parser: Any = MaskedFrameParser(parser, self._socket.set_error)
        self._protocol.set_parser(masked_parser, data_received_cb=data_received_cb)

    def keep_alive(self, value: bool) -> None:
        self._protocol.keep_alive(value)
