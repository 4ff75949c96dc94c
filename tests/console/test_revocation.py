"""A removed token, user or session has no open stream a second later."""

import asyncio
import re

import aiohttp
import pytest

from onhook.cdr.access_scope import AccessScope
from onhook.store.sql.contract import SqlResult
from onhook.store.sql.runner import SqlProcessRunner
from tests.console.conftest import ConsoleHarness
from tests.factories import details
from tests.waiting import wait_until

SECONDS_MAX = 1.0


async def read_to_end(answer: aiohttp.ClientResponse) -> None:
    """Read until the connection ends, however it ends."""
    try:
        while await answer.content.readany():
            pass
    except aiohttp.ClientError:
        return
    finally:
        answer.close()


async def open_feed(client: aiohttp.ClientSession) -> aiohttp.ClientResponse:
    answer = await client.get("/api/v1/live")
    assert answer.status == 200
    await answer.content.readline()
    return answer


@pytest.mark.parametrize("change", ["removed", "limited"])
async def test_live_feed_of_a_revoked_token_ends_within_a_second(harness: ConsoleHarness, change: str) -> None:
    """A token that is made again with a scope is another one."""
    token = await harness.appdb.tokens.add("wall", "reader", now_us=1)
    async with harness.client(token) as client:
        answer = await open_feed(client)
        await harness.appdb.tokens.remove("wall")
        if change == "limited":
            await harness.appdb.tokens.add("wall", "reader", now_us=1, scope=AccessScope(sns=()))
        async with asyncio.timeout(SECONDS_MAX):
            await read_to_end(answer)


async def test_live_feed_of_a_valid_token_stays_open(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    answer = await open_feed(client)
    await harness.appdb.tokens.add("other", "reader", now_us=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):
            await read_to_end(answer)


@pytest.mark.parametrize("change", ["session ended", "user removed"])
async def test_live_feed_of_an_ended_session_ends_within_a_second(
    harness: ConsoleHarness, client: aiohttp.ClientSession, change: str
) -> None:
    invitation = await harness.appdb.users.add("Alice", "reader", None, now_us=harness.clock.microseconds())
    async with harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True)) as alice:
        data = {"invitation": invitation, "password": "three short words", "password_repeat": "three short words"}
        assert (await alice.post("/invitation", data=data)).status == 200
        answer = await open_feed(alice)
        if change == "user removed":
            await harness.appdb.users.remove("Alice")
        else:
            numbers = re.findall(r"/users/sessions/(\d+)/end", await (await client.get("/users")).text())
            assert (await client.post(f"/users/sessions/{numbers[0]}/end")).status == 200
        async with asyncio.timeout(SECONDS_MAX):
            await read_to_end(answer)


@pytest.mark.slow
async def test_export_of_a_revoked_token_is_cut_off_within_a_second(harness: ConsoleHarness) -> None:
    """Its reader is slow: what follows is never sent."""
    await harness.ingest_details([details(call_from=f"{'x' * 4_000}<{n}>") for n in range(5_000)])
    token = await harness.appdb.tokens.add("copier", "reader", now_us=1)
    async with harness.client(token, read_bufsize=1024) as client:
        answer = await client.get("/api/v1/export.jsonl")
        first = await answer.content.read(1024)
        assert first
        await harness.appdb.tokens.remove("copier")
        await asyncio.sleep(SECONDS_MAX)
        with pytest.raises(aiohttp.ClientError):
            await answer.read()
        answer.close()


SLOW_SQL = "SELECT count(*) FROM range(400000000) AS numbers WHERE range * 7 % 3 = 1"


@pytest.mark.parametrize("path", ["/api/v1/sql", "/sql", "/sql.csv"])
async def test_sql_query_of_a_revoked_token_ends_within_a_second(harness: ConsoleHarness, path: str) -> None:
    """Without its result; no process works on."""
    runner = harness.app_state.sql_runner
    assert isinstance(runner, SqlProcessRunner)
    token = await harness.appdb.tokens.add("bi", "reader", now_us=1)
    async with harness.client(token) as client:
        assert (await client.get(path, params={"sql": "SELECT 1"})).status == 200
        query_task = asyncio.create_task(client.get(path, params={"sql": SLOW_SQL}, allow_redirects=False))
        await wait_until(lambda: bool(runner._tasks))
        await harness.appdb.tokens.remove("bi")
        async with asyncio.timeout(SECONDS_MAX):
            answer = await query_task
        assert answer.status == 401
        await wait_until(lambda: not runner._tasks)


async def test_sql_query_of_a_token_that_is_removed_as_it_ends_has_no_result(
    harness: ConsoleHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await harness.appdb.tokens.add("bi", "reader", now_us=1)
    run = SqlProcessRunner.run

    async def run_and_remove(runner: SqlProcessRunner, sql: str) -> SqlResult:
        result = await run(runner, sql)
        await harness.appdb.tokens.remove("bi")
        return result

    monkeypatch.setattr(SqlProcessRunner, "run", run_and_remove)
    async with harness.client(token) as client:
        assert (await client.get("/api/v1/sql", params={"sql": "SELECT 1"})).status == 401
