"""What is done before a request is routed: its language is begun, marks of direction are removed from what a person
typed or pasted, HEAD is answered like GET without a body, for monitors, and preflights are answered.
"""

import re
from typing import cast

from litestar import Litestar
from litestar.enums import HttpMethod, RequestEncodingType, ScopeType
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from litestar.types import (
    HTTPScope,
    LifeSpanReceive,
    LifeSpanScope,
    LifeSpanSend,
    Message,
    Receive,
    ReceiveMessage,
    Scope,
    Send,
)

from onhook.console.auth.cors import answer_preflight, cors_headers, is_preflight
from onhook.console.reader import begin_language

MARK_BYTES = len("%E2%80%8E")
_DIRECTION_MARK = re.compile(rb"%E2%80%8[EF]|%E2%81%A[6-9]|\xe2\x80[\x8e\x8f]|\xe2\x81[\xa6-\xa9]", re.IGNORECASE)
"""U+200E, U+200F and U+2066 to U+2069 in UTF-8, as browsers encode them, and plain."""

API_PREFIX = "/api/"
"""Responses there may be endless or take minutes."""


class HeadRequestLitestar(Litestar):
    """An application whose GET routes outside the API answer HEAD too, and that answers preflights of web pages."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        """Return the plugins with that for msgspec alone: the others import pydantic, which is installed for the
        command line and takes 6 MB.
        """
        return [*plugins, MsgspecDIPlugin()]

    async def __call__(
        self, scope: Scope | LifeSpanScope, receive: Receive | LifeSpanReceive, send: Send | LifeSpanSend
    ) -> None:
        """See ASGI."""
        if scope["type"] == ScopeType.HTTP:
            http_scope = cast("HTTPScope", scope)
            begin_language(http_scope["headers"], self.state.app_state.config.language)
            http_scope["query_string"] = remove_direction_marks(http_scope["query_string"])
            receive = _without_direction_marks(http_scope, cast("Receive", receive))
            headers = cors_headers(http_scope, self.state.app_state.config.cors_origins)
            if len(headers) > 1 and is_preflight(http_scope):
                await answer_preflight(headers, cast("Send", send))
                return
            if http_scope["method"] == HttpMethod.HEAD and not http_scope["path"].startswith(API_PREFIX):
                # Below this the request is a GET: its access rules apply.
                http_scope["method"] = HttpMethod.GET
                send = _without_body(cast("Send", send))
        await super().__call__(scope, receive, send)


def remove_direction_marks(encoded: bytes) -> bytes:
    """Return a query or the fields of a form without the invisible marks that turn the direction of a text: a number
    that is copied from a page in Arabic may have them, and equals no number then.

    >>> remove_direction_marks(b"q=%E2%80%8E%2B49+30%e2%81%a9&x=%E2%82%AC")
    b'q=%2B49+30&x=%E2%82%AC'
    """
    return _DIRECTION_MARK.sub(b"", encoded)


def _without_direction_marks(scope: HTTPScope, receive: Receive) -> Receive:
    content_type = dict(scope["headers"]).get(b"content-type", b"")
    if not content_type.lower().startswith(RequestEncodingType.URL_ENCODED.encode()):
        return receive
    held = b""

    async def receive_clean() -> ReceiveMessage:
        """Hold the end of each part back: a mark may be cut there."""
        nonlocal held
        message = await receive()
        if message["type"] == "http.request":
            body = remove_direction_marks(held + message["body"])
            held_bytes = MARK_BYTES - 1 if message["more_body"] else 0
            cut = max(len(body) - held_bytes, 0)
            message["body"], held = body[:cut], body[cut:]
        return message

    return receive_clean


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message["body"] = b""
        await send(message)

    return send_head
