"""Rules of tokens: how many are valid, for how long, and that they are bounded; at one PBX and at two hubs with one
application database.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.tokens import hash_secret
from onhook.lib.errors import NotFound, Unavailable
from onhook.pbx_api.codes import ApiRequestError
from onhook.pbx_api.tokens import ACCESS_SECONDS, REFRESHABLE_MAX, VALID_TOKENS_MAX, AppTokens, MemoryGrants
from tests.pbx_api.harness import ManualClock


class Installation:
    """Two hubs, or twice the one PBX, with the apps `crm` and `wallboard`."""

    def __init__(self, *appdbs: AppDb) -> None:
        self.clock = ManualClock()
        self.appdbs = appdbs
        self.hubs: list[AppTokens] = []
        self.apps = {"crm": ("crm", b"seal"), "wallboard": ("wallboard", b"seal")}

    def open(self, access_seconds: float = ACCESS_SECONDS) -> tuple[AppTokens, AppTokens]:
        if not self.appdbs:
            tokens = AppTokens(self.clock, MemoryGrants(), access_seconds=access_seconds)
            return tokens, tokens
        first, second = [AppTokens(self.clock, db.app_tokens, access_seconds=access_seconds) for db in self.appdbs]
        return first, second


@pytest.fixture
async def hubs(tmp_path: Path) -> AsyncIterator[Installation]:
    """Yield an installation with two connections to one database."""
    async with AsyncExitStack() as stack:
        appdbs = [await stack.enter_async_context(AppDb(tmp_path / "onhook.db")) for _ in range(2)]
        opened = Installation(*appdbs)
        for name in opened.apps:
            app, secret = await appdbs[0].apps.add(name, now_us=1)
            opened.apps[name] = app.client_id, hash_secret(secret)
        yield opened


@pytest.fixture(params=["memory", "two hubs"])
async def installation(request: pytest.FixtureRequest, hubs: Installation) -> Installation:
    return Installation() if request.param == "memory" else hubs


async def test_tokens_pairs_of_an_application_are_limited(installation: Installation) -> None:
    """However often an app logs in, the oldest pairs are removed."""
    first_hub, second_hub = installation.open(access_seconds=1)
    first = await first_hub.issue(*installation.apps["crm"])
    pairs = [first]
    for _ in range(REFRESHABLE_MAX):
        installation.clock.advance(seconds=1)
        pairs.append(await second_hub.issue(*installation.apps["crm"]))
    assert await second_hub.find_refreshable_grant(first.refresh_token) is None
    has_grant = [await first_hub.find_refreshable_grant(pair.refresh_token) is not None for pair in pairs]
    assert sum(has_grant) == REFRESHABLE_MAX


async def test_tokens_rejected_refresh_keeps_the_refresh_token(installation: Installation) -> None:
    """Eight others valid: 60002, and the same refresh token works when one of them is gone."""
    first_hub, second_hub = installation.open()
    pair = await first_hub.issue(*installation.apps["crm"])
    installation.clock.advance(seconds=ACCESS_SECONDS)
    other_pairs = [await first_hub.issue(*installation.apps["crm"]) for _ in range(VALID_TOKENS_MAX)]
    with pytest.raises(ApiRequestError, match="MAX LIMITATION"):
        await second_hub.refresh(pair.refresh_token)
    await second_hub.revoke(other_pairs[0].access_token)
    renewed = await first_hub.refresh(pair.refresh_token)
    assert await second_hub.find_grant(renewed.access_token) is not None


async def test_tokens_limit_is_per_application(installation: Installation) -> None:
    first_hub, second_hub = installation.open()
    for hub in (first_hub, second_hub) * (VALID_TOKENS_MAX // 2):
        await hub.issue(*installation.apps["crm"])
    for hub in (first_hub, second_hub):
        with pytest.raises(ApiRequestError, match="MAX LIMITATION"):
            await hub.issue(*installation.apps["crm"])
    pair = await first_hub.issue(*installation.apps["wallboard"])
    assert await second_hub.find_grant(pair.access_token) is not None


async def test_tokens_refresh_token_is_valid_once_at_all_hubs(installation: Installation) -> None:
    first_hub, second_hub = installation.open()
    pair = await first_hub.issue(*installation.apps["crm"])
    renewed = await second_hub.refresh(pair.refresh_token)
    for hub in (first_hub, second_hub):
        with pytest.raises(ApiRequestError, match="TOKEN EXPIRED"):
            await hub.refresh(pair.refresh_token)
        for token in (pair.access_token, renewed.access_token):
            assert await hub.find_grant(token) is not None


@pytest.mark.parametrize("text", ["", "x", "x" * 32, "x" * 1_000, "é" * 32])
async def test_tokens_invalid_text_has_no_grant(installation: Installation, text: str) -> None:
    for hub in installation.open():
        assert await hub.find_grant(text) is None
        assert await hub.find_refreshable_grant(text) is None


async def test_tokens_are_valid_after_a_restart(hubs: Installation) -> None:
    pair = await hubs.open()[0].issue(*hubs.apps["crm"])
    restarted, _other = hubs.open()
    grant = await restarted.find_grant(pair.access_token)
    assert grant is not None
    assert restarted.is_valid(grant)
    assert (await restarted.refresh(pair.refresh_token)).access_token


async def test_tokens_revoked_at_one_hub_are_invalid_at_the_other_after_its_next_look(hubs: Installation) -> None:
    """A grant that the other hub has not used is invalid at once; what is issued during a look stays valid."""
    first_hub, second_hub = hubs.open()
    used, unused = [await first_hub.issue(*hubs.apps["crm"]) for _ in range(2)]
    grant = await second_hub.find_grant(used.access_token)
    assert grant is not None
    for pair in (used, unused):
        await first_hub.revoke(pair.access_token)
    assert await second_hub.find_grant(unused.access_token) is None
    issued = await second_hub.issue(*hubs.apps["crm"])
    await second_hub.drop_revoked()
    assert not second_hub.is_valid(grant)
    assert await second_hub.find_grant(used.access_token) is None
    assert await second_hub.find_grant(issued.access_token) is not None


@pytest.mark.parametrize("change", ["renewed", "removed"])
async def test_tokens_of_an_app_with_another_secret_are_deleted(hubs: Installation, change: str) -> None:
    """A login that is under way with the old secret gets no valid token."""
    first_hub, second_hub = hubs.open()
    pairs = {name: await first_hub.issue(*hubs.apps[name]) for name in hubs.apps}
    apps = hubs.appdbs[1].apps
    await (apps.renew_secret("crm") if change == "renewed" else apps.remove("crm"))
    for hub in (first_hub, second_hub):
        await hub.drop_revoked()
        assert await hub.find_grant(pairs["crm"].access_token) is None
        assert await hub.find_refreshable_grant(pairs["crm"].refresh_token) is None
        assert await hub.find_grant(pairs["wallboard"].access_token) is not None
    if change == "removed":
        with pytest.raises(NotFound):
            await first_hub.issue(*hubs.apps["crm"])
    else:
        late = await first_hub.issue(*hubs.apps["crm"])
        assert await second_hub.find_grant(late.access_token) is None


async def test_tokens_rows_that_have_expired_are_deleted(hubs: Installation) -> None:
    first_hub, second_hub = hubs.open()
    await first_hub.issue(*hubs.apps["wallboard"])
    await first_hub.refresh((await first_hub.issue(*hubs.apps["crm"])).refresh_token)
    hubs.clock.advance(hours=25)
    await second_hub.issue(*hubs.apps["crm"])
    assert await hubs.appdbs[0]._database.rows("SELECT count(*) FROM app_tokens") == [(1,)]


async def test_tokens_file_has_only_hashes(hubs: Installation, tmp_path: Path) -> None:
    pair = await hubs.open()[0].issue(*hubs.apps["crm"])
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for token in (pair.access_token, pair.refresh_token):
        assert token.encode() not in content
        assert hash_secret(token) in content


async def test_tokens_are_valid_while_the_database_is_locked(
    hubs: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is issued or revoked: the error says so, and the refresh token works afterwards."""
    first_hub, second_hub = hubs.open()
    pair = await first_hub.issue(*hubs.apps["crm"])
    async with hubs.appdbs[0].transaction():
        assert await second_hub.find_grant(pair.access_token) is not None
        with monkeypatch.context() as impatient:
            impatient.setattr(hubs.appdbs[1]._database, "_call_seconds", 0.05)
            with pytest.raises(Unavailable):
                await second_hub.issue(*hubs.apps["crm"])
            with pytest.raises(Unavailable):
                await second_hub.refresh(pair.refresh_token)
            with pytest.raises(Unavailable):
                await second_hub.revoke(pair.access_token)
        assert await second_hub.find_grant(pair.access_token) is not None
    assert (await second_hub.refresh(pair.refresh_token)).access_token
