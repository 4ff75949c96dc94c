"""A real receiver of webhooks that behaves well or badly, chosen by notification and attempt, not by order."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal, NamedTuple, get_args

from aiohttp import web

from onhook.lib.signing import is_signed_by

Mode = Literal["accept", "reject", "flaky", "busy", "throttle", "hang", "uneven", "disconnect", "gone"]
MODES: tuple[Mode, ...] = get_args(Mode)

HANG_SECONDS = 30.0
"""Longer than the time-out of a destination."""

UNEVEN_SECONDS = 6.0
"""Some notifications are accepted so much later than those that come after them."""

RETRY_AFTER_SECONDS = 90


class AcceptedNotification(NamedTuple):
    """A notification that was answered 200: its id, call and details; `time` is when it came, in seconds."""

    notification_id: str
    call_id: str
    details: dict[str, Any]
    time: float

    @property
    def seq(self) -> int:
        return int(self.notification_id.rpartition("-")[2])


class SimulatedReceiver:
    """Listens until the simulation ends. `secrets` are those with which a notification may be signed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.mode: Mode = "accept"
        self.url = ""
        self.secrets: list[str] = []
        self.accepted: list[AcceptedNotification] = []
        self.unsigned_ids: list[str] = []
        self._attempts: dict[str, int] = {}

    @asynccontextmanager
    async def listen(self) -> AsyncIterator["SimulatedReceiver"]:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._receive)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/{self.name}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        time = asyncio.get_running_loop().time()
        body = await request.read()
        notification_id = request.headers["webhook-id"]
        self._attempts[notification_id] = self._attempts.get(notification_id, 0) + 1
        if not is_signed_by(self.secrets, body, request.headers["X-Signature"]):
            self.unsigned_ids.append(notification_id)
        status = await self._choose_status(request, notification_id)
        if status == 200:
            details = json.loads(json.loads(body)["msg"])
            self.accepted.append(AcceptedNotification(notification_id, details["call_id"], details, time))
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status in (429, 503) else {}
        return web.Response(status=status, headers=headers)

    async def _choose_status(self, request: web.Request, notification_id: str) -> int:
        mode = self.mode
        if mode == "hang":
            await asyncio.sleep(HANG_SECONDS)
            return 500
        if mode == "disconnect" and request.transport is not None:
            request.transport.abort()
            return 500
        quarter = hashlib.md5(notification_id.encode(), usedforsecurity=False).digest()[0] % 4
        if mode == "uneven" and quarter == 0:
            await asyncio.sleep(UNEVEN_SECONDS)
        if mode == "flaky":
            # The first attempts of some notifications fail, whatever the order in which they arrive.
            return 500 if self._attempts[notification_id] <= quarter else 200
        return {"reject": 400, "busy": 503, "throttle": 429, "gone": 410}.get(mode, 200)
