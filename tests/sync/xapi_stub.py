"""A stub of the reports of a 3CX, which behaves as public descriptions of the XAPI say: tokens, pages, delays."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

CLIENT, SECRET = "onhook", "xapi-secret-text"

_PERIOD = re.compile(r"periodFrom=([^,]+),periodTo=([^,]+),.*hidePcalls=true\)")


class XapiStub:
    """`segments` are those of all calls; each token is good for `token_uses` reports. `delays` are the seconds after
    which a client may try again, of the next reports.
    """

    def __init__(self, segments: Sequence[Mapping[str, Any]]) -> None:
        self.segments = list(segments)
        self.token_uses = 10**9
        self.delays: list[int] = []
        self.login_count = 0
        self._uses_left = 0

    async def on_token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if (form["client_id"], form["client_secret"], form["grant_type"]) != (CLIENT, SECRET, "client_credentials"):
            return web.json_response({"error": "invalid_client"}, status=400)
        self.login_count += 1
        self._uses_left = self.token_uses
        return web.json_response({"access_token": f"token-{self.login_count}", "token_type": "Bearer"})

    async def on_report(self, request: web.Request) -> web.Response:
        is_accepted = request.headers.get("Authorization") == f"Bearer token-{self.login_count}"
        if not is_accepted or not self._uses_left:
            return web.Response(status=401)
        if self.delays:
            return web.Response(status=429, headers={"Retry-After": str(self.delays.pop(0))})
        self._uses_left -= 1
        match = _PERIOD.search(request.path)
        assert match is not None, request.path
        since, until = match.groups()
        found_segments = [item for item in self.segments if since <= item["StartTime"] < until]
        first, count = int(request.query["$skip"]), int(request.query["$top"])
        return web.json_response({"value": found_segments[first : first + count]})


@asynccontextmanager
async def run_xapi(stub: XapiStub) -> AsyncIterator[str]:
    """Yield the address of the stub."""
    app = web.Application()
    app.router.add_post("/connect/token", stub.on_token)
    app.router.add_get("/xapi/v1/ReportCallLogData/{report:.*}", stub.on_report)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
