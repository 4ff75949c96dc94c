"""The authenticator app of a user: added, asked for at the sign-in, required by the role, removed; and attacked."""

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import aiohttp
import msgspec
import pytest

from onhook.appdb.second_factors import TRIES_MAX
from onhook.appdb.sign_in_settings import SignInSettings
from onhook.console.auth.access import cookie_name
from onhook.console.auth.second_step import COOKIE_NAME
from onhook.lib.totp import STEP_SECONDS, code_of_step
from tests.console.conftest import ConsoleHarness

PASSWORD = "three short words"
OURS = {"Sec-Fetch-Site": "same-origin"}
RECOVERY_CODE = re.compile(r"<code>([a-z2-7]{4}(?:-[a-z2-7]{4}){3})</code>")


def open_browser(harness: ConsoleHarness) -> AbstractAsyncContextManager[aiohttp.ClientSession]:
    return harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True), headers=OURS | {"Accept": "text/html"})


@pytest.fixture
async def browser(harness: ConsoleHarness) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a browser without a session."""
    async with open_browser(harness) as session:
        yield session


class Telephone:
    """The app and the recovery codes of a user."""

    def __init__(self, harness: ConsoleHarness, secret: str, recovery_codes: list[str]) -> None:
        self.recovery_codes = recovery_codes
        self.secret = secret
        self._harness = harness
        self._step = self._now_step()

    def _now_step(self) -> int:
        return self._harness.clock.microseconds() // (STEP_SECONDS * 1_000_000)

    def new_code(self) -> str:
        """Return a code that is accepted now, and was not used: that of the next step, two times at most."""
        self._step = max(self._step + 1, self._now_step())
        return code_of_step(self.secret, self._step)


async def add_user(harness: ConsoleHarness, name: str, role: str = "reader") -> None:
    now_us = harness.clock.microseconds()
    invitation = await harness.appdb.users.add(name, role, None, now_us=now_us)
    await harness.appdb.users.accept_invitation(invitation, PASSWORD, now_us=now_us)


async def add_telephone(harness: ConsoleHarness, name: str) -> Telephone:
    """Add an app without the pages; the code of this step is used up."""
    factors, now_us = harness.appdb.second_factors, harness.clock.microseconds()
    secret = await factors.begin_enrolment(name, now_us=now_us)
    code = code_of_step(secret, now_us // (STEP_SECONDS * 1_000_000))
    return Telephone(harness, secret, await factors.confirm_enrolment(name, code, now_us=now_us))


async def enter_password(browser: aiohttp.ClientSession, name: str = "Alice", **fields: str) -> aiohttp.ClientResponse:
    return await browser.post("/sign-in", data={"name": name, "password": PASSWORD, **fields})


async def enter_code(browser: aiohttp.ClientSession, code: str) -> aiohttp.ClientResponse:
    return await browser.post("/sign-in/code", data={"code": code})


async def status(browser: aiohttp.ClientSession) -> int:
    return (await browser.get("/api/v1/calls")).status


def cookie_text(browser: aiohttp.ClientSession, name: str) -> str:
    return next((cookie.value for cookie in browser.cookie_jar if cookie.key == name), "")


async def test_app_is_added_by_code_and_password_and_asked_for_at_the_sign_in(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    """Another browser of the user is signed out when it is added; the codes are shown once."""
    await add_user(harness, "Alice")
    await enter_password(browser)
    async with open_browser(harness) as other:
        await enter_password(other)
        page = await (await browser.post("/account/app")).text()
        assert "data:image/svg+xml" in page
        match = re.search(r"<code>((?:[A-Z2-7]{4} ?){8})</code>", page)
        assert match is not None
        secret = match[1].replace(" ", "")
        code = code_of_step(secret, harness.clock.microseconds() // (STEP_SECONDS * 1_000_000))
        for wrong in ({"current_password": "x" * 12, "code": code}, {"current_password": PASSWORD, "code": "x"}):
            answer = await browser.post("/account/app/confirm", data=wrong)
            assert 'role="alert"' in await answer.text()
            assert await status(other) == 200
        answer = await browser.post("/account/app/confirm", data={"current_password": PASSWORD, "code": code})
        codes = RECOVERY_CODE.findall(await answer.text())
        assert len(codes) == 10
        assert (await status(browser), await status(other)) == (200, 401)
        assert "10 recovery codes are left" in await (await browser.get("/account")).text()
        telephone = Telephone(harness, secret, codes)
        answer = await enter_password(other, next="/calls")
        assert (answer.url.path, await status(other)) == ("/sign-in/code", 401)
        answer = await enter_code(other, telephone.new_code())
        assert (answer.url.path, await status(other)) == ("/calls", 200)
        entry = (await harness.appdb.audit.latest(1, None))[0]
        assert (entry.action, entry.actor, entry.credential) == ("sign in", "Alice", "password, code")
    async with open_browser(harness) as third:
        await enter_password(third)
        await enter_code(third, codes[0])
        assert await status(third) == 200
    assert "9 recovery codes are left" in await (await browser.get("/account")).text()


async def test_first_step_grants_nothing(harness: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    """Neither its cookie nor the id in it as that of a session opens a page, and it signs no other browser in."""
    await add_user(harness, "Alice")
    telephone = await add_telephone(harness, "Alice")
    answer = await enter_password(browser, next="//evil.example/")
    assert answer.url.path == "/sign-in/code"
    assert await harness.appdb.sessions.all(harness.clock.microseconds()) == []
    pending_id = next(
        morsel.value for response in answer.history for name, morsel in response.cookies.items() if name == COOKIE_NAME
    )
    (cookie,) = [response.headers["Set-Cookie"] for response in answer.history]
    assert all(part in cookie for part in ("HttpOnly", "Path=/sign-in", "SameSite=strict"))
    assert [(await browser.get(path)).url.path for path in ("/", "/calls", "/account", "/account/app")] == [
        "/sign-in"
    ] * 4
    assert (await browser.post("/account/app/remove", data={"current_password": PASSWORD})).status == 401
    async with harness.client("", cookies={cookie_name(harness.app_state): pending_id}) as attacker:
        assert await status(attacker) == 401
    code = telephone.new_code()
    async with open_browser(harness) as without_state:
        assert (await enter_code(without_state, code)).url.path == "/sign-in"
        assert await status(without_state) == 401
    async with harness.client("", cookies={COOKIE_NAME: "A" * 43}, headers=OURS) as guessed:
        assert (await enter_code(guessed, code)).url.path == "/sign-in"
    foreign = await browser.post("/sign-in/code", data={"code": code}, headers={"Sec-Fetch-Site": "cross-site"})
    assert foreign.status == 403
    answer = await enter_code(browser, code)
    assert (str(answer.url), await status(browser)) == (f"{harness.url}/", 200)


async def test_second_step_cannot_be_repeated_nor_a_code_replayed(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    await add_user(harness, "Alice")
    telephone = await add_telephone(harness, "Alice")
    answer = await enter_password(browser)
    pending_id = answer.history[0].cookies[COOKIE_NAME].value
    code = telephone.new_code()
    await enter_code(browser, code)
    async with harness.client("", cookies={COOKIE_NAME: pending_id}, headers=OURS) as thief:
        answer = await enter_code(thief, telephone.recovery_codes[0])
        assert answer.url.path == "/sign-in"
    async with open_browser(harness) as other, harness.open_other_hub() as (url, _appdb):
        await enter_password(other)
        assert (await enter_code(other, code)).status == 401
        answer = await other.post(f"{url}/sign-in/code", data={"code": code})
        assert answer.status == 401
        assert "used before" in await answer.text()
        answer = await other.post(f"{url}/sign-in/code", data={"code": telephone.recovery_codes[0]})
        assert (answer.status, await status(other)) == (200, 200)
    assert await harness.appdb.second_factors.count_recovery_codes("Alice") == 9


async def test_session_before_the_sign_in_ends_with_the_second_step(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    """Session fixation: no id that was in the browser before is valid after it."""
    await add_user(harness, "Alice")
    await enter_password(browser)
    name = cookie_name(harness.app_state)
    earlier = cookie_text(browser, name)
    telephone = await add_telephone(harness, "Alice")
    await enter_password(browser)
    await enter_code(browser, telephone.new_code())
    assert cookie_text(browser, name) not in ("", earlier)
    assert cookie_text(browser, COOKIE_NAME) == ""
    async with harness.client("", cookies={name: earlier}) as attacker:
        assert await status(attacker) == 401


async def test_wrong_codes_are_limited_at_two_hubs_together_and_audited(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    """A guesser with the password has few tries, whichever browser or hub; the password of others is not affected."""
    await add_user(harness, "Alice")
    await add_user(harness, "Bob")
    telephone = await add_telephone(harness, "Alice")
    statuses = []
    async with harness.open_other_hub() as (url, _appdb), open_browser(harness) as second:
        for session in (browser, second):
            await enter_password(session)
        for number in range(TRIES_MAX + 2):
            session, address = ((browser, harness.url), (second, url))[number % 2]
            answer = await session.post(f"{address}/sign-in/code", data={"code": f"{number:06}x"})
            statuses.append(answer.status)
        answer = await browser.post(f"{url}/sign-in/code", data={"code": telephone.new_code()})
        assert answer.status == 429
        assert "Too many wrong codes" in await answer.text()
        await enter_password(second, "Bob")
        assert await status(second) == 200
    assert statuses == [401] * TRIES_MAX + [429] * 2
    entries = await harness.appdb.audit.latest(100, None)
    assert [entry.credential for entry in entries if entry.status == 401] == ["code"] * TRIES_MAX


async def test_answer_to_a_wrong_password_is_the_same_for_whom_has_a_factor(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    """No answer shows whether there is such a user, or a second factor."""
    for name in ("Alice", "Bob"):
        await add_user(harness, name)
    await add_telephone(harness, "Alice")
    answers = []
    for name in ("Alice", "Bob", "Nemo"):
        answer = await browser.post("/sign-in", data={"name": name, "password": "x" * 12})
        answers.append((answer.status, await answer.text(), answer.headers.getall("Set-Cookie", [])))
    assert answers[0] == answers[1] == answers[2]


async def test_link_for_a_forgotten_password_does_not_replace_the_second_factor(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    await add_user(harness, "Alice")
    telephone = await add_telephone(harness, "Alice")
    invitation = await harness.appdb.users.invite("Alice", now_us=harness.clock.microseconds())
    form = {"invitation": invitation, "password": "x" * 12, "password_repeat": "x" * 12}
    answer = await browser.post("/invitation", data=form)
    assert (answer.url.path, await status(browser)) == ("/sign-in/code", 401)
    await enter_code(browser, telephone.new_code())
    assert await status(browser) == 200


@pytest.mark.parametrize("path", ["/account/app/confirm", "/account/app/remove", "/account/recovery-codes"])
async def test_app_too_many_tries_of_its_password_are_answered_429(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    await add_user(harness, "Alice")
    telephone = await add_telephone(harness, "Alice")
    await enter_password(browser)
    await enter_code(browser, telephone.recovery_codes[0])
    monkeypatch.setattr("onhook.console.auth.failures.WAITING_OF_NAME_MAX", 0)
    answer = await browser.post(path, data={"current_password": PASSWORD, "code": telephone.recovery_codes[1]})
    assert (answer.status, answer.headers["Retry-After"]) == (429, "5")


async def test_app_is_removed_by_password_and_code(harness: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    await add_user(harness, "Alice")
    telephone = await add_telephone(harness, "Alice")
    await enter_password(browser)
    await enter_code(browser, telephone.recovery_codes[0])
    right = {"current_password": PASSWORD, "code": telephone.recovery_codes[1]}
    for wrong in ({"current_password": "x" * 12}, {"code": ""}, {"code": telephone.recovery_codes[0]}):
        answer = await browser.post("/account/app/remove", data=right | wrong)
        assert 'role="alert"' in await answer.text()
    codes = RECOVERY_CODE.findall(await (await browser.post("/account/recovery-codes", data=right)).text())
    assert len(codes) == 10
    answer = await browser.post("/account/app/remove", data=right | {"code": codes[0]})
    assert "Authenticator app removed." in await answer.text()
    assert (await browser.post("/account/app/remove", data=right)).url.query["error"]
    async with open_browser(harness) as other:
        await enter_password(other)
        assert await status(other) == 200


async def test_role_that_needs_a_factor_leads_to_it_and_allows_nothing_else(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    await add_user(harness, "Alice", "administrator")
    await enter_password(browser)
    async with harness.client() as program:
        settings = {"factor_roles": ["administrator"], "console_url": ""}
        assert (await program.put("/api/v1/sign-in-settings", json=settings)).status == 200
        assert await (await program.get("/api/v1/sign-in-settings")).json() == settings
        assert await status(browser) == 403
        for path in ("/", "/calls", "/users", "/sign-in-settings", "/about", "/schema"):
            answer = await browser.get(path)
            assert (answer.status, answer.url.path) == (200, "/account"), path
        text = await (await browser.get("/")).text()
        assert "Your role needs a second factor" in text
        assert "/users" not in text
        form = {"administrator": "", "annotator": "", "reader": ""}
        for path, fields in (
            ("/sign-in-settings", form),
            ("/sign-in-settings/console-url", {}),
            ("/users", {"name": "Eve"}),
            ("/settings", {}),
            ("/account/password", {"current_password": PASSWORD}),
            ("/account/sessions/end-others", {}),
        ):
            assert (await browser.post(path, data=fields)).status == 403, path
        assert await status(program) == 200  # tokens are not affected
        async with open_browser(harness) as of_token:
            await of_token.post("/sign-in", data={"token": harness.admin_token})
            assert await status(of_token) == 200
        await browser.post("/account/app")
        secret = await harness.appdb.second_factors.get_enrolment("Alice", now_us=harness.clock.microseconds())
        code = code_of_step(secret, harness.clock.microseconds() // (STEP_SECONDS * 1_000_000))
        await browser.post("/account/app/confirm", data={"current_password": PASSWORD, "code": code})
        assert await status(browser) == 200
        assert (await program.put("/api/v1/sign-in-settings", json={"factor_roles": ["king"]})).status == 400


async def test_administrator_resets_a_factor_and_the_sessions_end(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    await add_user(harness, "Alice")
    telephone = await add_telephone(harness, "Alice")
    await enter_password(browser)
    await enter_code(browser, telephone.new_code())
    async with open_browser(harness) as administrator, harness.client() as program:
        await administrator.post("/sign-in", data={"token": harness.admin_token})
        assert "Remove second factor" in await (await administrator.get("/users/edit?name=Alice")).text()
        answer = await administrator.post("/users/reset-factor", data={"name": "alice"})
        assert "Second factor of user" in await answer.text()
        assert await status(browser) == 401
        actions = [entry.action for entry in await harness.appdb.audit.latest(3, None)]
        assert "remove authenticator app of Alice" in actions
        assert "Remove second factor" not in await (await administrator.get("/users/edit?name=Alice")).text()
        await add_telephone(harness, "Alice")
        users = (await (await program.get("/api/v1/users")).json())["data"]
        assert [user["has_second_factor"] for user in users] == [True]
        assert (await program.delete("/api/v1/users/alice/second-factor")).status == 204
        assert (await program.delete("/api/v1/users/nemo/second-factor")).status == 404
    await enter_password(browser)
    assert await status(browser) == 200


async def test_settings_page_sets_the_roles(harness: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    await add_user(harness, "Alice")
    await add_telephone(harness, "Alice")
    await browser.post("/sign-in", data={"token": harness.admin_token})
    text = await (await browser.post("/sign-in-settings", data={"annotator": "yes", "reader": "yes"})).text()
    assert "users with a second factor: 1 of 1" in text
    assert await harness.appdb.sign_in_settings.get() == SignInSettings(factor_roles=("annotator", "reader"))
    await browser.post("/sign-in-settings", data={})
    assert await harness.appdb.sign_in_settings.get() == SignInSettings()


async def test_session_of_a_token_has_no_second_factor(harness: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    await browser.post("/sign-in", data={"token": harness.admin_token})
    assert (await browser.get("/account/app")).url.path == "/account"
    for path in ("/account/app", "/account/app/confirm", "/account/app/remove", "/account/recovery-codes"):
        answer = await browser.post(path, data={"code": "1"})
        assert "Second factor" not in await answer.text()


async def test_changed_password_keeps_the_factor_of_the_session(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    await add_user(harness, "Alice")
    telephone = await add_telephone(harness, "Alice")
    await enter_password(browser)
    await enter_code(browser, telephone.new_code())
    await harness.appdb.sign_in_settings.put(SignInSettings(factor_roles=("reader",)))
    form = {"current_password": PASSWORD, "password": "x" * 12, "password_repeat": "x" * 12}
    await browser.post("/account/password", data=form)
    assert await status(browser) == 200
    (session,) = await harness.appdb.sessions.all(harness.clock.microseconds())
    assert msgspec.structs.asdict(session)["factor"] == "code"


async def test_settings_page_sets_the_address_of_the_console(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    await browser.post("/sign-in", data={"token": harness.admin_token})
    await harness.appdb.sign_in_settings.put(SignInSettings(factor_roles=("reader",)))
    text = await (await browser.get("/sign-in-settings")).text()
    assert "passkeys need the address of the console" in text
    for address, error in (("http://192.0.2.7/", "not an IP address"), ("https://calls.example.com", "")):
        text = await (await browser.post("/sign-in-settings/console-url", data={"console_url": address})).text()
        assert ("Now there are none" in text, error in text) == (bool(error), True)
    text = await (await browser.post("/sign-in-settings/console-url", data={"console_url": "x y"})).text()
    assert "not the address of a console" in text
    stored = SignInSettings(factor_roles=("reader",), console_url="https://calls.example.com")
    assert await harness.appdb.sign_in_settings.get() == stored
