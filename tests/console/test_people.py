"""People sign in by invitation and password; what they change is kept; who failed too often waits."""

import re
from collections.abc import AsyncIterator

import aiohttp
import pytest

from onhook.console.failures import FAILURES_MAX
from tests.console.conftest import House
from tests.make import SN

PASSWORD = "three short words"
OURS = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
async def browser(house: House) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser of an administrator."""
    async with house.client("", cookie_jar=aiohttp.CookieJar(unsafe=True), headers=OURS) as session:
        await session.get(f"/sign-in?token={house.admin}")
        yield session


async def invite(browser: aiohttp.ClientSession, name: str, **more: str) -> str:
    """The invitation that the page shows."""
    text = await (await browser.post("/people", data={"name": name, **more})).text()
    found = re.search(r"invited\?invitation=([\w-]+)", text)
    assert found, text
    return found[1]


def stranger(house: House) -> aiohttp.ClientSession:
    return house.client("", cookie_jar=aiohttp.CookieJar(unsafe=True), headers=OURS)


async def signed_in(house: House, invitation: str) -> aiohttp.ClientSession:
    """Somebody who took the invitation."""
    session = stranger(house)
    data = {"invitation": invitation, "username": "x", "password": PASSWORD, "again": PASSWORD}
    assert (await session.post("/invited", data=data)).status == 200
    return session


async def test_an_invitation_becomes_a_password(house: House, browser: aiohttp.ClientSession) -> None:
    """Looking at the link uses nothing up; the password counts from then on, the invitation no more."""
    invitation = await invite(browser, "Alice")
    async with stranger(house) as alice:
        for _ in range(2):
            assert "Welcome" in await (await alice.get(f"/invited?invitation={invitation}")).text()
        short = {"invitation": invitation, "password": "short", "again": "short"}
        assert (await alice.post("/invited", data=short)).status == 400
        unlike = {"invitation": invitation, "password": PASSWORD, "again": PASSWORD + "!"}
        assert (await alice.post("/invited", data=unlike)).status == 400
        right = {"invitation": invitation, "password": PASSWORD, "again": PASSWORD}
        assert (await alice.post("/invited", data=right)).url.path == "/"
        assert (await alice.get("/api/v1/calls")).status == 200
        assert (await alice.post("/invited", data=right)).status == 401
    async with stranger(house) as again:
        answer = await again.post("/sign-in", data={"name": "alice", "password": PASSWORD, "next": "/calls"})
        assert answer.url.path == "/calls"
        assert (await again.get("/people")).status == 403
    assert PASSWORD.encode() not in house.config.settings_file.read_bytes()


async def test_a_wrong_password_is_slowed_down(house: House, browser: aiohttp.ClientSession) -> None:
    """Past the limit even the right one has to wait: a password can be guessed, other than a token."""
    session = await signed_in(house, await invite(browser, "Bob"))
    await session.close()
    async with stranger(house) as guesser:
        wrong = [(await guesser.post("/sign-in", data={"name": "Bob", "password": f"guess {n}"})).status
                 for n in range(FAILURES_MAX + 1)]  # fmt: skip
        assert wrong == [401] * (FAILURES_MAX + 1)
        answer = await guesser.post("/sign-in", data={"name": "Bob", "password": PASSWORD})
        assert answer.status == 429
        assert int(answer.headers["Retry-After"]) > 0


async def test_nobody_learns_who_there_is(house: House, browser: aiohttp.ClientSession) -> None:
    """A wrong name and a wrong password get the same answer."""
    await (await signed_in(house, await invite(browser, "Carol"))).close()
    async with stranger(house) as guesser:
        answers = [await guesser.post("/sign-in", data={"name": name, "password": "x"}) for name in ("Carol", "Nobody")]
        assert answers[0].status == answers[1].status == 401
        assert await answers[0].text() == await answers[1].text()


async def test_sessions_end_with_what_they_stand_for(house: House, browser: aiohttp.ClientSession) -> None:
    """When the person is removed, when the password is changed, and when an administrator signs a browser out."""
    first = await signed_in(house, await invite(browser, "Alice"))
    text = await (await browser.post("/people/invite", data={"name": "Alice"})).text()
    second = await signed_in(house, re.findall(r"invitation=([\w-]+)", text)[0])
    assert (await first.get("/api/v1/calls")).status == 401
    assert (await second.get("/api/v1/calls")).status == 200
    numbers = re.findall(r"/people/sessions/(\d+)/end", await (await browser.get("/people")).text())
    await browser.post(f"/people/sessions/{max(numbers, key=int)}/end")
    assert (await second.get("/api/v1/calls")).status == 401
    third = stranger(house)
    await third.post("/sign-in", data={"name": "Alice", "password": PASSWORD})
    assert (await third.get("/api/v1/calls")).status == 200
    await browser.post("/people/remove", data={"name": "Alice"})
    assert (await third.get("/api/v1/calls")).status == 401
    for session in (first, second, third):
        await session.close()


async def test_a_person_can_be_limited(house: House, browser: aiohttp.ClientSession) -> None:
    """By the form of the page: PBXs by name, extensions; an administrator cannot be, and an unknown PBX is told."""
    await invite(browser, "Dora", pbxs="office", numbers="1001, 1002")
    (dora,) = house.settings.people.all()
    assert dora.limits is not None
    assert (dora.limits.sns, dora.limits.numbers) == ((SN,), ("1001", "1002"))
    for wrong in ({"role": "administrator", "numbers": "1"}, {"pbxs": "nowhere"}, {"role": "king"}):
        text = await (await browser.post("/people", data={"name": "Eve", **wrong})).text()
        assert 'role="alert"' in text
    assert [one.name for one in house.settings.people.all()] == ["Dora"]


async def test_what_was_changed_is_kept(house: House, browser: aiohttp.ClientSession) -> None:
    """Each request that was meant to change something: who, what, how it was answered; no secret, no password."""
    await invite(browser, "Alice")
    await browser.post("/people/tokens", data={"name": "wallboard"})
    reader = house.settings.add_token("reader", "reader", at=house.clock.microseconds())
    async with house.client(reader) as other:
        assert (await other.delete("/api/v1/pbxs/office")).status == 403
    lines = [(one.who, one.what, one.status) for one in house.settings.audit.latest(10)]
    assert lines == [
        ("reader", "DELETE /api/v1/pbxs/office", 403),
        ("admin", "POST /people/tokens", 200),
        ("admin", "POST /people", 200),
        ("admin", "signs in", 200),
    ]
    text = await (await browser.get("/audit")).text()
    assert "DELETE /api/v1/pbxs/office" in text
    assert house.admin not in text
