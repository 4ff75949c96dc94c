"""A store, settings and a courier, and real applications for it to send to."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.destinations import Destination
from onhook.cdr.record import Call
from onhook.config import Config
from onhook.delivery.destinations.registry import destination_kinds
from onhook.delivery.dispatcher import DeliveryDispatcher
from onhook.delivery.record_reader import RecordReader
from onhook.delivery.worker import DeliveryDeps
from onhook.lib.clock import SystemClock
from onhook.store.contract import StoreBatch
from onhook.store.duckdb import DuckDbStore, open_store
from onhook.store.position_notifier import PositionNotifier
from tests.factories import call, record

SECRET = "0123456789abcdefghijABCDEFGHIJ01"
PATIENCE_SECONDS = 20.0

Reply = Callable[[web.Request, bytes], Awaitable[web.StreamResponse | int]]
"""What an application answers: a response, or its status."""


class Application:
    """A real receiver: it remembers all that came, and answers as it is told."""

    def __init__(self, reply: Reply | None = None) -> None:
        self.reply = reply
        self.came: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.taken: list[dict[str, Any]] = []
        self.url = ""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Application"]:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._hear)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/calls"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _hear(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        said = json.loads(body)
        details = json.loads(said["msg"]) if isinstance(said.get("msg"), str) else said
        self.came.append(details)
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        answer = await self.reply(request, body) if self.reply else 200
        response = answer if isinstance(answer, web.StreamResponse) else web.Response(status=answer, text="so it is")
        if 200 <= response.status < 300:
            self.taken.append(details)
        return response

    def seen(self) -> list[str]:
        """The ids of the calls that were taken, in order."""
        return [details["call_id"] for details in self.taken]

    def times(self) -> Counter[str]:
        return Counter(self.seen())


class House:
    """What the courier works on. Calls come into the store by `say`."""

    def __init__(self, directory: Path, store: DuckDbStore) -> None:
        self.directory = directory
        self.store = store
        self.settings = AppDb(directory / "onhook.db")
        self.feed = PositionNotifier()
        self.position = 0
        self.troubles: list[tuple[str, Exception | None]] = []
        self.plights: list[tuple[str, bool]] = []
        self.courier = self._courier()
        self._carrying: asyncio.Task[None] | None = None

    def _courier(self) -> DeliveryDispatcher:
        return DeliveryDispatcher(
            means=DeliveryDeps(
                reading=RecordReader(self.store, self.feed),
                settings=AppDb(self.directory / "onhook.db"),
                clock=SystemClock(),
            ),
            sinks=destination_kinds(Config()),
            tell_trouble=lambda name, error: self.troubles.append((name, error)),
            tell_plight=lambda plight, has_begun: self.plights.append((plight.kind, has_begun)),
        )

    def subscribe(self, name: str, url: str, after: int | None = 0, **wishes: Any) -> Destination:
        values: dict[str, Any] = {"url": url, "allows_private": True} | wishes
        one, _ = self.settings.subscriptions.add(name, DestinationSpec(**values), SECRET, after=after, at=1)
        return one

    async def say(self, *calls: Call) -> list[str]:
        """Put calls into the store, each leg with a new number of its own; the ids of the calls."""
        numbered = [self._numbered(one) for one in calls]
        batch = StoreBatch(calls=numbered, quarantined=(), read_again=(), position=self.position)
        await self.store.put(batch)
        self.feed.announce(self.position)
        return [one.call_id for one in numbered]

    def _numbered(self, one: Call) -> Call:
        legs = []
        for leg in one.legs:
            self.position += 1
            legs.append(msgspec.structs.replace(leg, seq=self.position))
        return msgspec.structs.replace(one, legs=tuple(legs))

    def carry(self) -> None:
        """Let the courier begin; after `stop` another one, as after a restart."""
        self._carrying = asyncio.create_task(self.courier.run())

    async def stop(self) -> None:
        if self._carrying is not None:
            self._carrying.cancel()
            await asyncio.wait([self._carrying])
            self._carrying = None
            self.courier = self._courier()

    def cursor(self, name: str) -> int | None:
        one = self.settings.subscriptions.get(name)
        return self.settings.subscriptions.streams(one.subscription_id)[0].cursor

    def rows(self, name: str, state: Any = None) -> list[Any]:
        one = self.settings.subscriptions.get(name)
        return self.settings.deliveries.page(one.subscription_id, state, 10_000)


@asynccontextmanager
async def open_house(directory: Path) -> AsyncIterator[House]:
    store = await open_store(directory / "calls.duckdb")
    house = House(directory, store)
    try:
        yield house
    finally:
        await house.stop()
        await store.close()
        house.settings.close()


def some_calls(count: int, **changes: Any) -> Sequence[Call]:
    return [call(record(**changes)) for _ in range(count)]


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so; fails when it takes too long."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_so():  # noqa: ASYNC110 - what is waited for is in files and other tasks, which set no event
            await asyncio.sleep(0.01)
