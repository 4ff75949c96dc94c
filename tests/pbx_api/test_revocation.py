"""A changed or removed app has its new permissions a second later, on open sockets too."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import websockets

from onhook.appdb.api_clients import Apps
from onhook.appdb.appdb import AppDb
from tests.factories import details
from tests.pbx_api.harness import SN, PbxApiHarness, open_pbx_api_harness

SECONDS_MAX = 1.0


@asynccontextmanager
async def open_subscription(path: Path) -> AsyncIterator[tuple[PbxApiHarness, AppDb, websockets.ClientConnection]]:
    """Yield an app's open socket, subscribed to call ends, and the database of its app."""
    appdb = AppDb(path / "onhook.db")
    app, client_secret = await appdb.apps.add("crm", now_us=1, pbxs=[SN])
    async with open_pbx_api_harness(apps=appdb.apps, grants=appdb.app_tokens) as harness:
        token = (await harness.login(app.client_id, client_secret))["access_token"]
        async with harness.connect_socket(token) as socket:
            await socket.send('{"topic_list":[30012]}')
            assert json.loads(await socket.recv())["errcode"] == 0
            yield harness, appdb, socket
    await appdb.close()


@pytest.mark.parametrize(
    "change",
    [
        lambda apps: apps.remove("crm"),
        lambda apps: apps.renew_secret("crm"),
        lambda apps: apps.change("crm", networks=["192.0.2.7"]),
    ],
    ids=["removed", "renewed", "another network"],
)
async def test_socket_of_an_app_without_access_is_closed_within_a_second(
    tmp_path: Path, change: Callable[[Apps], Awaitable[object]]
) -> None:
    async with open_subscription(tmp_path) as (_harness, appdb, socket):
        await change(appdb.apps)
        async with asyncio.timeout(SECONDS_MAX):
            assert json.loads(await socket.recv())["errcode"] == 10004
            await socket.wait_closed()


async def test_socket_of_an_app_with_another_pbx_receives_nothing_further(tmp_path: Path) -> None:
    async with open_subscription(tmp_path) as (harness, appdb, socket):
        await appdb.apps.change("crm", pbxs=["3699OTHER"])
        await asyncio.sleep(SECONDS_MAX)
        harness.add_records([details()])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await socket.recv()
