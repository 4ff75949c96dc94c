"""Responses that do not name the server's software: aiohttp adds a `Server` header, which a PBX does not send."""

from aiohttp import hdrs, web


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
