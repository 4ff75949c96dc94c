"""The pages on which users are changed, disabled and removed, and tokens with an end are made."""

import re
from datetime import timedelta
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from playwright.async_api import expect

from tests.console.conftest import ConsoleHarness
from tests.console.test_pages import OUTPUT, open_visit
from tests.console.test_users import PASSWORD, anonymous, browser, invite, signed_in
from tests.factories import SN

__all__ = ["browser"]


async def test_user_role_and_scope_change_in_open_sessions(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    async with signed_in(harness, await invite(browser, "Alice")) as alice:
        assert (await alice.get("/pbxs")).status == 200
        form = {
            "user": "Alice",
            "name": "Alice",
            "role": "annotator",
            "numbers": "1001",
            "pbxs": "office",
            "mask": "last3",
        }
        answer = await browser.post("/users/edit", data=form)
        assert (answer.url.path, "changed" in await answer.text()) == ("/users", True)
        assert (await alice.get("/pbxs")).status == 403
        assert (await alice.get("/calls")).status == 200
    (user,) = await harness.appdb.users.all()
    assert user.scope is not None
    assert (user.role, user.scope.sns, user.scope.numbers, user.scope.mask) == ("annotator", (SN,), ("1001",), "last3")
    text = await (await browser.get("/users/edit?name=Alice")).text()
    assert ('value="office"' in text, 'value="1001"' in text, 'value="last3" selected' in text) == (True,) * 3


async def test_user_new_name_ends_sessions_and_keeps_the_password(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    async with signed_in(harness, await invite(browser, "Alice")) as alice:
        await browser.post("/users/edit", data={"user": "Alice", "name": "Alice Miller", "role": "reader"})
        assert (await alice.get("/api/v1/calls")).status == 401
        answer = await alice.post("/sign-in", data={"name": "alice miller", "password": PASSWORD, "next": "/calls"})
        assert answer.url.path == "/calls"


async def test_user_invitation_stays_valid_with_a_new_name(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    invitation = await invite(browser, "Alice")
    await browser.post("/users/edit", data={"user": "Alice", "name": "Bob", "role": "reader"})
    async with anonymous(harness) as bob:
        assert "Welcome, Bob" in await (await bob.get(f"/invitation?invitation={invitation}")).text()


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"name": "Bob"}, "There is already a user named"),
        ({"role": "administrator", "numbers": "1001"}, "An administrator cannot be limited"),
        ({"pbxs": "nowhere"}, "nowhere"),
        ({"role": "king"}, "There is no role"),
    ],
)
async def test_user_invalid_change_keeps_what_was_entered(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, form: dict[str, str], sentence: str
) -> None:
    """Nothing is stored, and sessions stay."""
    await invite(browser, "Bob")
    async with signed_in(harness, await invite(browser, "Alice")) as alice:
        entered = {"user": "Alice", "name": "Alice", "role": "reader", "numbers": "1001, 1002"} | form
        text = await (await browser.post("/users/edit", data=entered)).text()
        assert sentence in text
        assert f'value="{entered["numbers"]}"' in text
        assert (await alice.get("/api/v1/calls")).status == 200
    alice_user = await harness.appdb.users.get("Alice")
    assert (alice_user.role, alice_user.scope) == ("reader", None)


