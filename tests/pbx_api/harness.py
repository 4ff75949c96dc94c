"""An exchange that really runs, over calls in memory, and a client that speaks as applications do."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import websockets

from onhook.appdb.api_behaviour import ApiBehaviour
from onhook.appdb.api_clients import App
from onhook.cdr.call_details import CallDetails
from onhook.pbx_api.connection_limiter import listen
from onhook.pbx_api.fault_injection import FaultPolicy
from onhook.pbx_api.memory import MemoryCalls
from onhook.pbx_api.server import PbxApiServer
from onhook.pbx_api.single_app import SingleApp

SN = "3631A2124ABC"
CLIENT_ID = "UEnH9Dmv6uBJEXsYcag1trNfQThYXXXX"
CLIENT_SECRET = "ZLcXl63S9EtMnYoHUnjbVo6sA8CbXXXX"
ATHENS = ZoneInfo("Europe/Athens")
NOW = datetime(2026, 6, 30, 20, 0, tzinfo=UTC)
Json = dict[str, Any]


class MovedClock:
    """A clock that a test moves."""

    def __init__(self, now: datetime = NOW) -> None:
        self._now = now

    def microseconds(self) -> int:
        return int(self._now.timestamp() * 1_000_000)

    def now(self) -> datetime:
        return self._now

    def move(self, **by: float) -> None:
        self._now += timedelta(**by)


class House:
    """The exchange, and an application outside of it."""

    def __init__(self, calls: MemoryCalls, clock: MovedClock, exchange: PbxApiServer, address: str) -> None:
        self.calls = calls
        self.clock = clock
        self.exchange = exchange
        self.address = address
        self.url = f"http://{address}/openapi/"

    async def ask(self, path: str, token: str | None = None, **parameters: str) -> Json:
        """A GET as applications send it: `v1.0/cdr/list`."""
        given = parameters if token is None else {"access_token": token, **parameters}
        answer: Json = await self.request("GET", path, params=given)
        return answer

    async def request(self, method: str, path: str, **given: Any) -> Any:
        """Any request; always HTTP 200, and the connection is closed."""
        headers = {"User-Agent": "OpenAPI", **given.pop("headers", {})}
        async with aiohttp.request(method, self.url + path, headers=headers, **given) as answer:
            assert answer.status == 200
            assert answer.headers["Connection"] == "close"
            return await answer.json()

    async def login(self, username: str = CLIENT_ID, password: str = CLIENT_SECRET) -> Json:
        answer: Json = await self.request("POST", "v1.0/get_token", json={"username": username, "password": password})
        return answer

    async def token(self) -> str:
        return str((await self.login())["access_token"])

    def socket(self, token: str) -> websockets.connect:
        """A socket by the ordinary client, which is opened with `async with`."""
        return websockets.connect(
            f"ws://{self.address}/openapi/v1.0/subscribe?access_token={token}", user_agent_header="OpenAPI"
        )

    def happen(self, details: Sequence[CallDetails]) -> None:
        """Calls end: they can be asked for, and are announced."""
        for one in details:
            self.calls.tell(one)
            self.calls.announce(one)


@asynccontextmanager
async def running_house(
    *,
    manner: ApiBehaviour = ApiBehaviour(),  # noqa: B008 - frozen
    trouble: FaultPolicy | None = None,
    networks: tuple[str, ...] = (),
    pbxs: tuple[str, ...] = (),
) -> AsyncIterator[House]:
    """An exchange on a free port, without TLS."""
    clock = MovedClock()
    app = App(name="crm", client_id=CLIENT_ID, pbxs=pbxs, networks=networks, manner=manner, created_at=clock.now())
    calls = MemoryCalls(SN, ATHENS, clock)
    exchange = PbxApiServer(calls=calls, applications=SingleApp(app, CLIENT_SECRET), clock=clock, trouble=trouble)
    listening = listen("127.0.0.1", 0)
    address = f"127.0.0.1:{listening.getsockname()[1]}"
    async with exchange.opened(listening, None):
        yield House(calls, clock, exchange, address)
