"""Users: invitations, passwords, the audit log, and throttling of failed sign-ins."""

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import aiohttp
import pytest

from onhook.console.auth import failures
from onhook.console.auth.failures import FAILURES_MAX
from tests.console.conftest import ConsoleHarness, module_loop
from tests.factories import PBX, SN

PASSWORD = "three short words"
NO_GROUPS = {"departments": None, "sites": None}
OURS = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
async def browser(harness: ConsoleHarness) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield the browser session of an administrator."""
    async with harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True), headers=OURS) as session:
        await session.post("/sign-in", data={"token": harness.admin_token})
        yield session


async def invite(browser: aiohttp.ClientSession, name: str, **more: str) -> str:
    """Return the invitation that the page shows."""
    text = await (await browser.post("/users", data={"name": name, **more})).text()
    match = re.search(r"invitation\?invitation=([\w-]+)", text)
    assert match, text
    return match[1]


def anonymous(harness: ConsoleHarness) -> AbstractAsyncContextManager[aiohttp.ClientSession]:
    return harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True), headers=OURS)


@asynccontextmanager
async def signed_in(harness: ConsoleHarness, invitation: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield the client of a user who has accepted the invitation."""
    async with anonymous(harness) as session:
        data = {"invitation": invitation, "username": "x", "password": PASSWORD, "password_repeat": PASSWORD}
        assert (await session.post("/invitation", data=data)).status == 200
        yield session


