"""The first account, and the account of a user: its password and its browsers."""

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import aiohttp
import pytest

from onhook.console.auth.access import cookie_name
from onhook.console.auth.failures import PASSWORD_POLICY
from tests.appdb.test_passwords import scrypt_hash
from tests.console.conftest import ConsoleHarness

PASSWORD = "three short words"
NEW_PASSWORD = "four other short words"
OURS = {"Sec-Fetch-Site": "same-origin"}


def open_browser(harness: ConsoleHarness) -> AbstractAsyncContextManager[aiohttp.ClientSession]:
    return harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True), headers=OURS)


@pytest.fixture
async def browser(harness: ConsoleHarness) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a browser without a session."""
    async with open_browser(harness) as session:
        yield session


async def add_user(harness: ConsoleHarness, name: str, role: str = "reader", password: str = PASSWORD) -> None:
    now_us = harness.clock.microseconds()
    invitation = await harness.appdb.users.add(name, role, None, now_us=now_us)
    await harness.appdb.users.accept_invitation(invitation, password, now_us=now_us)


async def sign_in(browser: aiohttp.ClientSession, name: str, password: str = PASSWORD) -> int:
    """Return the status of the page after the sign-in."""
    return (await browser.post("/sign-in", data={"name": name, "password": password})).status


async def status(browser: aiohttp.ClientSession) -> int:
    return (await browser.get("/api/v1/calls")).status


async def test_first_account_is_added_by_a_browser_with_an_administrators_token(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    """The session of the token ends, its cookie is valid for nothing, and there is no second first account."""
    link = await (await browser.get(f"/sign-in?token={harness.admin_token}")).text()
    assert "Create an account" in link
    answer = await browser.post("/sign-in", data={"token": harness.admin_token, "next": "/first-account"})
    assert answer.url.path == "/first-account"
    token_cookie = browser.cookie_jar.filter_cookies(answer.url)[cookie_name(harness.app_state)].value
    form = {"name": "Alice", "password": PASSWORD, "password_repeat": PASSWORD}
    for wrong in ({"password": "short", "password_repeat": "short"}, {"password_repeat": "x" * 12}, {"name": "a/b"}):
        assert 'role="alert"' in await (await browser.post("/first-account", data=form | wrong)).text()
    assert await harness.appdb.users.all() == []
    assert (await browser.post("/first-account", data=form)).url.path == "/"
    (alice,) = await harness.appdb.users.all()
    assert (alice.name, alice.role, alice.has_password) == ("Alice", "administrator", True)
    assert (await browser.get("/first-account")).url.path == "/users"
    assert "already a user" in await (await browser.post("/first-account", data=form | {"name": "Bob"})).text()
    async with harness.client("", cookies={cookie_name(harness.app_state): token_cookie}) as earlier:
        assert await status(earlier) == 401
    assert "Create an account" not in await (await browser.get(f"/sign-in?token={harness.admin_token}")).text()
    async with open_browser(harness) as other:
        assert await sign_in(other, "alice") == 200


async def test_first_account_without_an_administrators_browser_is_refused(harness: ConsoleHarness) -> None:
    reader = await harness.appdb.tokens.add("reader", "reader", now_us=1)
    form = {"name": "Eve", "password": PASSWORD, "password_repeat": PASSWORD}
    for token, expected in (("", 401), (reader, 403), (harness.admin_token, 403)):
        async with harness.client(token) as program:
            assert (await program.post("/first-account", data=form)).status == expected
    assert await harness.appdb.users.all() == []


async def test_sign_in_again_ends_the_session_before(harness: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    """A browser whose cookie an attacker chose or knows has another one after the sign-in, and the one before is
    invalid (session fixation).
    """
    await add_user(harness, "Alice")
    name = cookie_name(harness.app_state)
    browser.cookie_jar.update_cookies({name: "A" * 43})
    await sign_in(browser, "Alice")
    (first,) = [cookie.value for cookie in browser.cookie_jar if cookie.key == name and cookie.value != "A" * 43]
    await sign_in(browser, "Alice")
    assert len(await harness.appdb.sessions.all(harness.clock.microseconds())) == 1
    for text in (first, "A" * 43):
        async with harness.client("", cookies={name: text}) as attacker:
            assert await status(attacker) == 401
    assert await status(browser) == 200


@pytest.mark.parametrize("has_user", [True, False])
async def test_sign_in_ends_a_session_whose_cookie_is_of_another_console(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, has_user: bool
) -> None:
    """Browsers share cookies between ports: it is the session of the same browser, whichever name it has."""
    now_us = harness.clock.microseconds()
    earlier = await harness.appdb.sessions.start_for_token(harness.admin_token, address="192.0.2.1", now_us=now_us)
    browser.cookie_jar.update_cookies({"onhook_session_1": earlier})
    if has_user:
        await add_user(harness, "Alice")
        assert await sign_in(browser, "Alice") == 200
    else:
        form = {"name": "Alice", "password": PASSWORD, "password_repeat": PASSWORD}
        assert (await browser.post("/first-account", data=form)).url.path == "/"
    (session,) = await harness.appdb.sessions.all(now_us)
    assert session.user_name == "Alice"


async def test_account_wrong_password_is_a_failed_sign_in(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    """A person who found a browser that is signed in guesses as slowly as at the sign-in, and is seen."""
    await add_user(harness, "Alice")
    await sign_in(browser, "Alice")
    form = {"current_password": "x" * 12, "password": NEW_PASSWORD, "password_repeat": NEW_PASSWORD}
    await browser.post("/account/password", data=form)
    entry = (await harness.appdb.audit.latest(1, None))[0]
    assert (entry.action, entry.actor, entry.credential, entry.status) == ("sign in", "Alice", "password", 401)
    now_us = harness.clock.microseconds()
    assert (await harness.appdb.failed_logins.get(PASSWORD_POLICY, ("alice", "127.0.0.1"), now_us)).failures == 1
    await browser.post("/account/password", data=form | {"current_password": PASSWORD})
    assert (await harness.appdb.failed_logins.get(PASSWORD_POLICY, ("alice", "127.0.0.1"), now_us)).failures == 0


async def test_account_too_many_tries_are_answered_429(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_user(harness, "Alice")
    await sign_in(browser, "Alice")
    monkeypatch.setattr("onhook.console.auth.failures.WAITING_OF_NAME_MAX", 0)
    form = {"current_password": PASSWORD, "password": NEW_PASSWORD, "password_repeat": NEW_PASSWORD}
    answer = await browser.post("/account/password", data=form)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "5")
    assert "Too many people are signing in" in await answer.text()


async def test_account_password_is_changed_and_other_browsers_signed_out(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    await add_user(harness, "Alice")
    await sign_in(browser, "Alice")
    form = {"current_password": PASSWORD, "password": NEW_PASSWORD, "password_repeat": NEW_PASSWORD}
    async with open_browser(harness) as other:
        await sign_in(other, "Alice")
        for wrong in ({"current_password": "x" * 12}, {"password_repeat": "y" * 12}, {"password": "short"}):
            text = await (await browser.post("/account/password", data=form | wrong)).text()
            assert 'role="alert"' in text
            assert await status(other) == 200
        answer = await browser.post("/account/password", data=form)
        assert (answer.status, answer.url.path) == (200, "/account")
        assert await status(other) == 401
        assert await status(browser) == 200
        assert await sign_in(other, "Alice") == 401
        assert await sign_in(other, "Alice", NEW_PASSWORD) == 200


async def test_account_sessions_are_listed_and_ended_for_their_owner_alone(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    for name in ("Alice", "Bob"):
        await add_user(harness, name)
    await sign_in(browser, "Alice")
    async with open_browser(harness) as second, open_browser(harness) as third, open_browser(harness) as bob:
        for other, name in ((second, "Alice"), (third, "Alice"), (bob, "Bob")):
            await sign_in(other, name)
        text = await (await browser.get("/account")).text()
        numbers = re.findall(r"/account/sessions/(\d+)/end", text)
        assert len(numbers) == 3
        assert text.count("this browser") == 1
        bobs = next(
            session.number
            for session in await harness.appdb.sessions.all(harness.clock.microseconds())
            if session.user_name == "Bob"
        )
        await browser.post(f"/account/sessions/{bobs}/end")
        assert await status(bob) == 200
        await browser.post(f"/account/sessions/{sorted(map(int, numbers))[1]}/end")
        assert (await status(second), await status(third), await status(browser)) == (401, 200, 200)
        await browser.post("/account/sessions/end-others")
        assert (await status(third), await status(browser), await status(bob)) == (401, 200, 200)


async def test_account_of_a_token_has_its_browsers_alone(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    await browser.post("/sign-in", data={"token": harness.admin_token})
    text = await (await browser.get("/account")).text()
    assert "You signed in with a token" in text
    assert text.count('/end"') == 1
    form = {"current_password": PASSWORD, "password": NEW_PASSWORD, "password_repeat": NEW_PASSWORD}
    assert "without a password" in await (await browser.post("/account/password", data=form)).text()
    async with harness.client() as program:
        assert (await program.get("/account")).status == 403


async def test_sign_in_with_a_password_of_an_earlier_version_renews_its_form(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    """The audit log has no change: the password is the same."""
    await add_user(harness, "Alice")
    await harness.appdb._database.write("UPDATE users SET password = ?", (scrypt_hash(PASSWORD),))
    entries = len(await harness.appdb.audit.latest(100, None))
    for _ in range(2):
        assert await sign_in(browser, "Alice") == 200
        stored = await harness.appdb.users.get_password_hash("Alice")
        assert stored is not None
        assert stored.startswith(b"$argon2id$")
    added = (await harness.appdb.audit.latest(100, None))[: -entries or None]
    assert [entry.action for entry in added] == ["sign in", "sign in"]
