"""A user of two hubs with one application database: signed in and out at both, with one limit for wrong passwords."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from onhook.appdb import failed_logins
from onhook.appdb.appdb import AppDb
from onhook.appdb.sessions import LAST_USED_STEP_MICROSECONDS
from onhook.console.auth import failures
from onhook.console.auth.access import COOKIES_MAX
from onhook.console.auth.failures import FAILURES_MAX
from tests.console.conftest import ConsoleHarness

PASSWORD = "three short words"
OURS = {"Sec-Fetch-Site": "same-origin"}


class OtherHub:
    """A second hub, by its address and its connection to the database."""

    def __init__(self, url: str, appdb: AppDb) -> None:
        self.url = url
        self.appdb = appdb


@pytest.fixture
async def other(harness: ConsoleHarness) -> AsyncIterator[OtherHub]:
    async with harness.open_other_hub() as (url, appdb):
        yield OtherHub(url, appdb)


@pytest.fixture
async def alice(harness: ConsoleHarness) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield the browser of a user who has signed in at the first hub."""
    invitation = await harness.appdb.users.add("Alice", "reader", None, now_us=harness.clock.microseconds())
    async with open_browser(harness) as browser:
        data = {"invitation": invitation, "password": PASSWORD, "password_repeat": PASSWORD}
        assert (await browser.post("/invitation", data=data)).status == 200
        yield browser


@asynccontextmanager
async def open_browser(harness: ConsoleHarness) -> AsyncIterator[aiohttp.ClientSession]:
    async with harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True), headers=OURS) as browser:
        yield browser


async def status(browser: aiohttp.ClientSession, url: str) -> int:
    async with browser.get(f"{url}/api/v1/calls") as answer:
        return answer.status


async def test_user_is_signed_in_and_out_at_both_hubs(
    harness: ConsoleHarness, other: OtherHub, alice: aiohttp.ClientSession
) -> None:
    assert await status(alice, other.url) == 200
    async with alice.post(f"{other.url}/sign-out", allow_redirects=False) as answer:
        assert answer.status == 303
    assert [await status(alice, url) for url in (harness.url, other.url)] == [401, 401]


@pytest.mark.parametrize("change", ["removed", "password", "session"])
async def test_user_who_loses_access_at_one_hub_has_none_at_the_other(
    harness: ConsoleHarness, other: OtherHub, alice: aiohttp.ClientSession, change: str
) -> None:
    assert await status(alice, harness.url) == 200
    now_us, users = harness.clock.microseconds(), other.appdb.users
    if change == "removed":
        await users.remove("Alice")
    elif change == "password":
        await users.accept_invitation(await users.invite("Alice", now_us=now_us), PASSWORD, now_us=now_us)
    else:
        await other.appdb.sessions.end_by_number((await other.appdb.sessions.all(now_us))[0].number)
    assert await status(alice, harness.url) == 401


async def test_page_and_its_files_write_nothing(
    harness: ConsoleHarness, other: OtherHub, alice: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the use of a session is stored, every five minutes; files of a page do not even read it."""
    reads: list[int] = []
    find = harness.appdb.sessions.find

    async def count_reads(*arguments: object, **options: object) -> object:
        reads.append(1)
        return await find(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(harness.appdb.sessions, "find", count_reads)
    version = await other.appdb.version()
    for path in ("/calls", "/static/style.css", "/static/live.js", "/healthz"):
        async with alice.get(path) as answer:
            assert answer.status == 200, path
    assert len(reads) == 1
    assert await other.appdb.version() == version
    await other.appdb._database.write("UPDATE sessions SET last_used_at = ?", (1,))
    async with alice.get("/calls") as answer:
        assert answer.status == 200
    (session,) = await other.appdb.sessions.all(harness.clock.microseconds())
    assert harness.clock.microseconds() - session.last_used_at.timestamp() * 1e6 < LAST_USED_STEP_MICROSECONDS


async def test_cookies_of_other_consoles_are_no_sessions(harness: ConsoleHarness, alice: aiohttp.ClientSession) -> None:
    """Another installation under the same host name has cookies of its own; some are looked up at most."""
    (cookie,) = alice.cookie_jar
    wrong = {f"onhook_session_{port}": "x" * 43 for port in range(1, COOKIES_MAX)}
    for cookies, expected in (
        (wrong, 401),
        ({**wrong, cookie.key: cookie.value}, 200),
        ({"other": cookie.value}, 401),
    ):
        async with harness.client("", cookies=cookies) as browser:
            assert await status(browser, harness.url) == expected


@pytest.mark.usefixtures("alice")
async def test_wrong_passwords_of_both_hubs_are_counted_together(
    harness: ConsoleHarness, other: OtherHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next try waits, at either one; the right password is accepted after its wait."""
    delays: list[float] = []
    delay = failures.delay_seconds

    def record_delay(count: int) -> float:
        delays.append(delay(count))
        return min(delays[-1], 0.01)

    async with open_browser(harness) as guesser:
        for number in range(FAILURES_MAX):
            url = (harness.url, other.url)[number % 2]
            async with guesser.post(f"{url}/sign-in", data={"name": "Alice", "password": f"guess {number}"}) as answer:
                assert answer.status == 401
        monkeypatch.setattr(failures, "delay_seconds", record_delay)
        data = {"name": "Alice", "password": PASSWORD}
        async with guesser.post(f"{other.url}/sign-in", data=data, allow_redirects=False) as answer:
            assert answer.status == 303
        assert max(delays) == 1.0
        assert await status(guesser, harness.url) == 200


async def test_wrong_tokens_of_both_hubs_are_counted_together(
    harness: ConsoleHarness, other: OtherHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed_logins, "WRITE_PAUSE_SECONDS", 0.0)
    async with harness.client("wrong") as outsider:
        statuses = [await status(outsider, (harness.url, other.url)[number % 2]) for number in range(FAILURES_MAX + 1)]
    assert statuses == [401] * FAILURES_MAX + [429]


async def test_sign_in_and_out_fail_while_the_database_is_locked(
    harness: ConsoleHarness, other: OtherHub, alice: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 503: a session neither begins nor seems to have ended, and who is signed in goes on reading."""
    monkeypatch.setattr(harness.appdb._database, "_call_seconds", 0.2)
    async with open_browser(harness) as guesser, other.appdb.transaction():
        for data in ({"name": "Alice", "password": PASSWORD}, {"token": harness.admin_token}):
            async with guesser.post("/sign-in", data=data, allow_redirects=False) as answer:
                assert answer.status == 503
                assert "Retry-After" in answer.headers
                assert "Set-Cookie" not in answer.headers
        async with harness.client("wrong") as outsider:
            assert await status(outsider, harness.url) == 401
        async with alice.post("/sign-out", allow_redirects=False) as answer:
            assert answer.status == 503
            assert "Set-Cookie" not in answer.headers
        assert await status(alice, harness.url) == 200
    monkeypatch.undo()
    data = {"name": "Alice", "password": PASSWORD}
    async with open_browser(harness) as browser, browser.post("/sign-in", data=data) as answer:
        assert answer.status == 200
