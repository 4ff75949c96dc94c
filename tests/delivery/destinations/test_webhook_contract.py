"""The contract suite for webhooks."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from tests.delivery.destinations.contract import REFUSED, DestinationContract


class WebhookServer:
    """A receiver that can be stopped and started again at its port."""

    def __init__(self) -> None:
        self.port = 0
        self.accepted: list[dict[str, Any]] = []
        self._is_refusing = False
        self._runner: web.AppRunner | None = None

    @property
    def settings(self) -> dict[str, Any]:
        return self.dead_settings(self.port)

    def dead_settings(self, port: int) -> dict[str, Any]:
        return {"url": f"http://127.0.0.1:{port}/calls", "allow_private": True}

    def durations(self) -> dict[str, int]:
        return {details["call_id"]: details["talk_duration"] for details in self.accepted}

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/calls", self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def refuse(self) -> None:
        self._is_refusing = True

    async def _receive(self, request: web.Request) -> web.Response:
        if "X-Onhook-Test" not in request.headers:
            details = json.loads((await request.json()).get("msg", "{}"))
            if self._is_refusing and details["call_to"] == REFUSED:
                return web.Response(status=422)
            if details:
                self.accepted.append(details)
        return web.Response()


class TestWebhook(DestinationContract):
    """The contract suite for webhooks."""

    slow_tests = ()

    @pytest.fixture
    async def server(self) -> AsyncIterator[WebhookServer]:
        server = WebhookServer()
        await server.start()
        yield server
        await server.stop()
