"""A local server with the documented HTTP interface of a service, which can be stopped and started again."""

import asyncio
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

from aiohttp import web

BODY_BYTES_MAX = 64 * 1_048_576


class ReceivedRequest(NamedTuple):
    """One request; `path` has the query."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class HttpServer(ABC):
    """See `contract.KindServer`. A service overrides `answer`; `reply` replaces its answers."""

    kind: ClassVar[str]
    url_path: ClassVar[str] = ""
    fields: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[ReceivedRequest] = []
        self.accepted: list[ReceivedRequest] = []
        self.reply: tuple[int, bytes] | None = None
        self.is_refusing = False
        self.delay_seconds = 0.0
        self._runner: web.AppRunner | None = None

    @property
    def settings(self) -> dict[str, Any]:
        return self.dead_settings(self.port)

    def dead_settings(self, port: int) -> dict[str, Any]:
        url = f"http://127.0.0.1:{port}{self.url_path}"
        return {"kind": self.kind, "url": url, "allow_private": True, "fields": dict(self.fields)}

    def refuse(self) -> None:
        self.is_refusing = True

    @abstractmethod
    def answer(self, request: ReceivedRequest) -> tuple[int, bytes]:
        """Return status and body of the response."""

    async def start(self) -> None:
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_route("*", "/{tail:.*}", self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _receive(self, request: web.Request) -> web.Response:
        received = ReceivedRequest(request.method, request.raw_path, dict(request.headers), await request.read())
        self.requests.append(received)
        await asyncio.sleep(self.delay_seconds)
        status, body = self.answer(received) if self.reply is None else self.reply
        response = web.Response(status=status, body=body)
        response.enable_compression()  # as many proxies do, for clients that accept it
        return response
