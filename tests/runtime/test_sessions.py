"""A restart of the server signs no browser out, nor does the death of its hub."""

import asyncio
import sqlite3
import time
from contextlib import closing

import aiohttp
import pytest

from onhook.console.auth.failures import FAILURES_MAX, TOKEN_POLICY, WINDOW_MICROSECONDS
from tests.runtime.harness import Server, wait_until

OURS = {"Sec-Fetch-Site": "same-origin"}


class Browser:
    """A browser at a server, whose port is another one after a restart."""

    def __init__(self, server: Server, session: aiohttp.ClientSession) -> None:
        self._server = server
        self._session = session

    async def read_calls(self) -> int:
        """Return the status of the list of calls."""
        async with self._session.get(self._url("/api/v1/calls")) as answer:
            return answer.status

    async def sign_in(self, token: str) -> int:
        return await self._post("/sign-in", token=token)

    async def sign_out(self) -> int:
        return await self._post("/sign-out")

    async def _post(self, path: str, **form: str) -> int:
        async with self._session.post(self._url(path), data=form, allow_redirects=False) as answer:
            return answer.status

    def _url(self, path: str) -> str:
        return f"http://{self._server.address('hub')}{path}"


def restart(server: Server, way: str) -> None:
    if way == "stop":
        assert server.stop() == 0
        server.start()
        return
    before = server.process_info("hub")
    server.kill("hub")
    wait_until(lambda: server.process_info("hub") not in (None, before))


def count_wrong_tokens(server: Server) -> int:
    """Return how many wrong tokens are stored."""
    with closing(sqlite3.connect(f"file:{server.directory / 'onhook.db'}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT failures FROM failed_logins WHERE kind = ?", (TOKEN_POLICY.kind,)).fetchall()
    return sum(failures for (failures,) in rows)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["stop", "kill"])
async def test_session_is_valid_after_a_restart(server: Server, way: str) -> None:
    """One that was ended stays ended, and the limit for wrong tokens holds."""
    await asyncio.to_thread(server.start)
    token = (server.directory / "admin.token").read_text().strip()
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar, headers=OURS) as session, aiohttp.ClientSession() as outside:
        browser, outsider = Browser(server, session), Browser(server, outside)
        assert await browser.sign_in(token) == 303
        began_at = time.monotonic()
        assert [await outsider.sign_in("wrong") for _ in range(FAILURES_MAX)] == [401] * FAILURES_MAX
        # A kill forgets the failures of a moment.
        await asyncio.to_thread(wait_until, lambda: count_wrong_tokens(server) == FAILURES_MAX)
        await asyncio.to_thread(restart, server, way)
        assert await browser.read_calls() == 200
        # The limit holds for a minute, in which a loaded machine may not be back.
        is_counted = time.monotonic() - began_at < WINDOW_MICROSECONDS / 1e6
        assert await outsider.sign_in("wrong") == (429 if is_counted else 401)
        stolen = {cookie.key: cookie.value for cookie in jar}
        assert await browser.sign_out() == 303
        await asyncio.to_thread(restart, server, way)
        async with aiohttp.ClientSession(cookies=stolen) as thief:
            assert await Browser(server, thief).read_calls() == 401
