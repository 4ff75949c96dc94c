"""The key of masked numbers, and masks of users and tokens."""

import asyncio
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.masking import load_masking
from onhook.appdb.scopes import parse_scope
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.number_masking import mask_number
from onhook.lib.errors import UsageError

pytestmark = pytest.mark.usefixtures("each_engine")


async def test_mask_key_is_made_once_and_is_a_secret(tmp_path: Path) -> None:
    async with AppDb(tmp_path / "onhook.db") as first, AppDb(tmp_path / "onhook.db") as second:
        keys = await asyncio.gather(*(appdb.mask_key.get() for appdb in (first, second) for _ in range(3)))
        assert len({*keys}) == 1
        assert len(keys[0]) == 32
        assert keys[0].hex() in await first.secret_texts()
    async with AppDb(tmp_path / "onhook.db") as appdb:
        assert await appdb.mask_key.get() == keys[0]
        assert keys[0].hex() not in str(await appdb.audit.latest(10))


async def test_load_masking_has_key_and_number_plans(tmp_path: Path) -> None:
    async with AppDb(tmp_path / "onhook.db") as appdb:
        assert await load_masking(appdb, "none") is None
        await appdb.add_pbx(name="Office", sn="A", secret="s" * 32, now_us=1)
        masking = await load_masking(appdb, "hash")
        assert masking is not None
        assert masking.plans == {"A": (await appdb.pbx("Office")).number_plan}
        expected = mask_number("+49301234567", "hash", await appdb.mask_key.get())
        assert masking.mask_party("+49301234567", "A", is_outside=False) == expected


async def test_users_and_tokens_have_a_mask_and_administrators_have_none(tmp_path: Path) -> None:
    async with AppDb(tmp_path / "onhook.db") as appdb:
        scope = await parse_scope(appdb, [], [], "last3")
        assert scope == AccessScope(mask="last3")
        await appdb.users.add("alice", "reader", scope, now_us=1)
        text = await appdb.tokens.add("wall", "reader", now_us=1, scope=scope)
        assert (await appdb.users.get("alice")).scope == scope
        token = await appdb.tokens.find(text, now_us=1)
        assert token is not None
        assert token.scope == scope
        assert await parse_scope(appdb, [], []) is None
        with pytest.raises(UsageError, match="administrator cannot be limited"):
            await appdb.users.add("bob", "administrator", scope, now_us=1)
        with pytest.raises(UsageError, match="no mask"):
            await parse_scope(appdb, [], [], "half")
