"""Passkeys: added, used alone and as second step, removed, refused; in a browser, and attacked by software."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from playwright.async_api import async_playwright, expect

from onhook.appdb.sign_in_challenges import CHALLENGES_MAX
from onhook.appdb.sign_in_settings import SignInSettings
from onhook.console.auth.passkeys import COOKIE_NAME, RelyingParty, parse_relying_party
from onhook.lib.errors import UsageError
from tests.console.conftest import ConsoleHarness
from tests.console.soft_authenticator import PRESENT, SoftAuthenticator
from tests.console.test_pages import ARGUMENTS
from tests.console.test_second_factor import PASSWORD, RECOVERY_CODE, add_telephone, add_user, enter_password, status

CONSOLE_URL = "https://calls.example.com"
AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}
"""A device with a fingerprint sensor, as Chromium simulates it."""


@asynccontextmanager
async def open_browser(harness: ConsoleHarness, origin: str = CONSOLE_URL) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a browser whose pages are at the address of the console, behind a proxy."""
    headers = {"Sec-Fetch-Site": "same-origin", "Origin": origin}
    async with harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True), headers=headers) as browser:
        yield browser


@pytest.fixture
async def browser(harness: ConsoleHarness) -> AsyncIterator[aiohttp.ClientSession]:
    await harness.appdb.sign_in_settings.put(SignInSettings(console_url=CONSOLE_URL))
    await add_user(harness, "Alice")
    async with open_browser(harness) as session:
        yield session


async def read_options(browser: aiohttp.ClientSession, path: str, **fields: str) -> dict[str, Any]:
    answer = await browser.post(f"{path}/options", data=fields)
    assert answer.status == 200, await answer.text()
    options: dict[str, Any] = await answer.json()
    return options


async def add_passkey(browser: aiohttp.ClientSession, name: str = "laptop") -> tuple[SoftAuthenticator, list[str]]:
    """Return the authenticator with a new passkey of the signed-in user, and the recovery codes."""
    authenticator = SoftAuthenticator(CONSOLE_URL)
    options = await read_options(browser, "/account/passkeys", current_password=PASSWORD)
    answer = await browser.post("/account/passkeys", data={"credential": authenticator.create(options), "name": name})
    text = await answer.text()
    assert 'role="alert"' not in text.replace('role="alert" data-error', ""), text
    return authenticator, RECOVERY_CODE.findall(text)


async def sign_in(browser: aiohttp.ClientSession, authenticator: SoftAuthenticator, **wrong: Any) -> int:
    """Return the status of the page after a sign-in by a passkey alone."""
    options = await read_options(browser, "/sign-in/passkey")
    answer = await browser.post("/sign-in/passkey", data={"credential": authenticator.get(options, **wrong)})
    return answer.status


@pytest.mark.parametrize(
    ("console_url", "error"),
    [
        ("", "need the address of the console"),
        ("https://192.0.2.7:8030", "not an IP address"),
        ("https://[2001:db8::1]", "not an IP address"),
        ("http://calls.example.com", "with https"),
    ],
)
def test_relying_party_of_an_address_that_browsers_refuse_is_refused(console_url: str, error: str) -> None:
    with pytest.raises(UsageError, match=error):
        parse_relying_party(console_url)


def test_relying_party_has_host_and_origin_of_the_address() -> None:
    assert parse_relying_party("http://localhost:8030") == RelyingParty("localhost", "http://localhost:8030")
    assert parse_relying_party("https://a.example:444") == RelyingParty("a.example", "https://a.example:444")


