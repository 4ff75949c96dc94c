"""Invitations and links for a forgotten password, by mail."""

import re

import aiohttp
import pytest

from onhook.appdb.mail_settings import MailSettings
from onhook.console.auth.failures import RESETS_MAX, RESETS_WINDOW_MICROSECONDS
from onhook.console.invitation_mails import RESETS_PER_DAY, RESETS_PER_HOUR, request_reset
from onhook.lib.errors import NotAllowed, UsageError
from tests.console.conftest import ConsoleHarness
from tests.ops.mail_world import MovedClock
from tests.waiting import polls, wait_until

CONSOLE_URL = "https://calls.example.com"
ADDRESS = "alice@example.com"
LINK = re.compile(rf"{re.escape(CONSOLE_URL)}/invitation\?invitation=(\S+)")


async def set_server(harness: ConsoleHarness, console_url: str = CONSOLE_URL) -> None:
    await harness.appdb.mail_settings.put(
        MailSettings(host="mail.example.com", tls="off", sender="calls@example.com", console_url=console_url)
    )


async def read_mails(harness: ConsoleHarness) -> list[tuple[str, str]]:
    """Return recipient and link of the pending mails, the oldest first, and end them."""
    mails, now_us = harness.appdb.mails, harness.clock.microseconds()
    claimed = [
        await mails.claim(mail_id, "example.com", due_us=now_us)
        for mail_id, _count in await mails.due(9, now_us=now_us)
    ]
    for mail in claimed:
        assert mail is not None
        await mails.end(mail.mail_id, "sent", "", now_us=now_us)
    return [(mail.recipient, LINK.findall(mail.content.text)[0]) for mail in claimed if mail is not None]


async def count_mails(harness: ConsoleHarness) -> int:
    """Return the number of pending mails."""
    return len(await harness.appdb.mails.due(9, now_us=harness.clock.microseconds()))


async def add_alice(harness: ConsoleHarness) -> None:
    """Add a user with an address and a password."""
    now_us = harness.clock.microseconds()
    invitation = await harness.appdb.users.add("Alice", "reader", None, now_us=now_us, email=ADDRESS)
    await harness.appdb.users.accept_invitation(invitation, "correct horse battery", now_us=now_us)


