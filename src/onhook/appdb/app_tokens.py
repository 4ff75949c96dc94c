"""Access and refresh tokens of apps, by the hashes of their texts, valid at every hub and after a restart.

The rules of tokens are those of `pbx_api.tokens`. A removed app, or one with another secret, has none: its rows are
deleted in the same transaction, and a row is found with the secret of its app only.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import msgspec

from onhook.appdb.contract import ConstraintViolation, Database, Row
from onhook.lib.errors import NotFound
from onhook.lib.messages import _


class TokenGrant(msgspec.Struct, frozen=True, kw_only=True):
    """Grant of a pair of tokens. `secret_hash` is the hash of the app's secret at login: renewing the secret revokes
    the grant. `refresh_hash` is empty once the refresh token was used. Times are microseconds since 1970.
    """

    client_id: str
    secret_hash: bytes
    access_hash: bytes
    refresh_hash: bytes
    access_until: int
    refresh_until: int


class AppTokenGrants:
    """See the contract, `pbx_api.tokens.GrantStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def transaction(self) -> AbstractAsyncContextManager[None]:
        return self._database.transaction()

    async def find_by_access_hash(self, access_hash: bytes) -> TokenGrant | None:
        return await self._find("g.access_hash = ?", access_hash)

    async def find_by_refresh_hash(self, refresh_hash: bytes) -> TokenGrant | None:
        return await self._find("g.refresh_hash = ?", refresh_hash)

    async def all(self, client_id: str) -> list[TokenGrant]:
        rows = await self._database.rows(f"{_SELECT} WHERE g.client_id = ? ORDER BY g.grant_id", (client_id,))
        return [_grant(row) for row in rows]

    async def valid_access_hashes(self, now_us: int) -> frozenset[bytes]:
        rows = await self._database.rows(f"{_SELECT} WHERE g.access_until > ?", (now_us,))
        return frozenset(row[2] for row in rows)

    async def add(self, grant: TokenGrant) -> None:
        try:
            await self._database.write(
                "INSERT INTO app_tokens (client_id, secret_hash, access_hash, refresh_hash, access_until,"
                " refresh_until) VALUES (?, ?, ?, ?, ?, ?)",
                msgspec.structs.astuple(grant),
            )
        except ConstraintViolation:
            raise NotFound(_("the app was removed"), location=grant.client_id) from None

    async def use_refresh_token(self, grant: TokenGrant) -> None:
        await self._database.write(
            "UPDATE app_tokens SET refresh_hash = NULL, refresh_until = access_until WHERE access_hash = ?",
            (grant.access_hash,),
        )

    async def delete(self, grants: Sequence[TokenGrant]) -> None:
        await self._database.write_many(
            "DELETE FROM app_tokens WHERE access_hash = ?", [(grant.access_hash,) for grant in grants]
        )

    async def delete_expired(self, now_us: int) -> None:
        await self._database.write("DELETE FROM app_tokens WHERE refresh_until <= ?1 AND access_until <= ?1", (now_us,))

    async def _find(self, condition: str, token_hash: bytes) -> TokenGrant | None:
        rows = await self._database.rows(f"{_SELECT} WHERE {condition}", (token_hash,))
        return _grant(rows[0]) if rows else None


_SELECT = (
    "SELECT g.client_id, g.secret_hash, g.access_hash, g.refresh_hash, g.access_until, g.refresh_until"
    " FROM app_tokens g JOIN apps a ON a.client_id = g.client_id AND a.secret_hash = g.secret_hash"
)


def _grant(row: Row) -> TokenGrant:
    client_id, secret_hash, access_hash, refresh_hash, access_until, refresh_until = row
    return TokenGrant(
        client_id=client_id,
        secret_hash=secret_hash,
        access_hash=access_hash,
        refresh_hash=refresh_hash or b"",
        access_until=access_until,
        refresh_until=refresh_until,
    )