async def test_invitation_sets_a_password(harness: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    """Opening the link does not use the invitation up; choosing a password does."""
    invitation = await invite(browser, "Alice")
    async with anonymous(harness) as alice:
        for _ in range(2):
            assert "Welcome" in await (await alice.get(f"/invitation?invitation={invitation}")).text()
        short = {"invitation": invitation, "password": "short", "password_repeat": "short"}
        assert (await alice.post("/invitation", data=short)).status == 400
        unlike = {"invitation": invitation, "password": PASSWORD, "password_repeat": PASSWORD + "!"}
        assert (await alice.post("/invitation", data=unlike)).status == 400
        right = {"invitation": invitation, "password": PASSWORD, "password_repeat": PASSWORD}
        assert (await alice.post("/invitation", data=right)).url.path == "/"
        assert (await alice.get("/api/v1/calls")).status == 200
        assert (await alice.post("/invitation", data=right)).status == 401
    async with anonymous(harness) as new_session:
        answer = await new_session.post("/sign-in", data={"name": "alice", "password": PASSWORD, "next": "/calls"})
        assert answer.url.path == "/calls"
        assert (await new_session.get("/users")).status == 403
    assert PASSWORD.encode() not in harness.config.appdb_file.read_bytes()


async def test_sign_in_wrong_passwords_keep_no_one_out(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The right password is accepted after any number of wrong ones and of wrong tokens, from the same address."""
    monkeypatch.setattr(failures, "DELAY_SECONDS_MAX", 0.01)
    async with signed_in(harness, await invite(browser, "Bob")):
        pass
    async with harness.client("wrong") as outsider:
        for _ in range(FAILURES_MAX + 1):
            await outsider.get("/api/v1/pbxs")
    async with anonymous(harness) as guesser:
        wrong = [(await guesser.post("/sign-in", data={"name": "Bob", "password": f"guess {n}"})).status
                 for n in range(FAILURES_MAX + 2)]  # fmt: skip
        assert wrong == [401] * (FAILURES_MAX + 2)
        answer = await guesser.post("/sign-in", data={"name": "Bob", "password": PASSWORD}, allow_redirects=False)
        assert answer.status == 303


async def test_sign_in_unknown_name_equals_wrong_password(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    async with signed_in(harness, await invite(browser, "Carol")):
        pass
    async with anonymous(harness) as guesser:
        answers = [
            await guesser.post("/sign-in", data={"name": name, "password": "x"}) for name in ("Carol", "Unknown")
        ]
        assert answers[0].status == answers[1].status == 401
        assert await answers[0].text() == await answers[1].text()


async def test_sessions_end_with_their_user(harness: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    """This includes removing the user, changing the password, and signing the browser out."""
    async with AsyncExitStack() as sessions:
        first = await sessions.enter_async_context(signed_in(harness, await invite(browser, "Alice")))
        text = await (await browser.post("/users/invite", data={"name": "Alice"})).text()
        invitation = re.findall(r"invitation=([\w-]+)", text)[0]
        second = await sessions.enter_async_context(signed_in(harness, invitation))
        assert (await first.get("/api/v1/calls")).status == 401
        assert (await second.get("/api/v1/calls")).status == 200
        numbers = re.findall(r"/users/sessions/(\d+)/end", await (await browser.get("/users")).text())
        await browser.post(f"/users/sessions/{max(numbers, key=int)}/end")
        assert (await second.get("/api/v1/calls")).status == 401
        third = await sessions.enter_async_context(anonymous(harness))
        await third.post("/sign-in", data={"name": "Alice", "password": PASSWORD})
        assert (await third.get("/api/v1/calls")).status == 200
        await browser.post("/users/remove", data={"name": "Alice"})
        assert (await third.get("/api/v1/calls")).status == 401


async def test_user_scope_is_set_by_form(harness: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    """PBXs are given by name. An administrator cannot be limited, and an unknown PBX is an error."""
    await invite(browser, "Dora", pbxs="office", numbers="1001, 1002")
    (dora,) = await harness.appdb.users.all()
    assert dora.scope is not None
    assert (dora.scope.sns, dora.scope.numbers) == ((SN,), ("1001", "1002"))
    for wrong in ({"role": "administrator", "numbers": "1"}, {"pbxs": "nowhere"}, {"role": "king"}):
        text = await (await browser.post("/users", data={"name": "Eve", **wrong})).text()
        assert 'role="alert"' in text
    assert [user.name for user in await harness.appdb.users.all()] == ["Dora"]


async def test_user_departments_and_sites_are_set_by_form_and_api(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, client: aiohttp.ClientSession
) -> None:
    """Each once, in whatever case; a name may have a comma in the API; too many are an error."""
    await invite(browser, "Dora", departments="Sales, sales , Support", sites="Berlin")
    body = {"name": "Eve", "departments": ["Sales, EMEA"], "sites": []}
    assert (await client.post("/api/v1/users", json=body)).status == 201
    scopes = {user.name: user.scope for user in await harness.appdb.users.all()}
    dora, eve = scopes["Dora"], scopes["Eve"]
    assert dora is not None
    assert eve is not None
    assert (dora.departments, dora.sites, eve.departments, eve.sites) == (
        ("sales", "Support"),
        ("Berlin",),
        ("Sales, EMEA",),
        None,
    )
    changed = await (await client.patch("/api/v1/users/Dora", json={"numbers": ["1001"]})).json()
    assert (changed["scope"]["departments"], changed["scope"]["sites"]) == (["sales", "Support"], ["Berlin"])
    changed = await (await client.patch("/api/v1/users/Dora", json={"sites": []})).json()
    assert (changed["scope"]["departments"], changed["scope"]["sites"]) == (["sales", "Support"], None)
    text = await (await browser.get("/users")).text()
    assert 'department <span dir="auto">sales, Support</span>' in text
    text = await (await browser.get("/users/edit?name=Dora")).text()
    assert 'name="departments" maxlength="4000" value="sales, Support"' in text
    for wrong in ({"departments": ",".join(map(str, range(101)))}, {"sites": "x" * 101}, {"sites": "a\x00b"}):
        text = await (await browser.post("/users", data={"name": "Frank", **wrong})).text()
        assert 'role="alert"' in text
    assert len(await harness.appdb.users.all()) == 2


async def test_audit_log_contains_every_change(harness: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    """An entry has the user, the way, the action and its values, but no secret and no password."""
    await invite(browser, "Alice")
    await browser.post("/users/tokens", data={"name": "wallboard"})
    reader = await harness.appdb.tokens.add("reader", "reader", now_us=harness.clock.microseconds())
    async with harness.client(reader) as other:
        assert (await other.delete("/api/v1/pbxs/office")).status == 403
    async with harness.client() as client:
        assert (await client.delete("/api/v1/pbxs/office")).status == 204
    lines = [(entry.actor, entry.way, entry.action) for entry in await harness.appdb.audit.latest(5)]
    assert lines == [
        ("admin", "api", "remove PBX office and 1 more"),
        ("onhook", "onhook", "add token reader"),
        ("admin", "page", "add token wallboard"),
        ("admin", "page", "add user Alice and 1 more"),
        ("admin", "page", "sign in"),
    ]
    text = await (await browser.get("/audit")).text()
    assert "remove PBX office" in text
    assert harness.admin_token not in text


async def test_user_is_added_by_api(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """The path of the invitation leads to the page for choosing a password, and is returned once."""
    new_user = {"name": "Alice", "pbxs": [PBX], "numbers": ["1001"]}
    async with client.post("/api/v1/users", json=new_user) as answer:
        assert answer.status == 201
        added = await answer.json()
    assert added["user"]["scope"] == {"sns": [SN], "numbers": ["1001"], "mask": "none"} | NO_GROUPS
    async with anonymous(harness) as alice:
        assert "Welcome" in await (await alice.get(added["path"])).text()
    renewed_user = await (await client.post("/api/v1/users/Alice/invitation")).json()
    async with anonymous(harness) as alice:
        assert [(await alice.get(path)).status for path in (added["path"], renewed_user["path"])] == [401, 200]
    text = await (await client.get("/api/v1/users")).text()
    assert "Alice" in text
    assert renewed_user["path"].partition("=")[2] not in text
    assert [(await client.delete("/api/v1/users/Alice")).status for _ in range(2)] == [204, 404]


async def test_user_is_changed_by_api(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """What is left out stays; it applies to open sessions, and is one entry of the audit log."""
    new_user = {"name": "Alice", "numbers": ["1001"], "permissions": ["share"]}
    added = await (await client.post("/api/v1/users", json=new_user)).json()
    assert added["user"]["permissions"] == ["share"]
    async with signed_in(harness, added["path"].partition("=")[2]) as alice:
        assert (await alice.get("/pbxs")).status == 403
        answer = await client.patch("/api/v1/users/alice", json={"numbers": [], "permissions": ["links"]})
        changed = await answer.json()
        assert (answer.status, changed["scope"], changed["permissions"]) == (200, None, ["links"])
        assert (await alice.get("/pbxs")).status == 200
        (entry,) = await harness.appdb.audit.latest(1)
        assert (entry.way, entry.action) == ("api", "change user Alice")
        changes = {"role": "annotator", "mask": "last3", "is_disabled": True}
        changed = await (await client.patch("/api/v1/users/Alice", json=changes)).json()
        assert (changed["role"], changed["scope"]["mask"], changed["is_disabled"]) == ("annotator", "last3", True)
        assert (await alice.get("/api/v1/calls")).status == 401
    for wrong, status in (
        ({"role": "administrator"}, 400),
        ({"role": "king"}, 400),
        ({"permissions": ["fly"]}, 400),
        ({"pbxs": ["nowhere"]}, 404),
        ({"password": "x"}, 400),
    ):
        assert (await client.patch("/api/v1/users/Alice", json=wrong)).status == status, wrong
    assert (await client.patch("/api/v1/users/Bob", json={})).status == 404


async def test_last_administrator_is_protected_on_the_page_and_in_the_api(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, client: aiohttp.ClientSession
) -> None:
    async with signed_in(harness, await invite(browser, "Alice", role="administrator")) as alice:
        sentence = "is the last administrator who can sign in"
        for path, form in (
            ("edit", {"user": "Alice", "name": "Alice", "role": "reader"}),
            *((path, {"name": "Alice"}) for path in ("disable", "remove")),
        ):
            assert sentence in await (await alice.post(f"/users/{path}", data=form)).text(), path
        for answer in (
            await client.patch("/api/v1/users/Alice", json={"role": "reader"}),
            await client.patch("/api/v1/users/Alice", json={"is_disabled": True}),
            await client.delete("/api/v1/users/Alice"),
        ):
            assert (answer.status, sentence in await answer.text()) == (400, True)
        assert (await alice.get("/users")).status == 200


async def test_token_is_added_by_api(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """A limited token has its scope; the text is returned once; a removed token is invalid."""
    async with client.post("/api/v1/tokens", json={"name": "wallboard", "numbers": ["1001"]}) as answer:
        new_document = await answer.json()
    assert new_document["token"]["scope"] == {"sns": None, "numbers": ["1001"], "mask": "none"} | NO_GROUPS
    async with harness.client(new_document["text"]) as reader:
        assert (await reader.get("/api/v1/calls")).status == 200
        assert (await reader.get("/api/v1/tokens")).status == 403
        text = await (await client.get("/api/v1/tokens")).text()
        assert "wallboard" in text
        assert new_document["text"] not in text
        assert (await client.delete("/api/v1/tokens/wallboard")).status == 204
        past = await client.post("/api/v1/tokens", json={"name": "past", "expires_at": "2020-01-01T00:00:00Z"})
        assert (past.status, "in the past" in await past.text()) == (400, True)
        assert (await reader.get("/api/v1/calls")).status == 401


@module_loop
@pytest.mark.parametrize(
    ("new_user", "status"),
    [
        ({"name": "x", "role": "administrator", "numbers": ["1001"]}, 400),
        ({"name": "x", "role": "king"}, 400),
        ({"name": "x", "pbxs": ["nowhere"]}, 404),
        ({"name": ""}, 400),
        ({"name": "x", "colour": "red"}, 400),
    ],
)
async def test_user_or_token_invalid_is_rejected(
    module_harness: ConsoleHarness, module_client: aiohttp.ClientSession, new_user: dict[str, object], status: int
) -> None:
    """Nothing is stored."""
    for path in ("/api/v1/users", "/api/v1/tokens"):
        assert (await module_client.post(path, json=new_user)).status == status
    assert (
        await module_harness.appdb.users.all(),
        [token.name for token in await module_harness.appdb.tokens.all()],
    ) == (
        [],
        ["admin"],
    )


async def test_audit_log_is_paged(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """The latest entries are first; a reader is rejected."""
    for number in range(3):
        await client.post("/api/v1/tokens", json={"name": f"t{number}"})
    actions, cursor = [], ""
    while True:
        answer = await (await client.get("/api/v1/audit", params={"limit": 2, "cursor": cursor})).json()
        actions += [entry["action"] for entry in answer["data"]]
        if not (cursor := answer["next"] or ""):
            break
    assert actions[:3] == ["add token t2", "add token t1", "add token t0"]
    reader = await harness.appdb.tokens.add("reader", "reader", now_us=harness.clock.microseconds())
    async with harness.client(reader) as other:
        for path in ("audit", "users", "tokens"):
            assert (await other.get(f"/api/v1/{path}")).status == 403
