"""An app at two hubs with one application database: its token is valid at both, and revoked at both."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from onhook.appdb import failed_logins
from onhook.appdb.appdb import AppDb
from onhook.pbx_api.logins import SharedLoginFailures
from tests.pbx_api.harness import PbxApiHarness, open_pbx_api_harness

SECONDS_MAX = 1.0


class Hub:
    """A hub, and its connection to the database."""

    def __init__(self, appdb: AppDb, harness: PbxApiHarness) -> None:
        self.appdb = appdb
        self.harness = harness


class Hubs:
    """Two hubs, and the credentials of an app."""

    def __init__(self, first: Hub, second: Hub, credentials: tuple[str, str]) -> None:
        self.first = first
        self.second = second
        self.credentials = credentials


@pytest.fixture
async def hubs(tmp_path: Path) -> AsyncIterator[Hubs]:
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(2):
            appdb = await stack.enter_async_context(AppDb(tmp_path / "onhook.db"))
            harness = await stack.enter_async_context(
                open_pbx_api_harness(
                    apps=appdb.apps,
                    grants=appdb.app_tokens,
                    login_failures=SharedLoginFailures(appdb.failed_logins),
                )
            )
            opened.append(Hub(appdb, harness))
        app, client_secret = await opened[0].appdb.apps.add("crm", now_us=1)
        yield Hubs(opened[0], opened[1], (app.client_id, client_secret))


async def read_code(hub: Hub, token: str) -> int:
    return int((await hub.harness.get("v1.0/cdr/list", token))["errcode"])


async def test_token_of_one_hub_is_valid_at_the_other(hubs: Hubs) -> None:
    pair = await hubs.first.harness.login(*hubs.credentials)
    assert await read_code(hubs.second, pair["access_token"]) == 0
    body = {"refresh_token": pair["refresh_token"]}
    renewed = await hubs.second.harness.request("POST", "v1.0/refresh_token", json=body)
    assert await read_code(hubs.first, renewed["access_token"]) == 0
    assert (await hubs.first.harness.request("POST", "v1.0/refresh_token", json=body))["errcode"] == 10004


async def test_token_that_is_revoked_at_one_hub_closes_its_socket_at_the_other_within_a_second(hubs: Hubs) -> None:
    token = (await hubs.first.harness.login(*hubs.credentials))["access_token"]
    async with hubs.first.harness.connect_socket(token) as socket:
        await socket.send("heartbeat")
        await socket.recv()
        assert (await hubs.second.harness.get("v1.0/del_token", token))["errcode"] == 0
        async with asyncio.timeout(SECONDS_MAX):
            assert json.loads(await socket.recv())["errcode"] == 10004
            await socket.wait_closed()
    assert [await read_code(hub, token) for hub in (hubs.first, hubs.second)] == [10004, 10004]


async def test_failed_logins_of_both_hubs_are_counted_together(hubs: Hubs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block holds at both; valid credentials are never blocked."""
    monkeypatch.setattr(failed_logins, "WRITE_PAUSE_SECONDS", 0.0)
    client_id, client_secret = hubs.credentials
    codes = []
    for number in range(6):
        hub = (hubs.first, hubs.second)[number % 2]
        codes.append((await hub.harness.login(client_id, "wrong"))["errcode"])
    assert codes == [10005, 10005, 10005, 10005, 70004, 70004]
    for hub in (hubs.first, hubs.second):
        assert (await hub.harness.login(client_id, client_secret))["errcode"] == 0


async def test_requests_while_the_database_is_locked(hubs: Hubs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token works; a login is answered 70082, to be tried again, and a wrong one as ever."""
    token = (await hubs.first.harness.login(*hubs.credentials))["access_token"]
    monkeypatch.setattr(hubs.first.appdb._database, "_call_seconds", 0.1)
    async with hubs.second.appdb.transaction():
        assert await read_code(hubs.first, token) == 0
        assert (await hubs.first.harness.login(*hubs.credentials))["errcode"] == 70082
        assert (await hubs.first.harness.get("v1.0/del_token", token))["errcode"] == 70082
        assert (await hubs.first.harness.login(hubs.credentials[0], "wrong"))["errcode"] == 10005
    assert await read_code(hubs.first, token) == 0
    assert (await hubs.first.harness.login(*hubs.credentials))["errcode"] == 0