async def test_passkeys_sign_in_alone_and_their_sign_count_grows(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    """The first one comes with recovery codes; other browsers are signed out; several have one handle."""
    await enter_password(browser)
    async with open_browser(harness) as other:
        await enter_password(other)
        first, codes = await add_passkey(browser)
        assert (len(codes), await status(other)) == (10, 401)
        second, no_codes = await add_passkey(browser, "key")
        assert (no_codes, first.user_handle) == ([], second.user_handle)
        text = await (await browser.get("/account")).text()
        assert all(name in text for name in (">laptop<", ">key<"))
        for authenticator in (first, second, first):
            assert await sign_in(other, authenticator) == 200
            assert await status(other) == 200
            await other.post("/sign-out")
    entry = (await harness.appdb.audit.latest(1, None))[0]
    assert (entry.action, entry.actor, entry.credential, entry.status) == ("sign in", "Alice", "passkey", 200)
    assert [passkey.sign_count for passkey in await harness.appdb.passkeys.of_user("Alice")] == [2, 1]


async def test_passkey_is_accepted_after_the_password(harness: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    """Without a verified user too: the password is the other factor."""
    await enter_password(browser)
    authenticator, codes = await add_passkey(browser)
    async with open_browser(harness) as other:
        assert (await enter_password(other)).url.path == "/sign-in/code"
        options = await read_options(other, "/sign-in/code/passkey")
        assert len(options["allowCredentials"]) == 1
        answer = authenticator.get(options, flags=PRESENT)
        assert (await other.post("/sign-in/code/passkey", data={"credential": answer})).url.path == "/"
        assert await status(other) == 200
    async with open_browser(harness) as third:
        await enter_password(third)
        await third.post("/sign-in/code", data={"code": codes[0]})
        assert await status(third) == 200


async def test_passkey_that_proves_nothing_is_refused(harness: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    """By origin, host name, user verification, signature, sign count, challenge, user and being known."""
    await enter_password(browser)
    authenticator, _codes = await add_passkey(browser)
    evil, unknown = SoftAuthenticator("https://calls.example.com.evil.example"), SoftAuthenticator(CONSOLE_URL)
    evil.credential_id, evil._key = authenticator.credential_id, authenticator._key
    forged = SoftAuthenticator(CONSOLE_URL)
    forged.credential_id = authenticator.credential_id
    async with open_browser(harness) as other:
        for other_authenticator in (evil, unknown, forged):
            assert await sign_in(other, other_authenticator) == 401
        assert await sign_in(other, authenticator, rp_id="evil.example") == 401
        assert await sign_in(other, authenticator, flags=PRESENT) == 401
        options = await read_options(other, "/sign-in/passkey")
        answer = {"credential": authenticator.get(options)}
        statuses = [(await other.post("/sign-in/passkey", data=answer)).status for _ in range(2)]
        assert statuses == [200, 401]  # a challenge is used once
        await other.post("/sign-out")
        await read_options(other, "/sign-in/passkey")
        assert (await other.post("/sign-in/passkey", data=answer)).status == 401  # of another challenge
        authenticator.sign_count = 0
        assert await sign_in(other, authenticator) == 401  # a copy of the authenticator
        for text in ("", "{", "[]", '{"id": "A"}', '{"id": 1}', '{"id": "ä"}'):
            await read_options(other, "/sign-in/passkey")
            assert (await other.post("/sign-in/passkey", data={"credential": text})).status == 401
        assert await status(other) == 401
    refused = [entry for entry in await harness.appdb.audit.latest(50, None) if entry.status == 401]
    assert {(entry.actor, entry.credential) for entry in refused} == {("Alice", "passkey")}


async def test_passkey_of_another_user_is_no_second_step(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    await add_user(harness, "Eve")
    await enter_password(browser)
    await add_passkey(browser)
    async with open_browser(harness) as eve:
        await enter_password(eve, "Eve")
        eves, _codes = await add_passkey(eve)
        await eve.post("/sign-out")
        await enter_password(eve, "Alice")
        options = await read_options(eve, "/sign-in/code/passkey")
        answer = await eve.post("/sign-in/code/passkey", data={"credential": eves.get(options)})
        assert (answer.status, await status(eve)) == (401, 401)
        # A challenge of the sign-in without a user does not serve the second step, nor the other way.
        options = await read_options(eve, "/sign-in/passkey")
        answer = await eve.post("/sign-in/code/passkey", data={"credential": eves.get(options)})
        assert (answer.status, await status(eve)) == (401, 401)


async def test_passkey_is_added_for_the_user_who_asked_alone(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    await enter_password(browser)
    wrong = await browser.post("/account/passkeys/options", data={"current_password": "x" * 12})
    assert wrong.status == 401
    options = await read_options(browser, "/account/passkeys", current_password=PASSWORD)
    credential = SoftAuthenticator(CONSOLE_URL).create(options)
    await add_user(harness, "Eve")
    await enter_password(browser, "Eve")  # the same browser, with the challenge of Alice
    await browser.post("/account/passkeys", data={"credential": credential, "name": "x"})
    for user in ("Alice", "Eve"):
        assert await harness.appdb.passkeys.of_user(user) == []
    for name, flags in (("", 5), ("x" * 61, 5), ("laptop", PRESENT)):
        options = await read_options(browser, "/account/passkeys", current_password=PASSWORD)
        credential = SoftAuthenticator(CONSOLE_URL).create(options, flags=flags)
        for tried_name in (name, "laptop"):  # the challenge of a refused answer is used up
            answer = await browser.post("/account/passkeys", data={"credential": credential, "name": tried_name})
            assert answer.url.query["error"]
    assert await harness.appdb.passkeys.of_user("Eve") == []


async def test_passkeys_are_refused_at_another_address(harness: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    async with open_browser(harness, "https://other.example.com") as other:
        answer = await other.post("/sign-in/passkey/options")
        assert answer.status == 400
        assert f"passkeys work at {CONSOLE_URL} alone" in await answer.text()
    assert "Sign in with a passkey" in await (await browser.get("/sign-in")).text()
    await harness.appdb.sign_in_settings.put(SignInSettings(console_url="http://192.0.2.7"))
    assert (await browser.post("/sign-in/passkey/options")).status == 400
    assert "Sign in with a passkey" not in await (await browser.get("/sign-in")).text()
    await harness.appdb.sign_in_settings.put(SignInSettings(console_url=CONSOLE_URL))
    foreign = await browser.post("/sign-in/passkey/options", headers={"Sec-Fetch-Site": "cross-site"})
    assert foreign.status == 403


async def test_passkey_is_removed_by_the_password_and_a_code(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    """The last factor that is removed takes the recovery codes along."""
    await enter_password(browser)
    _authenticator, codes = await add_passkey(browser)
    (passkey,) = await harness.appdb.passkeys.of_user("Alice")
    path = f"/account/passkeys/{passkey.passkey_id}/remove"
    await add_user(harness, "Eve")
    async with open_browser(harness) as eve:
        await enter_password(eve, "Eve")
        await eve.post(path, data={"current_password": PASSWORD})
    telephone = await add_telephone(harness, "Alice")
    for wrong in ({"current_password": "x" * 12}, {"current_password": PASSWORD, "code": codes[0]}):
        await browser.post(path, data=wrong)
    assert len(await harness.appdb.passkeys.of_user("Alice")) == 1
    answer = await browser.post(path, data={"current_password": PASSWORD, "code": telephone.new_code()})
    assert "Passkey removed." in await answer.text()
    assert await harness.appdb.second_factors.count_recovery_codes("Alice") == 10
    right = {"current_password": PASSWORD, "code": telephone.recovery_codes[0]}
    await browser.post("/account/app/remove", data=right)
    assert await harness.appdb.second_factors.count_recovery_codes("Alice") == 0
    assert not (await harness.appdb.users.get("Alice")).has_second_factor


async def test_passkey_fulfils_a_role_that_needs_a_factor(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    await harness.appdb.sign_in_settings.put(SignInSettings(factor_roles=("reader",), console_url=CONSOLE_URL))
    await enter_password(browser)
    assert await status(browser) == 403
    authenticator, _codes = await add_passkey(browser)
    assert await status(browser) == 200
    async with open_browser(harness) as other:
        await sign_in(other, authenticator)
        assert await status(other) == 200
        await harness.appdb.users.set_disabled("Alice", is_disabled=True)
        assert await sign_in(other, authenticator) == 401
        await harness.appdb.users.set_disabled("Alice", is_disabled=False)
        await harness.appdb.second_factors.reset("Alice")
        assert await sign_in(other, authenticator) == 401


async def test_challenges_are_bounded(harness: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    """Anybody can ask for one: the oldest ends."""
    now_us = harness.clock.microseconds()
    await harness.appdb._database.write_many(
        "INSERT INTO sign_in_challenges VALUES (?, 'x', NULL, '', ?)",
        [(number.to_bytes(4, "big"), now_us + 10_000_000 + number) for number in range(CHALLENGES_MAX)],
    )
    await read_options(browser, "/sign-in/passkey")
    rows = await harness.appdb._database.rows("SELECT count(*), min(expires_at) FROM sign_in_challenges")
    assert rows == [(CHALLENGES_MAX, now_us + 10_000_001)]
    assert any(cookie.key == COOKIE_NAME for cookie in browser.cookie_jar)


@pytest.mark.slow
async def test_passkeys_in_a_browser_with_a_virtual_authenticator(harness: ConsoleHarness, chromium_path: str) -> None:
    """Add one, sign in by it alone, use it after the password, and cancel."""
    address = harness.url.replace("127.0.0.1", "localhost")
    await harness.appdb.sign_in_settings.put(SignInSettings(console_url=address))
    await add_user(harness, "Alice", "administrator")
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=chromium_path, args=ARGUMENTS)
        page = await chromium.new_page()
        client = await page.context.new_cdp_session(page)
        await client.send("WebAuthn.enable")
        added = await client.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
        await page.goto(f"{address}/sign-in")
        await page.get_by_label("Name").fill("Alice")
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Sign in", exact=True).click()
        await page.goto(f"{address}/account")
        form = page.locator("form[data-options]")
        await form.get_by_label("Name of the device").fill("laptop")
        await form.get_by_label("Current password").fill("wrong password")
        await form.get_by_role("button").click()
        await expect(form.get_by_role("alert")).to_contain_text("the current password is wrong")
        await form.get_by_label("Current password").fill(PASSWORD)
        await form.get_by_role("button").click()
        await expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
        assert len(re.findall(r"[a-z2-7]{4}(?:-[a-z2-7]{4}){3}", await page.inner_text("ol"))) == 10
        await page.goto(f"{address}/account")
        await expect(page.get_by_role("cell", name="laptop")).to_be_visible()
        await page.get_by_role("button", name="Sign out").first.click()
        await page.goto(f"{address}/sign-in?next=/calls")
        await page.get_by_role("button", name="Sign in with a passkey").click()
        await page.wait_for_url(f"{address}/calls")
        await page.goto(f"{address}/sign-in")
        await page.get_by_label("Name").fill("Alice")
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Sign in", exact=True).click()
        await page.get_by_role("button", name="Use a passkey").click()
        await page.wait_for_url(f"{address}/")
        await client.send(
            "WebAuthn.setUserVerified", {"authenticatorId": added["authenticatorId"], "isUserVerified": False}
        )
        await page.goto(f"{address}/sign-in")
        await page.get_by_role("button", name="Sign in with a passkey").click()
        await expect(page.get_by_text("No passkey was used.")).to_be_visible()
        await chromium.close()
