"""Attacks on the sign-in: changed passwords in between, users of a provider, floods by clients without a session."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from onhook.appdb.audit import FAILED_SIGN_INS_MAX
from onhook.appdb.passwords import verify_password
from onhook.appdb.second_factors import Factor
from onhook.appdb.sign_in_settings import SignInSettings
from onhook.console.auth import provider_client
from onhook.console.auth.provider_sign_in import CALLBACK_PATH
from onhook.console.auth.second_step import use_code
from onhook.console.pages import sign_in as sign_in_page
from onhook.console.pages import sign_in_code as sign_in_code_page
from onhook.console.state import AnyRequest, AppState
from onhook.lib.errors import UsageError
from tests.console.conftest import ConsoleHarness
from tests.console.provider_server import ProviderServer
from tests.console.soft_authenticator import SoftAuthenticator
from tests.console.test_passkeys import CONSOLE_URL, read_options
from tests.console.test_passkeys import open_browser as open_passkey_browser
from tests.console.test_passkeys import sign_in as sign_in_by_passkey
from tests.console.test_provider import begin, come_back, open_browser, put_settings, sign_in
from tests.console.test_second_factor import add_telephone, add_user, enter_code, enter_password, status

NEW_PASSWORD = "three other words"


@pytest.fixture
async def browser(harness: ConsoleHarness) -> AsyncIterator[aiohttp.ClientSession]:
    async with open_browser(harness) as session:
        yield session


@pytest.fixture
async def provider(harness: ConsoleHarness) -> AsyncIterator[ProviderServer]:
    async with ProviderServer().listen() as server:
        await harness.appdb.sign_in_settings.put(SignInSettings(console_url=harness.url))
        await put_settings(harness, server)
        yield server


async def choose_password(harness: ConsoleHarness, name: str) -> None:
    """Choose another password by a link, as one who has forgotten it does."""
    now_us = harness.clock.microseconds()
    await harness.appdb.users.accept_invitation(
        await harness.appdb.users.invite(name, now_us=now_us), NEW_PASSWORD, now_us=now_us
    )


async def test_password_that_is_changed_during_its_check_begins_no_session(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thief who signs in with the password of before, while its user chooses another one."""
    await add_user(harness, "Alice")
    loop = asyncio.get_running_loop()

    def change_and_verify(password: str, password_hash: bytes | None) -> bool:
        asyncio.run_coroutine_threadsafe(choose_password(harness, "Alice"), loop).result()
        return verify_password(password, password_hash)

    monkeypatch.setattr(sign_in_page, "verify_password", change_and_verify)
    await enter_password(browser)
    assert await status(browser) == 401


