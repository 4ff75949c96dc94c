"""A simulated PBX with a real socket: its web API by yeastar-p-series.md 5 to 7, with faults."""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from onhook.pbx.client import PbxRequest
from tests.pbx.yeastar.lists import FakeCallListApi

CERTIFICATES = Path(__file__).parents[1] / "certificates"
CLIENT_ID, CLIENT_SECRET = "our-client", "our-client-secret"
ResponseOverride = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


class PbxResponder:
    """`calls` is its list. `tokens` are the valid ones; `live_max` the most that were valid at once."""

    def __init__(self) -> None:
        self.calls = FakeCallListApi([])
        self.information: dict[str, Any] = {"sn": "3651XXXXXXXX", "firmware_version": "37.23.0.123"}
        self.tokens: set[str] = set()
        self.token_count_max = self.issued_token_count = self.login_count = 0
        self.token_seconds = 1800
        self.sockets: dict[web.WebSocketResponse, str] = {}
        self.subscribed: set[web.WebSocketResponse] = set()
        self.request_names: list[str] = []
        self.is_silent = False
        self.login_error_code = 0
        self.override_response: ResponseOverride | None = None
        self.port = 0

    async def respond(self, request: web.Request) -> web.StreamResponse:
        name = request.path.rpartition("v1.0/")[2] or request.path
        self.request_names.append(name)
        assert request.headers["User-Agent"] == "OpenAPI"
        overridden_response = await self.override_response(request) if self.override_response is not None else None
        if overridden_response is not None:
            return overridden_response
        if name in ("get_token", "refresh_token"):
            return self._login(name, await request.json())
        token = request.query.get("access_token", "")
        if name == "del_token":
            self.tokens.discard(token)
            return json_response(errcode=0)
        if token not in self.tokens:
            return json_response(errcode=10004, errmsg="TOKEN EXPIRED")
        if name == "subscribe":
            return await self._subscribe(request, token)
        if name == "system/information":
            return json_response(errcode=0, data=self.information)
        query = {key: value for key, value in request.query.items() if key != "access_token"}
        return web.Response(body=self.calls.respond(PbxRequest(path=request.path, query=query)).body)

    async def push(self, event: bytes) -> int:
        """Push an event to all subscribers; return their number."""
        for socket in list(self.subscribed):
            await socket.send_str(event.decode())
        return len(self.subscribed)

    async def close_sockets(self) -> None:
        """Close all sockets."""
        for socket in list(self.sockets):
            await socket.close()

    def _login(self, name: str, members: dict[str, str]) -> web.Response:
        if self.login_error_code:
            return json_response(errcode=self.login_error_code, errmsg="REFUSED")
        if name == "get_token":
            self.login_count += 1
            if members != {"username": CLIENT_ID, "password": CLIENT_SECRET}:
                return json_response(errcode=10005, errmsg="ACCESS DENIED")
        self.issued_token_count += 1
        self.tokens.add(f"token-{self.issued_token_count}")
        self.token_count_max = max(self.token_count_max, len(self.tokens))
        return json_response(
            errcode=0,
            access_token=f"token-{self.issued_token_count}",
            access_token_expire_time=self.token_seconds,
            refresh_token=f"refresh-{self.issued_token_count}",
            refresh_token_expire_time=86400,
        )

    async def _subscribe(self, request: web.Request, token: str) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets[socket] = token
        try:
            async for frame in socket:
                if frame.type is WSMsgType.TEXT and not self.is_silent:
                    await self._receive(socket, frame.data)
        finally:
            self.sockets.pop(socket, None)
            self.subscribed.discard(socket)
        return socket

    async def _receive(self, socket: web.WebSocketResponse, text: str) -> None:
        if text == "heartbeat":
            await socket.send_str("heartbeat response")
            return
        topic_list = msgspec.json.decode(text)["topic_list"]
        (self.subscribed.add if 30012 in topic_list else self.subscribed.discard)(socket)
        await socket.send_str('{"errcode":0,"errmsg":"SUCCESS"}')


def json_response(**members: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode({"errmsg": "SUCCESS"} | members), content_type="application/json")


@asynccontextmanager
async def open_pbx_responder(*, with_tls: bool = False) -> AsyncIterator[PbxResponder]:
    """Yield a PBX that listens on `port`, with TLS and a certificate of its own where asked."""
    context = None
    if with_tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATES / "pbx.pem", CERTIFICATES / "pbx.key")
    responder = PbxResponder()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", responder.respond)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    assert site._server is not None
    responder.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined] # an asyncio server has them
    try:
        yield responder
    finally:
        await responder.close_sockets()
        await runner.cleanup()


@contextmanager
def pbx_responder_in_thread() -> Iterator[PbxResponder]:
    """Yield the PBX for tests that do not run in an event loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    responder_context = open_pbx_responder()
    try:
        yield asyncio.run_coroutine_threadsafe(responder_context.__aenter__(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(responder_context.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
