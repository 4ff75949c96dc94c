"""Time from the event of an ended call to a page, an application's webhook and a socket, one call at a time.

`python -m bench.call_end` prints the table. `onhook serve` runs with one PBX, one destination and one app; this process
sends an event, and notes when the live feed of the console, the application and the WebSocket of the PBX API have it.
The next event is sent when all three have it, and a moment later: nothing else runs.
"""

import asyncio
import re
import statistics
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import aiohttp
import msgspec
import uvloop
from aiohttp import web

from bench.idle import ServerProcesses, run_onhook
from bench.intake_load import SECRET, SN, body
from bench.table import Row, table
from onhook.lib.signing import sign

CALLS = 300
WARM_UP_CALLS = 20
"""The first calls pay for imports and for caches of the engines."""

PAUSE_SECONDS = 0.05
WAY_SECONDS_MAX = 10.0
TARGET = "p50 100 ms, p99 300 ms"

_WAYS: Final = ("page", "webhook", "socket")
_CALL_ID = re.compile(rb'call_id\\*":\s*\\*"([0-9.]+)')


class App(msgspec.Struct, frozen=True):
    """The credentials of an app of the PBX API."""

    client_id: str
    client_secret: str


class Arrivals:
    """When each way had a call, by the call's id."""

    def __init__(self) -> None:
        self._futures: dict[tuple[str, str], asyncio.Future[float]] = {}

    def arrival(self, way: str, call_id: str) -> asyncio.Future[float]:
        """Return the time at which a way has a call, on the monotonic clock, in seconds."""
        return self._futures.setdefault((way, call_id), asyncio.get_running_loop().create_future())

    def note(self, way: str, data: bytes) -> None:
        """Note the first arrival of each call whose id is in some bytes."""
        now = time.monotonic()
        for match in _CALL_ID.finditer(data):
            arrival = self.arrival(way, match[1].decode())
            if not arrival.done():
                arrival.set_result(now)


def run(calls: int = CALLS) -> list[Row]:
    """Return the median and the 99th percentile of each way."""
    delays = uvloop.run(_measure(calls))
    return [_row(way, delays[way]) for way in _WAYS]


def _row(way: str, delays: Sequence[float]) -> Row:
    median, late = statistics.median(delays), statistics.quantiles(delays, n=100)[98]
    return Row(f"call end to {way}, one at a time", f"p50 {median * 1000:.1f} ms, p99 {late * 1000:.1f} ms", "", TARGET)


async def _measure(calls: int) -> dict[str, list[float]]:
    arrivals = Arrivals()
    delays: dict[str, list[float]] = {way: [] for way in _WAYS}
    async with AsyncExitStack() as stack:
        server, app = await stack.enter_async_context(_server(arrivals))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        feed = await stack.enter_async_context(await _open_feed(session, server))
        socket = await stack.enter_async_context(await _open_socket(session, server, app))
        tasks = [
            asyncio.create_task(_note_lines(feed, arrivals)),
            asyncio.create_task(_note_messages(socket, arrivals)),
        ]
        intake = f"http://{await asyncio.to_thread(server.address, 'intake')}/"
        for number in range(WARM_UP_CALLS + calls):
            await asyncio.sleep(PAUSE_SECONDS)
            delay_by_way = await _send(session, intake, number, arrivals)
            for way, delay in delay_by_way.items() if number >= WARM_UP_CALLS else ():
                delays[way].append(delay)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return delays


async def _send(session: aiohttp.ClientSession, url: str, number: int, arrivals: Arrivals) -> Mapping[str, float]:
    """Send one event; return the seconds until each way had its call."""
    payload = body(number)
    match = _CALL_ID.search(payload)
    assert match is not None, "each event has one"
    began_at = time.monotonic()
    async with session.post(url, data=payload, headers={"X-Signature": sign(SECRET, payload)}) as answer:
        answer.raise_for_status()
    waiting = [arrivals.arrival(way, match[1].decode()) for way in _WAYS]
    async with asyncio.timeout(WAY_SECONDS_MAX):
        times = await asyncio.gather(*waiting)
    return {way: arrived_at - began_at for way, arrived_at in zip(_WAYS, times, strict=True)}


@asynccontextmanager
async def _server(arrivals: Arrivals) -> AsyncIterator[tuple[ServerProcesses, App]]:
    """Run `onhook serve` with one PBX and one app, and this process as its destination."""

    async def accept(request: web.Request) -> web.Response:
        arrivals.note("webhook", await request.read())
        return web.Response(text="ok")

    application = web.Application()
    application.router.add_post("/calls", accept)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    with TemporaryDirectory(prefix="onhook-bench-") as name:
        data = Path(name)
        app = await asyncio.to_thread(_prepare, data, f"http://127.0.0.1:{port}/calls")
        server = ServerProcesses(data)
        try:
            yield server, app
        finally:
            await asyncio.to_thread(server.stop)
            await runner.cleanup()


def _prepare(data: Path, url: str) -> App:
    """Register a PBX and the destination; return an app's credentials."""
    run_onhook("pbx", "add", "Office", "--sn", SN, "--secret", SECRET, "--data", str(data))
    run_onhook("destination", "add", "crm", "--url", url, "--allow-private", "--data", str(data))
    return msgspec.json.decode(run_onhook("app", "add", "crm", "--format", "json", "--data", str(data)), type=App)


async def _open_feed(session: aiohttp.ClientSession, server: ServerProcesses) -> aiohttp.ClientResponse:
    """Open what an open page reads."""
    hub = await asyncio.to_thread(server.address, "hub")
    token = (server.data / "admin.token").read_text(encoding="ascii").strip()
    headers = {"Authorization": f"Bearer {token}"}
    return await session.get(
        f"http://{hub}/api/v1/live",
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=None),
        raise_for_status=True,
    )


async def _open_socket(
    session: aiohttp.ClientSession, server: ServerProcesses, app: App
) -> aiohttp.ClientWebSocketResponse:
    """Open the WebSocket of the PBX API, and subscribe to the ends of calls."""
    base = f"https://{await asyncio.to_thread(server.address, 'pbx_api')}/openapi/v1.0"
    login = {"username": app.client_id, "password": app.client_secret}
    async with session.post(f"{base}/get_token", json=login, headers={"User-Agent": "OpenAPI"}, ssl=False) as answer:
        token = (await answer.json())["access_token"]
    socket = await session.ws_connect(f"{base}/subscribe?access_token={token}", ssl=False)
    await socket.send_json({"topic_list": [30012]})
    await socket.receive()
    return socket


async def _note_lines(feed: aiohttp.ClientResponse, arrivals: Arrivals) -> None:
    async for line in feed.content:
        arrivals.note("page", line)


async def _note_messages(socket: aiohttp.ClientWebSocketResponse, arrivals: Arrivals) -> None:
    async for message in socket:
        arrivals.note("socket", str(message.data).encode())


if __name__ == "__main__":
    print(table(run(int(sys.argv[1]) if len(sys.argv) > 1 else CALLS)))
