"""HEAD, answered like GET without a body, for monitors."""

from typing import cast

from litestar import Litestar
from litestar.enums import HttpMethod, ScopeType
from litestar.types import HTTPScope, LifeSpanReceive, LifeSpanScope, LifeSpanSend, Message, Receive, Scope, Send

API_PREFIX = "/api/"
"""Responses there may be endless or take minutes."""


class HeadRequestLitestar(Litestar):
    """An application whose GET routes outside the API answer HEAD too."""

    async def __call__(
        self, scope: Scope | LifeSpanScope, receive: Receive | LifeSpanReceive, send: Send | LifeSpanSend
    ) -> None:
        """See ASGI."""
        if scope["type"] == ScopeType.HTTP:
            http_scope = cast("HTTPScope", scope)
            if http_scope["method"] == HttpMethod.HEAD and not http_scope["path"].startswith(API_PREFIX):
                # Below this the request is a GET: its access rules apply.
                http_scope["method"] = HttpMethod.GET
                send = _without_body(cast("Send", send))
        await super().__call__(scope, receive, send)


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message["body"] = b""
        await send(message)

    return send_head
