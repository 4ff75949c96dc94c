"""HTTP of the PBX API, beneath its requests: what aiohttp answers by itself when a connection brings no HTTP.

Invariants: such an answer names no software. Whatever an unknown client sends over its own connection is not logged:
the error of the parser quotes the request, which may contain a valid token, and many of them would push other lines out
of the recent log.
"""

import asyncio
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from onhook.pbx_api.responses import TextResponse

INVALID_HTTP = (HttpProcessingError, web.RequestPayloadError)
"""Errors of a request, or of its body, that is no HTTP."""


class PbxApiHttpServer(web.Server):
    """Server whose connections answer what is no HTTP with status 400 and nothing else."""

    def __init__(self, handler: Any, **options: Any) -> None:
        super().__init__(handler, **options)
        self._options = options

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of one connection."""
        return _Connection(self, loop=asyncio.get_running_loop(), **self._options)


class _Connection(web.RequestHandler):
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the response to a request that reached no handler, or whose handler failed."""
        self.log_exception("request failed", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError  # Half of a response is sent: the connection is closed.
        response = TextResponse(status=status, text=HTTPStatus(status).phrase)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **options: Any) -> None:
        """Log an error of the server, and none of the client, which may also close its connection at any time."""
        if not isinstance(options.get("exc_info"), (*INVALID_HTTP, ConnectionError)):
            self.logger.error(*args, **options)
