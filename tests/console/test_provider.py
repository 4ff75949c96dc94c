"""Signing in by an identity provider: users added and linked, roles mapped, and answers that are attacks refused."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp
import msgspec
import pytest
from joserfc import jwk

from onhook.appdb.claim_rules import find_rule, parse_rules
from onhook.appdb.identity_provider import ProviderSettings
from onhook.appdb.sign_in_settings import SignInSettings
from onhook.console.auth import provider_client
from onhook.console.auth.access import cookie_name
from onhook.console.auth.provider_sign_in import CALLBACK_PATH, COOKIE_NAME
from onhook.lib.errors import UsageError
from tests.console.conftest import ConsoleHarness
from tests.console.provider_server import CLIENT_ID, CLIENT_SECRET, ProviderServer
from tests.console.test_second_factor import PASSWORD, add_telephone, add_user, enter_password, status
from tests.factories import SN

OURS = {"Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
RULES = """
"Phone admins" administrator
sales reader numbers=1001,1002 departments="Sales, Export"
support annotator pbxs=office mask=last3
"""


@pytest.fixture
async def provider(harness: ConsoleHarness) -> AsyncIterator[ProviderServer]:
    async with ProviderServer().listen() as server:
        await harness.appdb.sign_in_settings.put(SignInSettings(console_url=harness.url))
        await put_settings(harness, server)
        yield server


async def put_settings(harness: ConsoleHarness, provider: ProviderServer, **changes: Any) -> None:
    settings = ProviderSettings(
        issuer=provider.url, client_id=CLIENT_ID, label="Office login", rules=RULES, adds_users=True, allow_private=True
    )
    settings = msgspec.structs.replace(settings, **changes)
    await harness.appdb.identity_provider.put(settings, CLIENT_SECRET)


def open_browser(harness: ConsoleHarness) -> AbstractAsyncContextManager[aiohttp.ClientSession]:
    return harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True), headers=OURS)


@pytest.fixture
async def browser(harness: ConsoleHarness) -> AsyncIterator[aiohttp.ClientSession]:
    async with open_browser(harness) as session:
        yield session


async def begin(browser: aiohttp.ClientSession, next_path: str = "/calls") -> str:
    """Return where the console leads a browser to."""
    answer = await browser.get("/sign-in/provider", params={"next": next_path}, allow_redirects=False)
    assert answer.status == 303, await answer.text()
    return answer.headers["Location"]


async def come_back(browser: aiohttp.ClientSession, address: str) -> aiohttp.ClientResponse:
    return await browser.get(address, headers={"Sec-Fetch-Site": "cross-site"})


async def sign_in(browser: aiohttp.ClientSession, provider: ProviderServer) -> aiohttp.ClientResponse:
    return await come_back(browser, provider.authorize(await begin(browser)))


async def test_first_sign_in_adds_a_user_with_role_and_scope_of_the_claims(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, provider: ProviderServer
) -> None:
    page = await (await browser.get("/sign-in?next=/calls")).text()
    assert 'href="/sign-in/provider?next=%2Fcalls"' in page
    assert "Office login" in page
    address = await begin(browser)
    assert all(
        part in address for part in ("code_challenge_method=S256", "nonce=", "scope=openid", "response_type=code")
    )
    answer = await come_back(browser, provider.authorize(address, session_state="of the provider"))
    text = await answer.text()
    assert (answer.status, 'content="0; url=/calls"' in text) == (200, True)
    assert await status(browser) == 200
    (ann,) = await harness.appdb.users.all()
    assert ann.scope is not None
    assert (ann.name, ann.role, ann.has_password) == ("Ann", "reader", False)
    assert (ann.scope.numbers, ann.scope.departments) == (("1001", "1002"), ("Sales", "Export"))
    entry = (await harness.appdb.audit.latest(1, None))[0]
    assert (entry.action, entry.actor, entry.credential) == ("sign in", "Ann", "provider")
    assert await harness.appdb._database.rows("SELECT * FROM invitations") == []


async def test_later_sign_in_gives_role_and_scope_of_then(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, provider: ProviderServer
) -> None:
    """And another name changes nothing: the subject is the account. Without a group there is no access any longer."""
    await sign_in(browser, provider)
    provider.claims |= {"groups": ["support"], "preferred_username": "Anna"}
    async with open_browser(harness) as other:
        await sign_in(other, provider)
        (ann,) = await harness.appdb.users.all()
        assert ann.scope is not None
        assert (ann.name, ann.role, ann.scope.sns, ann.scope.mask) == ("Ann", "annotator", (SN,), "last3")
        provider.claims["groups"] = ["others"]
        answer = await sign_in(browser, provider)
        assert "no access here" in await answer.text()
        assert (answer.status, await status(browser), await status(other)) == (401, 401, 401)


async def test_user_of_the_same_name_or_address_is_not_linked(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, provider: ProviderServer
) -> None:
    await add_user(harness, "ann", "administrator")
    await harness.appdb.users.set_email("ann", "ann@example.com")
    provider.claims |= {"groups": ["Phone admins"], "email": "ann@example.com", "email_verified": True}
    answer = await sign_in(browser, provider)
    assert (answer.status, "not linked to this account" in await answer.text()) == (401, True)
    assert await status(browser) == 401
    provider.claims["preferred_username"] = "Other Ann"
    await sign_in(browser, provider)
    assert {user.name for user in await harness.appdb.users.all()} == {"ann", "Other Ann"}


async def test_user_is_not_added_where_that_is_off_or_no_rule_matches(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, provider: ProviderServer
) -> None:
    provider.claims["groups"] = ["others"]
    assert (await sign_in(browser, provider)).status == 401
    provider.claims["groups"] = "sales"
    await put_settings(harness, provider, adds_users=False)
    assert "has no user here" in await (await sign_in(browser, provider)).text()
    for name in ("", "a/b", 7):
        await put_settings(harness, provider)
        provider.claims["preferred_username"] = name
        assert (await sign_in(browser, provider)).status in (400, 401)
    assert await harness.appdb.users.all() == []


async def test_account_is_linked_by_its_user_and_unlinked(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, provider: ProviderServer
) -> None:
    """The role of a linked user stays as it was."""
    await add_user(harness, "Alice", "administrator")
    await enter_password(browser)
    for wrong in ("x" * 12, ""):
        answer = await browser.post("/account/provider", data={"current_password": wrong})
        assert "current password is wrong" in await answer.text()
    answer = await browser.post("/account/provider", data={"current_password": PASSWORD})
    address = (await answer.text()).split('content="0; url=')[1].split('"')[0].replace("&amp;", "&")
    answer = await come_back(browser, provider.authorize(address))
    assert "Account+linked" in await answer.text()
    async with open_browser(harness) as other:
        await sign_in(other, provider)
        assert await status(other) == 200
        assert (await harness.appdb.users.get("Alice")).role == "administrator"
        assert "is linked" in await (await other.get("/account")).text()
        await other.post("/account/provider/remove", data={"current_password": PASSWORD})
        await put_settings(harness, provider, adds_users=False)
        assert (await sign_in(other, provider)).status == 401


async def test_link_ends_with_the_session_that_began_it(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, provider: ProviderServer
) -> None:
    await add_user(harness, "Alice")
    await enter_password(browser)
    answer = await browser.post("/account/provider", data={"current_password": PASSWORD})
    address = (await answer.text()).split('content="0; url=')[1].split('"')[0].replace("&amp;", "&")
    await browser.post("/sign-out")
    answer = await come_back(browser, provider.authorize(address))
    assert (answer.status, "signed out meanwhile" in await answer.text()) == (401, True)
    assert await harness.appdb._database.rows("SELECT * FROM identities") == []


async def test_answer_counts_for_the_browser_that_asked_and_once(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, provider: ProviderServer
) -> None:
    """A stolen or planted answer signs no other browser in: neither without the cookie, nor with that of another
    request.
    """
    async with open_browser(harness) as victim:
        stolen = provider.authorize(await begin(browser))
        assert (await come_back(victim, stolen)).status == 401
        await begin(victim)
        assert (await come_back(victim, stolen)).status == 401
        assert await status(victim) == 401
    assert (await come_back(browser, stolen)).status == 200
    for _ in range(2):
        assert (await come_back(browser, stolen)).status == 401
    address = await begin(browser)
    for changes in ({"state": "x"}, {"state": ""}, {"code": ""}, {"error": "access_denied"}):
        answer = await come_back(browser, provider.authorize(await begin(browser), **changes))
        assert answer.status == 401, changes
    assert (await come_back(browser, provider.authorize(address))).status == 401  # its cookie was replaced


async def test_text_of_an_error_is_shown_as_text(browser: aiohttp.ClientSession, provider: ProviderServer) -> None:
    text = "<script>alert(1)</script>" + "x" * 1000
    address = provider.authorize(await begin(browser), error="access_denied", error_description=text)
    page = await (await come_back(browser, address)).text()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert "x" * 300 not in page


@pytest.mark.parametrize("next_path", ["//evil.example", "https://evil.example", "/\\evil.example", "/sign-in"])
async def test_page_after_the_sign_in_is_one_of_the_console(
    browser: aiohttp.ClientSession, provider: ProviderServer, next_path: str
) -> None:
    text = await (await come_back(browser, provider.authorize(await begin(browser, next_path)))).text()
    assert 'content="0; url=/"' in text
    assert "evil" not in text


async def test_session_before_ends_and_the_new_one_has_another_id(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, provider: ProviderServer
) -> None:
    """Session fixation: the answer comes without the cookie of the session before, which ends when it is asked for."""
    await add_user(harness, "Alice")
    await enter_password(browser)
    name = cookie_name(harness.app_state)
    earlier = next(cookie.value for cookie in browser.cookie_jar if cookie.key == name)
    await sign_in(browser, provider)
    assert next(cookie.value for cookie in browser.cookie_jar if cookie.key == name) != earlier
    async with harness.client("", cookies={name: earlier}) as attacker:
        assert await status(attacker) == 401
    assert [cookie.key for cookie in browser.cookie_jar if cookie.key == COOKIE_NAME] == []


TOKEN_ATTACKS: dict[str, Any] = {
    "issuer": {"iss": "https://evil.example"},
    "issuer with a slash": {"iss": "{url}/"},
    "audience": {"aud": "another client"},
    "no audience": {"aud": None},
    "several audiences without a party": {"aud": [CLIENT_ID, "another client"]},
    "party": {"aud": [CLIENT_ID], "azp": "another client"},
    "nonce": {"nonce": "of another sign-in"},
    "no nonce": {"nonce": None},
    "expired": {"exp": 1_000_000_000},
    "no end": {"exp": None},
    "end as a text": {"exp": "9999999999"},
    "future": {"iat": 9_999_999_999},
    "no subject": {"sub": ""},
    "subject that is no text": {"sub": 7},
    "subject that is too long": {"sub": "x" * 256},
}


@pytest.mark.parametrize("name", TOKEN_ATTACKS)
async def test_token_with_a_wrong_claim_is_refused(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, provider: ProviderServer, name: str
) -> None:
    def change(claims: dict[str, Any]) -> None:
        for claim, value in TOKEN_ATTACKS[name].items():
            claims[claim] = value.format(url=provider.url) if isinstance(value, str) else value

    provider.change_token = change
    assert (await sign_in(browser, provider)).status == 401
    assert await status(browser) == 401
    assert await harness.appdb.users.all() == []


async def test_token_that_is_not_signed_by_the_provider_is_refused(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, provider: ProviderServer
) -> None:
    """By another key, by the client secret, by the public key as a secret, and by none."""
    public_pem = provider.key.as_pem(private=False)
    for header, key in (
        ({"alg": "RS256"}, jwk.RSAKey.generate_key(2048)),
        ({"alg": "HS256"}, CLIENT_SECRET.encode()),
        ({"alg": "HS256"}, public_pem),
        ({"alg": "none"}, b""),
    ):
        provider.header, provider.signing_key = header, key
        answer = await sign_in(browser, provider)
        assert (answer.status, "no valid signature" in await answer.text()) == (401, True), header
    assert await harness.appdb.users.all() == []


async def test_keys_that_were_rotated_are_fetched_again_and_not_at_each_request(
    harness: ConsoleHarness,
    browser: aiohttp.ClientSession,
    provider: ProviderServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(provider_client, "KEYS_PAUSE_MICROSECONDS", 0)
    for _ in range(2):
        assert (await sign_in(browser, provider)).status == 200
    assert provider.requests.count("/keys") == 1
    provider.rotate_keys()
    assert (await sign_in(browser, provider)).status == 200
    assert provider.requests.count("/keys") == 2
    monkeypatch.setattr(provider_client, "KEYS_PAUSE_MICROSECONDS", 10_000_000)
    provider.signing_key = jwk.RSAKey.generate_key(2048)
    for _ in range(3):
        assert (await sign_in(browser, provider)).status == 401
    assert provider.requests.count("/keys") == 2
    assert len(await harness.appdb.users.all()) == 1


async def test_answer_of_another_issuer_is_refused(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, provider: ProviderServer
) -> None:
    """Mixed issuers: in the answer, in the configuration, and where the provider was changed meanwhile."""
    for issuer in ("https://evil.example", "", provider.url + "/"):
        answer = await come_back(browser, provider.authorize(await begin(browser), iss=issuer))
        assert (answer.status, "another identity provider" in await answer.text()) == (401, True)
    assert "/token" not in provider.requests
    async with ProviderServer().listen() as other:
        address = provider.authorize(await begin(browser))
        await put_settings(harness, other)
        answer = await come_back(browser, address)
        assert (answer.status, "changed meanwhile" in await answer.text()) == (401, True)
        other.change_configuration = lambda configuration: configuration.update(issuer=provider.url)
        await put_settings(harness, other, scopes="openid")
        answer = await browser.get("/sign-in/provider", allow_redirects=False)
        assert (answer.status, "another issuer" in await answer.text()) == (401, True)


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_to": "/elsewhere"},
        {"token_endpoint": "ftp://127.0.0.1/"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "http://user@evil.example/"},
        {"jwks_uri": "http://169.254.169.254/latest"},
        {"jwks_uri": 7},
        {"padding": "x" * 300_000},
    ],
)
async def test_configuration_that_leads_elsewhere_is_refused(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, provider: ProviderServer, changes: dict[str, Any]
) -> None:
    """Redirects are not followed, and addresses of the metadata of clouds are never connected to."""
    provider.change_configuration = lambda configuration: configuration.update(changes)
    await put_settings(harness, provider, scopes="openid profile")
    answer = await browser.get("/sign-in/provider", allow_redirects=False)
    if "token_endpoint" in changes:
        answer = await come_back(browser, provider.authorize(answer.headers["Location"]))
    assert answer.status in (401, 503)
    assert 'role="alert"' in await answer.text()


async def test_provider_that_is_away_or_in_a_private_network_is_said(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, provider: ProviderServer
) -> None:
    await harness.appdb.identity_provider.put(
        ProviderSettings(issuer="https://127.0.0.1:1", client_id=CLIENT_ID, allow_private=True)
    )
    assert (await browser.get("/sign-in/provider")).status == 503
    await harness.appdb.identity_provider.put(ProviderSettings(issuer="https://127.0.0.1:1", client_id=CLIENT_ID))
    answer = await browser.get("/sign-in/provider")
    assert (answer.status, "is a private address" in await answer.text()) == (503, True)
    await harness.appdb.identity_provider.remove()
    assert (await browser.get("/sign-in/provider")).status == 404
    assert (await come_back(browser, CALLBACK_PATH)).status == 401
    assert provider.requests == []


async def test_claims_of_the_user_info_are_used_where_the_token_has_none(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, provider: ProviderServer
) -> None:
    subject = provider.claims["sub"]
    provider.claims = {"sub": subject}
    provider.user_info = {"sub": "another", "preferred_username": "Eve", "groups": ["Phone admins"]}
    assert (await sign_in(browser, provider)).status == 401
    provider.user_info = {"sub": subject, "preferred_username": "Ann", "realm_access": {"roles": ["sales"]}}
    await put_settings(harness, provider, role_claim="realm_access.roles")
    assert (await sign_in(browser, provider)).status == 200
    assert [(user.name, user.role) for user in await harness.appdb.users.all()] == [("Ann", "reader")]


async def test_second_factor_is_asked_for_here_unless_that_of_the_provider_counts(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, provider: ProviderServer
) -> None:
    console_url = harness.url
    await harness.appdb.sign_in_settings.put(SignInSettings(factor_roles=("reader",), console_url=console_url))
    await sign_in(browser, provider)
    assert (await browser.get("/calls")).url.path == "/account"
    telephone = await add_telephone(harness, "Ann")
    answer = await sign_in(browser, provider)
    assert 'url=/sign-in/code"' in await answer.text()
    assert await status(browser) == 401
    await browser.post("/sign-in/code", data={"code": telephone.recovery_codes[0]})
    assert await status(browser) == 200
    await put_settings(harness, provider, counts_as_factor=True)
    async with open_browser(harness) as other:
        await sign_in(other, provider)
        assert await status(other) == 200


async def test_disabled_user_is_not_signed_in_by_the_provider(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, provider: ProviderServer
) -> None:
    await sign_in(browser, provider)
    await harness.appdb.users.set_disabled("Ann", is_disabled=True)
    answer = await sign_in(browser, provider)
    assert (answer.status, "disabled" in await answer.text()) == (401, True)


async def test_settings_page_sets_keeps_and_removes_the_provider(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, provider: ProviderServer
) -> None:
    """The secret is never shown, and does not go to another issuer."""
    await harness.appdb.identity_provider.remove()
    await browser.post("/sign-in", data={"token": harness.admin_token})
    form = {"issuer": provider.url, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "allow_private": "yes"}
    form |= {"name_claim": "preferred_username", "role_claim": "groups", "rules": RULES, "adds_users": "yes"}
    for wrong, error in (
        ({"allow_private": ""}, "not the URL of an issuer"),
        ({"issuer": "https://127.0.0.1", "allow_private": ""}, "not a public address"),
        ({"issuer": provider.url + "/other"}, "answered 404"),
        ({"client_id": " "}, "id is missing"),
        ({"rules": "sales"}, "has no role"),
        ({"rules": "sales king"}, "is no role"),
        ({"rules": "sales reader pbxs=nowhere"}, "nowhere"),
        ({"rules": "sales administrator numbers=1"}, "administrator cannot be limited"),
        ({"rules": 'sales "reader'}, "quotation mark"),
        ({"scopes": "profile"}, "lack openid"),
    ):
        text = await (await browser.post("/sign-in-settings/provider", data=form | wrong)).text()
        assert error in text, wrong
        assert CLIENT_SECRET not in text
    text = await (await browser.post("/sign-in-settings/provider", data=form)).text()
    assert "Saved." in text
    assert f"{harness.url}{CALLBACK_PATH}" in text
    settings = harness.appdb.identity_provider
    await browser.post("/sign-in-settings/provider", data=form | {"client_secret": "", "label": "Login"})
    assert await settings.get_client_secret() == CLIENT_SECRET
    assert CLIENT_SECRET not in await (await browser.get("/sign-in-settings/provider")).text()
    assert CLIENT_SECRET not in repr(await harness.appdb.audit.latest(50, None))
    await browser.post("/sign-in-settings/provider", data=form | {"client_secret": "", "client_id": "another"})
    assert await settings.get_client_secret() == ""
    await browser.post("/sign-in-settings/provider/remove")
    assert await settings.get() is None


def test_rules_are_read_in_order_and_the_first_counts() -> None:
    rules = parse_rules(RULES + "\n* reader\n")
    for values, role in (({"support", "sales"}, "reader"), ({"support"}, "annotator"), (set[str](), "reader")):
        rule = find_rule(rules, values)
        assert rule is not None
        assert rule.role == role
    assert find_rule(rules[:3], {"Sales"}) is None
    for text in (
        "x",
        "x reader y",
        "x reader numbers",
        "x reader numbers=1 numbers=2",
        "x reader pbx=1",
        "x reader\n" * 101,
    ):
        with pytest.raises(UsageError):
            parse_rules(text)


async def test_api_sets_reads_and_removes_the_provider(harness: ConsoleHarness, provider: ProviderServer) -> None:
    path = "/api/v1/identity-provider"
    async with harness.client() as program:
        assert (await program.delete(path)).status == 204
        assert (await program.get(path)).status == 404
        settings = {"issuer": provider.url, "client_id": CLIENT_ID, "rules": "* reader", "allow_private": True}
        answer = await program.put(path, json={"settings": settings, "client_secret": CLIENT_SECRET})
        assert answer.status == 200, await answer.text()
        assert (await program.put(path, json={"settings": settings})).status == 200
        assert await harness.appdb.identity_provider.get_client_secret() == CLIENT_SECRET
        text = await (await program.get(path)).text()
        assert CLIENT_SECRET not in text
        assert '"label":"single sign-on"' in text
        assert (await program.put(path, json={"settings": settings | {"allow_private": False}})).status == 400
        assert (await program.put(path, json={"settings": settings | {"rules": "x"}})).status == 400