async def test_invitation_is_sent_to_the_address_with_the_address_of_the_console_that_is_set(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    await set_server(harness)
    form = {"name": "Alice", "role": "reader", "email": ADDRESS}
    async with client.post("/users", data=form, headers={"Host": "calls.example.com"}) as response:
        text = await response.text()
    assert f"It is sent to {ADDRESS}." in text
    ((recipient, link),) = await read_mails(harness)
    assert (recipient, link in text) == (ADDRESS, True)
    assert (await harness.appdb.users.get_invited(link, now_us=harness.clock.microseconds())).name == "Alice"
    async with client.post("/api/v1/users/Alice/invitation") as response:
        assert (await response.json())["mailed_to"] == ADDRESS
    async with client.post("/api/v1/users", json={"name": "Bob", "email": "x"}) as response:
        assert response.status == 400
    async with client.post("/api/v1/users", json={"name": "Bob"}) as response:
        assert (await response.json())["mailed_to"] == ""
    assert len(await read_mails(harness)) == 1


@pytest.mark.parametrize("has_server", [True, False])
async def test_invitation_without_a_server_or_an_address_of_the_console_is_only_shown(
    harness: ConsoleHarness, client: aiohttp.ClientSession, has_server: bool
) -> None:
    if has_server:
        await set_server(harness, console_url="")
    async with client.post("/users", data={"name": "Alice", "role": "reader", "email": ADDRESS}) as response:
        text = await response.text()
    assert "It is sent to" not in text
    assert "/invitation?invitation=" in text
    async with client.get("/forgotten-password") as response:
        assert "ask an administrator" in await response.text()
    assert await harness.appdb.mails.latest(9) == []


async def test_forgotten_password_link_chooses_another_one_and_ends_the_sessions(harness: ConsoleHarness) -> None:
    await set_server(harness)
    await add_alice(harness)
    async with harness.client("") as client:
        answers = set()
        for name, mail_count in (("Alice", 1), ("Mallory", 1), (ADDRESS.upper(), 2), ("", 2)):
            async with client.post("/forgotten-password", data={"name": name}) as response:
                answers.add((response.status, await response.text()))
            # The answer does not wait for the mail.
            await wait_until(await count_mails(harness) == mail_count async for _ in polls())
        assert len(answers) == 1, "the answer does not say who is a user"
        (_first, first_link), (_second, link) = await read_mails(harness)
        form = {
            "invitation": first_link,
            "password": "another long password",
            "password_repeat": "another long password",
        }
        async with client.post("/invitation", data=form) as response:
            assert response.status == 401, "a new link ends the one before"
        async with client.post("/invitation", data=form | {"invitation": link}, allow_redirects=False) as response:
            assert response.status == 303
        async with client.post(
            "/forgotten-password", data={"name": "Alice"}, headers={"Sec-Fetch-Site": "cross-site"}
        ) as response:
            assert response.status == 403
    user = await harness.appdb.users.get("Alice")
    assert user.has_password


async def test_forgotten_password_requests_of_an_address_are_limited_whatever_names_they_have(
    harness: ConsoleHarness,
) -> None:
    """A program fills neither the mailboxes of all users nor the mails of an hour."""
    await set_server(harness)
    await add_alice(harness)
    async with harness.client("") as client:
        for number in range(RESETS_MAX):
            async with client.post("/forgotten-password", data={"name": f"user {number}"}) as response:
                assert response.status == 200
        async with client.post("/forgotten-password", data={"name": "Alice"}) as response:
            assert (response.status, 0 < int(response.headers["Retry-After"]) <= 3_600) == (429, True)
            assert "Too many requests from this address" in await response.text()
        assert await read_mails(harness) == []
    ended_us = harness.clock.microseconds() + RESETS_WINDOW_MICROSECONDS
    assert harness.app_state.reset_requests.seconds_to_wait("127.0.0.1", ended_us) == 0


async def test_forgotten_password_sends_few_links_a_day_to_an_address(harness: ConsoleHarness) -> None:
    await set_server(harness)
    await add_alice(harness)
    clock = MovedClock()
    for _hour in range(5):
        for _time in range(RESETS_PER_HOUR):
            await request_reset(harness.appdb, clock, "Alice")
        clock.move(3_601)
    assert len(await harness.appdb.mails.latest(99)) == RESETS_PER_DAY
    clock.move(86_400)
    await request_reset(harness.appdb, clock, "Alice")
    assert len(await harness.appdb.mails.latest(99)) == RESETS_PER_DAY + 1


async def test_forgotten_password_sends_few_links_that_that_are_short_lived_and_none_to_a_user_who_cannot_sign_in(
    harness: ConsoleHarness,
) -> None:
    appdb, now_us = harness.appdb, harness.clock.microseconds()
    await set_server(harness)
    await add_alice(harness)
    for name in ("Invited", "Disabled"):
        invitation = await appdb.users.add(name, "reader", None, now_us=now_us, email=f"{name}@example.com")
        if name == "Disabled":
            await appdb.users.accept_invitation(invitation, "correct horse battery", now_us=now_us)
            await appdb.users.set_disabled(name, is_disabled=True)
        await request_reset(appdb, harness.clock, name)
    assert await read_mails(harness) == []
    for _time in range(RESETS_PER_HOUR + 2):
        await request_reset(appdb, harness.clock, "Alice")
    links = await read_mails(harness)
    assert len(links) == RESETS_PER_HOUR
    with pytest.raises(NotAllowed):
        await appdb.users.get_invited(links[-1][1], now_us=now_us + 2 * 3_600 * 1_000_000)


async def test_user_address_is_changed_and_links_to_the_one_before_end(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    appdb, now_us = harness.appdb, harness.clock.microseconds()
    invitation = await appdb.users.add("Alice", "reader", None, now_us=now_us)
    async with client.patch("/api/v1/users/Alice", json={"email": ADDRESS}) as response:
        assert (await response.json())["email"] == ADDRESS
    assert (await appdb.users.get_invited(invitation, now_us=now_us)).email == ADDRESS
    form = {"user": "Alice", "name": "Alice", "role": "reader", "email": "new@example.com"}
    async with client.post("/users/edit", data=form) as response:
        assert response.status == 200
    with pytest.raises(NotAllowed):
        await appdb.users.get_invited(invitation, now_us=now_us)
    await appdb.users.add("Bob", "reader", None, now_us=now_us, email="new@example.com")
    assert await appdb.users.find_by_email("new@example.com") is None, "two users have it"
    with pytest.raises(UsageError):
        await appdb.users.set_email("Alice", "alice")
    await appdb.users.set_email("Alice", " ")
    bob = await appdb.users.find_by_email("NEW@example.com")
    assert bob is not None
    assert bob.name == "Bob"
    assert await appdb.users.find_by_email("") is None
