"""Disabled users and tokens with an end: the migration."""

import sqlite3
from pathlib import Path

from onhook.appdb.appdb import AppDb
from onhook.appdb.sqlite_file import APPLICATION_ID
from onhook.appdb.tokens import hash_secret
from tests.migrations import create_old_file, insert_row

T = 1_777_287_876_000_000


async def test_migration_users_are_enabled_and_tokens_have_no_end(tmp_path: Path) -> None:
    path = tmp_path / "onhook.db"
    create_old_file(path, "onhook.appdb", 29, APPLICATION_ID, {}, engine="sqlite")
    connection = sqlite3.connect(path)
    user = {"name": "Alice", "role": "reader", "scope": None, "password": None, "password_version": 1, "created_at": T}
    insert_row(connection, "users", user)
    insert_row(connection, "tokens", {"name": "wall", "hash": hash_secret("x"), "role": "reader", "created_at": T})
    connection.commit()
    connection.close()
    async with AppDb(path) as appdb:
        assert [user.is_disabled for user in await appdb.users.all()] == [False]
        token = await appdb.tokens.find("x", now_us=2 * T)
        assert token is not None
        assert token.expires_at is None
