"""What is done before a request is routed: its language is begun, HEAD is answered like GET without a body, for
monitors, and preflights are answered.
"""

from typing import cast

from litestar import Litestar
from litestar.enums import HttpMethod, ScopeType
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from litestar.types import HTTPScope, LifeSpanReceive, LifeSpanScope, LifeSpanSend, Message, Receive, Scope, Send

from onhook.console.auth.cors import answer_preflight, cors_headers, is_preflight
from onhook.console.reader import begin_language

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
            headers = cors_headers(http_scope, self.state.app_state.config.cors_origins)
            if len(headers) > 1 and is_preflight(http_scope):
                await answer_preflight(headers, cast("Send", send))
                return
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
