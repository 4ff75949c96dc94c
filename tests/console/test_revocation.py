"""A removed token, user or session has no open stream a second later."""

import asyncio
import re

import aiohttp
import pytest

from onhook.cdr.access_scope import AccessScope
from tests.console.conftest import ConsoleHarness
from tests.factories import details

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