async def test_second_step_ends_with_the_password_also_during_its_check(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_user(harness, "Alice")
    telephone = await add_telephone(harness, "Alice")
    await enter_password(browser)

    async def use_code_and_change(request: AnyRequest, app_state: AppState, name: str, code: str) -> Factor:
        factor = await use_code(request, app_state, name, code)
        await choose_password(harness, "Alice")
        return factor

    monkeypatch.setattr(sign_in_code_page, "use_code", use_code_and_change)
    await enter_code(browser, telephone.new_code())
    assert await status(browser) == 401
    assert await harness.appdb._database.rows("SELECT * FROM pending_sign_ins") == []


async def test_user_of_the_provider_cannot_sign_in_without_it(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, provider: ProviderServer
) -> None:
    """By a passkey of the own, the role would stay as it was although the group is gone at the provider."""
    await sign_in(browser, provider)
    await harness.appdb.sign_in_settings.put(SignInSettings(console_url=CONSOLE_URL))
    authenticator = SoftAuthenticator(CONSOLE_URL)
    headers = {"Origin": CONSOLE_URL}
    answer = await browser.post("/account/passkeys/options", headers=headers)
    credential = authenticator.create(await answer.json())
    await browser.post("/account/passkeys", data={"credential": credential, "name": "x"}, headers=headers)
    assert len(await harness.appdb.passkeys.of_user("Ann")) == 1
    async with open_passkey_browser(harness) as other:
        options = await read_options(other, "/sign-in/passkey")
        refusal = await other.post("/sign-in/passkey", data={"credential": authenticator.get(options)})
        assert (refusal.status, "by the identity provider" in await refusal.text()) == (401, True)
        assert await status(other) == 401
        # After the provider it is the second step; and alone for one who was given a password too.
        await choose_password(harness, "Ann")
        assert await sign_in_by_passkey(other, authenticator) == 200
        assert await status(other) == 200


async def test_user_has_one_account_of_a_provider(harness: ConsoleHarness, provider: ProviderServer) -> None:
    """A second one would be that of another person, and the page of the account shows one alone."""
    await add_user(harness, "Alice")
    link = harness.appdb.identity_provider.link
    await link(provider.url, "1", "Alice", is_managed=False, now_us=1)
    with pytest.raises(UsageError, match="linked already"):
        await link(provider.url, "2", "Alice", is_managed=False, now_us=1)
    await link("https://other.example", "2", "Alice", is_managed=False, now_us=1)


async def test_request_for_the_provider_by_another_page_signs_no_browser_out(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, provider: ProviderServer
) -> None:
    """A picture of a page of the same site, which is sent with the cookie, changes nothing: the session before ends
    with the sign-in, not with the request for it.
    """
    await add_user(harness, "Alice")
    await enter_password(browser)
    answer = await browser.get("/sign-in/provider", headers={"Sec-Fetch-Site": "same-site"}, allow_redirects=False)
    assert answer.status == 303
    assert await status(browser) == 200
    assert len(await harness.appdb.sessions.all(harness.clock.microseconds())) == 1
    await come_back(browser, provider.authorize(answer.headers["Location"]))
    assert [session.user_name for session in await harness.appdb.sessions.all(harness.clock.microseconds())] == ["Ann"]


async def test_answers_without_a_request_leave_the_audit_log_alone(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, provider: ProviderServer
) -> None:
    for _number in range(3):
        assert (await come_back(browser, f"{CALLBACK_PATH}?code=x&state=y")).status == 401
    assert "sign in" not in [entry.action for entry in await harness.appdb.audit.latest(50, None)]
    await come_back(browser, provider.authorize(await begin(browser), error="access_denied"))
    assert (await harness.appdb.audit.latest(1, None))[0].status == 401


async def test_failed_sign_ins_cannot_push_other_entries_out_of_the_audit_log(harness: ConsoleHarness) -> None:
    """The log keeps a number of entries: who makes up names by the thousand would erase traces."""
    audit, now_us = harness.appdb.audit, harness.clock.microseconds()
    hour_us = 3_600 * 1_000_000

    async def fail(name: str, at_us: int) -> None:
        await audit.add_sign_in(now_us=at_us, actor=name, credential="password", address="192.0.2.7", status=401)

    for number in range(FAILED_SIGN_INS_MAX + 20):
        await fail(f"name {number}", now_us)
    entries = [entry for entry in await audit.latest(500, None) if entry.action.startswith("sign in")]
    assert len(entries) == FAILED_SIGN_INS_MAX
    assert entries[0].action == "sign in; further failed ones of this hour are in the log of the hub alone"
    await audit.add_sign_in(now_us=now_us, actor="Ann", credential="password", address="", status=200)
    assert (await audit.latest(1, None))[0].actor == "Ann"
    await fail("later", now_us + hour_us)
    assert (await audit.latest(1, None))[0].actor == "later"


async def test_requests_to_the_provider_at_a_time_are_few(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, provider: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may begin a sign-in: a provider that is slow, or away, is not asked by all of them at once."""
    monkeypatch.setattr(provider_client, "SIGN_INS_MAX", 4)
    is_answering = asyncio.Event()
    provider.wait = is_answering.wait
    await put_settings(harness, provider, scopes="openid")
    tasks = [asyncio.create_task(browser.get("/sign-in/provider", allow_redirects=False)) for _number in range(10)]
    done, _waiting = await asyncio.wait(tasks, timeout=30, return_when=asyncio.FIRST_COMPLETED)
    assert (await next(iter(done))).status == 503
    is_answering.set()
    statuses = sorted([(await task).status for task in tasks])
    assert statuses == [303] * 4 + [503] * 6
    assert provider.requests == ["/.well-known/openid-configuration", "/keys"]


@pytest.mark.parametrize("next_path", ["/calls?q=日本", "/calls?q=é", "/calls?q=%E2%82%AC"])
async def test_page_after_the_sign_in_may_have_any_letters(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, next_path: str
) -> None:
    await add_user(harness, "Alice")
    answer = await enter_password(browser, next=next_path)
    assert (answer.status, answer.url.path) == (200, "/calls")
