"""A running PBX API over simulated calls, and a client that works like an app."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import websockets

from onhook.appdb.api_behaviour import ApiBehaviour
from onhook.appdb.api_clients import App
from onhook.cdr.call_details import CallDetails
from onhook.lib.proxies import TrustedProxies
from onhook.pbx_api.applications import AppRegistry
from onhook.pbx_api.connection_limiter import listen
from onhook.pbx_api.logins import LoginFailures, MemoryLoginFailures
from onhook.pbx_api.pass_through import PbxGateway
from onhook.pbx_api.server import PbxApiServer
from onhook.pbx_api.single_app import SingleApp
from onhook.pbx_api.state import create_api_state
from onhook.pbx_api.tokens import GrantStore, MemoryGrants
from onhook.runtime.adapters.simulated_calls import SimulatedCalls, open_simulated_calls

SN = "3631A2124ABC"
CLIENT_ID = "UEnH9Dmv6uBJEXsYcag1trNfQThYXXXX"
CLIENT_SECRET = "ZLcXl63S9EtMnYoHUnjbVo6sA8CbXXXX"
ATHENS = ZoneInfo("Europe/Athens")
NOW = datetime(2026, 6, 30, 20, 0, tzinfo=UTC)
Json = dict[str, Any]


class ManualClock:
    """A clock that a test moves."""

    def __init__(self, now: datetime = NOW) -> None:
        self._now = now

    def microseconds(self) -> int:
        return int(self._now.timestamp() * 1_000_000)

    def now(self) -> datetime:
        return self._now

    def advance(self, **delta: float) -> None:
        self._now += timedelta(**delta)


class PbxApiHarness:
    """The PBX API, and an app outside of it."""

    def __init__(self, calls: SimulatedCalls, clock: ManualClock, pbx_api: PbxApiServer, address: str) -> None:
        self.calls = calls
        self.clock = clock
        self.pbx_api = pbx_api
        self.address = address
        self.url = f"http://{address}/openapi/"

    async def get(self, path: str, token: str | None = None, **parameters: str) -> Json:
        """Send a GET as apps do: `v1.0/cdr/list`."""
        query = parameters if token is None else {"access_token": token, **parameters}
        response: Json = await self.request("GET", path, params=query)
        return response

    async def request(self, method: str, path: str, **options: Any) -> Any:
        """Send any request; the status is always 200, and the connection is closed."""
        headers = {"User-Agent": "OpenAPI", **options.pop("headers", {})}
        async with aiohttp.request(method, self.url + path, headers=headers, **options) as response:
            assert response.status == 200
            assert response.headers["Connection"] == "close"
            return await response.json()

    async def login(self, username: str = CLIENT_ID, password: str = CLIENT_SECRET) -> Json:
        response: Json = await self.request("POST", "v1.0/get_token", json={"username": username, "password": password})
        return response

    async def token(self) -> str:
        return str((await self.login())["access_token"])

    def connect_socket(self, token: str) -> websockets.connect:
        """Return a socket of the ordinary client, opened with `async with`."""
        return websockets.connect(
            f"ws://{self.address}/openapi/v1.0/subscribe?access_token={token}", user_agent_header="OpenAPI"
        )

    def add_records(self, details: Sequence[CallDetails]) -> None:
        """Add ended calls: they can be listed, and are sent to sockets."""
        for record_details in details:
            self.calls.record_made(record_details)
            self.calls.record_sent(record_details, b"")


@asynccontextmanager
async def open_pbx_api_harness(
    *,
    behaviour: ApiBehaviour = ApiBehaviour(),  # noqa: B008 - frozen
    networks: tuple[str, ...] = (),
    pbxs: tuple[str, ...] = (),
    trusted_proxies: tuple[str, ...] = (),
    apps: AppRegistry | None = None,
    grants: GrantStore | None = None,
    login_failures: LoginFailures | None = None,
    gateway: PbxGateway | None = None,
    allow_control: bool = False,
    on_flood: Callable[[], None] = lambda: None,
) -> AsyncIterator[PbxApiHarness]:
    """Yield a PBX API on a free port, without TLS."""
    clock = ManualClock()
    app = App(
        name="crm",
        client_id=CLIENT_ID,
        pbxs=pbxs,
        networks=networks,
        behaviour=behaviour,
        allow_control=allow_control,
        created_at=clock.now(),
    )
    async with open_simulated_calls(SN, ATHENS, clock) as (calls, _task):
        pbx_api = PbxApiServer(
            create_api_state(
                calls=calls,
                apps=apps or SingleApp(app, CLIENT_SECRET),
                clock=clock,
                grants=grants or MemoryGrants(),
                login_failures=login_failures or MemoryLoginFailures(),
                trusted_proxies=TrustedProxies(trusted_proxies),
                gateway=gateway,
                on_flood=on_flood,
            )
        )
        listener = listen("127.0.0.1", 0)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        async with pbx_api.serve(listener, None):
            yield PbxApiHarness(calls, clock, pbx_api, address)
