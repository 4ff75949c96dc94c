"""A server on the data directory of an earlier commit, without any command before or after it."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.runtime.harness import READ_SECONDS_MAX, Server, create_server
from tests.test_upgrade import COMMITS, OldDirectory
from tests.waiting import polls, wait_until

PENDING_PORTS: Mapping[str, int] = {"7a0f07c": 17212, "fac98bd": 17312}
"""Of the destination `Refuser` in these directories, which refused what was sent to it until they were packed."""

CALL_MEMBERS = ("sn", "call_id", "started_at", "status", "call_from", "call_to", "talk_duration", "call_duration")

START_SECONDS_MAX = 120.0


@asynccontextmanager
async def accepting(port: int | None) -> AsyncIterator[list[str]]:
    """Accept what is sent to `Refuser`; yield the ids of its calls."""
    call_ids: list[str] = []

    async def accept(request: web.Request) -> web.Response:
        if request.path == "/refuser":
            call_ids.append(json.loads((await request.json())["msg"])["call_id"])
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", accept)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    if port is not None:
        await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield call_ids
    finally:
        await runner.cleanup()


def list_calls(server: Server) -> list[dict[str, Any]]:
    """Return all calls; none while the store is rebuilt."""
    completed = server.execute("calls", "--format", "json", "--limit", "10000", timeout_seconds=READ_SECONDS_MAX)
    return [] if completed.returncode else json.loads(completed.stdout)


async def sign_in(server: Server, name: str, password: str) -> int:
    """Return the status of a page after a sign-in."""
    url = f"http://{server.address('hub')}"
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(url, cookie_jar=jar, headers={"Accept": "text/html"}) as browser:
        await browser.post("/sign-in", data={"name": name, "password": password})
        async with browser.get("/calls", allow_redirects=False) as answer:
            return answer.status


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("commit", COMMITS)
async def test_server_starts_on_the_directory_of_an_earlier_commit(tmp_path: Path, commit: str) -> None:
    """The same calls, its people and programs get in, and what was pending is sent once."""
    old_directory = OldDirectory(commit, tmp_path)
    secrets = old_directory.expected("secrets")
    expected_calls = [{name: call[name] for name in CALL_MEMBERS} for call in old_directory.expected("calls")]
    with create_server(tmp_path / "onhook-data") as server:
        async with accepting(PENDING_PORTS.get(commit)) as call_ids:
            await asyncio.to_thread(server.launch)
            calls: list[dict[str, Any]] = []

            async def has_all_calls() -> bool:
                calls[:] = await asyncio.to_thread(list_calls, server)
                return len(calls) >= len(expected_calls)

            await wait_until((await has_all_calls() async for _ in polls()), START_SECONDS_MAX)
            assert "rebuilt the store" in server.log_text()

            def key(call: dict[str, Any]) -> tuple[str, str]:
                return call["sn"], call["call_id"]

            assert sorted(({name: call[name] for name in CALL_MEMBERS} for call in calls), key=key) == sorted(
                expected_calls, key=key
            )
            for name, password in secrets["passwords"].items():
                assert await sign_in(server, name, password) == 200
                assert await sign_in(server, name, "another long password") != 200
            token = next(text.strip() for label, text in secrets.items() if label.startswith("token operator"))
            headers = {"Authorization": f"Bearer {token}"}
            async with aiohttp.request("GET", f"http://{server.address('hub')}/api/v1/pbxs", headers=headers) as answer:
                sns = {pbx["sn"] for pbx in (await answer.json())["data"]}
            assert sns == {pbx["sn"] for pbx in old_directory.expected("pbxs")}
            pending = [
                row["call_id"]
                for row in old_directory.expected("onhook_db_rows").get("deliveries", ())
                if row["state"] == "waiting" and row["subscription_id"] == 8
            ]
            assert bool(pending) is (commit in PENDING_PORTS)
            await wait_until(lambda: len(call_ids) >= len(pending), START_SECONDS_MAX)
        assert await asyncio.to_thread(server.stop) == 0
    assert sorted(call_ids) == sorted(pending)
