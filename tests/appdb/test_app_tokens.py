"""Tokens of apps."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from onhook.appdb.app_tokens import TokenGrant
from onhook.appdb.appdb import AppDb
from onhook.appdb.tokens import hash_secret
from onhook.lib.errors import NotFound

pytestmark = pytest.mark.usefixtures("each_engine")

NOW = 1_000


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    async with AppDb(tmp_path / "onhook.db") as opened_appdb:
        yield opened_appdb


async def add_app(appdb: AppDb, name: str) -> tuple[str, bytes]:
    """Return the id of a new app and the hash of its secret."""
    client, secret = await appdb.apps.add(name, now_us=1)
    return client.client_id, hash_secret(secret)


def grant(client_id: str, secret_hash: bytes, text: str, *, until: int = NOW + 10) -> TokenGrant:
    return TokenGrant(
        client_id=client_id,
        secret_hash=secret_hash,
        access_hash=hash_secret(f"access {text}"),
        refresh_hash=hash_secret(f"refresh {text}"),
        access_until=until,
        refresh_until=until + 10,
    )


async def test_app_token_is_found_by_its_hashes_until_it_is_deleted(appdb: AppDb) -> None:
    app, tokens = await add_app(appdb, "CRM"), appdb.app_tokens
    first, second = grant(*app, "1"), grant(*app, "2", until=NOW)
    for item in (first, second):
        await tokens.add(item)
    assert await tokens.all(app[0]) == [first, second]
    assert await tokens.find_by_access_hash(first.access_hash) == first
    assert await tokens.find_by_refresh_hash(second.refresh_hash) == second
    assert await tokens.find_by_access_hash(first.refresh_hash) is None
    assert await tokens.valid_access_hashes(NOW) == {first.access_hash}
    await tokens.use_refresh_token(first)
    assert await tokens.find_by_refresh_hash(first.refresh_hash) is None
    used = msgspec.structs.replace(first, refresh_hash=b"", refresh_until=first.access_until)
    assert await tokens.find_by_access_hash(first.access_hash) == used
    await tokens.delete_expired(NOW + 10)
    assert await tokens.all(app[0]) == []


async def test_app_tokens_end_with_their_app_and_its_secret(appdb: AppDb) -> None:
    (crm, crm_hash), (bi, bi_hash) = await add_app(appdb, "CRM"), await add_app(appdb, "BI")
    await appdb.app_tokens.add(grant(crm, crm_hash, "1"))
    await appdb.app_tokens.add(grant(bi, bi_hash, "2"))
    await appdb.app_tokens.delete([grant(bi, bi_hash, "3")])
    await appdb.apps.renew_secret("CRM")
    await appdb.apps.remove("BI")
    assert await appdb.app_tokens.all(crm) == await appdb.app_tokens.all(bi) == []
    with pytest.raises(NotFound):
        await appdb.app_tokens.add(grant(bi, bi_hash, "4"))


async def test_app_token_of_an_earlier_secret_is_not_found(appdb: AppDb) -> None:
    """One that was added while the secret was renewed."""
    crm, crm_hash = await add_app(appdb, "CRM")
    await appdb.apps.renew_secret("CRM")
    late = grant(crm, crm_hash, "1")
    await appdb.app_tokens.add(late)
    assert await appdb.app_tokens.find_by_access_hash(late.access_hash) is None
    assert await appdb.app_tokens.valid_access_hashes(NOW) == frozenset()