async def test_user_disabled_cannot_sign_in_until_enabled(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    """Sessions end at once; there is no invitation for a disabled user."""
    async with signed_in(harness, await invite(browser, "Alice")) as alice:
        text = await (await browser.post("/users/disable", data={"name": "Alice"})).text()
        assert "disabled" in text
        assert (await alice.get("/api/v1/calls")).status == 401
        assert (await alice.post("/sign-in", data={"name": "Alice", "password": PASSWORD})).status == 401
        text = await (await browser.post("/users/invite", data={"name": "Alice"})).text()
        assert "enable the user first" in text
        await browser.post("/users/enable", data={"name": "Alice"})
        assert (await alice.get("/api/v1/calls")).status == 401
        assert (await alice.post("/sign-in", data={"name": "Alice", "password": PASSWORD})).status == 200
    actions = [(entry.actor, entry.action) for entry in await harness.appdb.audit.latest(6)]
    assert ("admin", "change user Alice") in actions


async def test_token_is_valid_through_its_last_day(harness: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    """Its text and the sessions that began with it end; an end in the past, or what is no day, is refused."""
    today = harness.clock.now().astimezone(ZoneInfo("Europe/Berlin")).date()
    for wrong, sentence in ((today - timedelta(days=2), "in the past"), ("tomorrow", "is not a day")):
        form = {"name": "wall", "numbers": "1001", "expires_on": str(wrong)}
        text = await (await browser.post("/users/tokens", data=form)).text()
        assert sentence in text
        assert f'value="{wrong}"' in text
    text = await (await browser.post("/users/tokens", data={"name": "wall", "expires_on": str(today)})).text()
    token_text = re.findall(r'data-copy="token">([\w-]+)<', text)[0]
    async with harness.client(token_text) as client:
        assert (await client.get("/api/v1/calls")).status == 200
    (token,) = [token for token in await harness.appdb.tokens.all() if token.name == "wall"]
    assert token.expires_at is not None
    end_us = round(token.expires_at.timestamp() * 1e6)
    assert await harness.appdb.tokens.find(token_text, now_us=end_us - 1) is not None
    assert await harness.appdb.tokens.find(token_text, now_us=end_us) is None
    session = await harness.appdb.sessions.start_for_token(token_text, address="", now_us=end_us - 10)
    is_valid = [await harness.appdb.sessions.find([session], now_us) is not None for now_us in (end_us - 1, end_us)]
    assert is_valid == [True, False]


async def test_user_pages_are_for_administrators(harness: ConsoleHarness) -> None:
    reader = await harness.appdb.tokens.add("reader", "reader", now_us=harness.clock.microseconds())
    await harness.appdb.users.add("Alice", "reader", None, now_us=1)
    async with harness.client(reader) as client:
        assert (await client.get("/users/edit?name=Alice")).status == 403
        for path in ("edit", "disable", "enable", "remove", "invite"):
            assert (await client.post(f"/users/{path}", data={"name": "Alice", "user": "Alice"})).status == 403
    async with harness.client("") as outsider:
        assert (await outsider.post("/users/disable", data={"name": "Alice"})).status == 401


async def test_user_walk_invites_copies_and_edits(harness: ConsoleHarness, chromium_path: str) -> None:
    """By keyboard and pointer: invite, copy the link, limit, disable."""
    async with open_visit(harness, chromium_path, viewport={"width": 390, "height": 900}) as visit:
        page = visit.page
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await page.goto(harness.url + "/users")
        await page.get_by_label("Name", exact=True).first.fill("Alice")
        await page.get_by_role("button", name="Invite", exact=True).press("Enter")
        await page.get_by_role("button", name="Copy invitation").press("Enter")
        await expect(page.get_by_role("button", name="Copied invitation")).to_be_visible()
        assert "/invitation?invitation=" in await page.evaluate("navigator.clipboard.readText()")
        await page.screenshot(path=OUTPUT / "users-invited.png", full_page=True)
        await page.get_by_role("link", name="Edit Alice").press("Enter")
        await page.get_by_label("Limit to extensions").fill("1001")
        await page.screenshot(path=OUTPUT / "user-edit.png", full_page=True)
        await page.get_by_role("button", name="Save").press("Enter")
        await expect(page.get_by_role("status").filter(has_text="changed")).to_be_visible()
        await page.get_by_role("link", name="Edit Alice").click()
        await page.get_by_role("button", name="Disable").click()
        await expect(page.get_by_role("cell", name="disabled")).to_be_visible()
