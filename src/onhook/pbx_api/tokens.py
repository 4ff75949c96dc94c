"""Access and refresh tokens of apps: rules, whatever keeps them (yeastar-p-series.md 6).

Invariants: each rule is applied in one transaction, so that it holds for all hubs. An app has at most eight valid
access tokens. A new login revokes no older token. A refreshed access token stays valid until it expires, because a
socket may use it; it is revoked only when all eight are in use. A token that was revoked elsewhere is invalid here
after the next `drop_revoked`.
"""

import secrets
import string
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import msgspec

from onhook.appdb.app_tokens import TokenGrant
from onhook.appdb.tokens import hash_secret
from onhook.lib.clock import Clock
from onhook.pbx_api.codes import MAX_LIMITATION_EXCEEDED, TOKEN_EXPIRED, ApiRequestError

ACCESS_SECONDS = 1_800
REFRESH_SECONDS = 86_400

VALID_TOKENS_MAX = 8
"""Valid access tokens of one app; the ninth is answered 60002."""

REFRESHABLE_MAX = 400
"""Pairs of one app that can still be refreshed: eight every half hour for a day are 384."""

TOKEN_CHARACTERS = 32
"""Length of the original's tokens, of letters and digits: some 190 random bits. Another text is not looked up."""

_ALPHABET = string.ascii_letters + string.digits
_MICROSECONDS = 1_000_000


class TokenPair(msgspec.Struct, frozen=True):
    """Texts of a new pair. They are not stored."""

    access_token: str
    refresh_token: str


class GrantStore(Protocol):
    """Storage of grants. Each method may raise `Unavailable`."""

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """Run the block as one transaction."""
        ...

    async def find_by_access_hash(self, access_hash: bytes) -> TokenGrant | None:
        """Return the grant of an access token, valid or not, or None."""
        ...

    async def find_by_refresh_hash(self, refresh_hash: bytes) -> TokenGrant | None:
        """Return the grant of a refresh token that was not used, or None."""
        ...

    async def all(self, client_id: str) -> Sequence[TokenGrant]:
        """Return the grants of an app, the oldest first."""
        ...

    async def valid_access_hashes(self, now_us: int) -> frozenset[bytes]:
        """Return the hashes of all valid access tokens."""
        ...

    async def add(self, grant: TokenGrant) -> None:
        """Add a grant. Raises `NotFound` where its app was removed."""
        ...

    async def use_refresh_token(self, grant: TokenGrant) -> None:
        """Make the refresh token of a grant invalid."""
        ...

    async def delete(self, grants: Sequence[TokenGrant]) -> None:
        """Delete grants."""
        ...

    async def delete_expired(self, now_us: int) -> None:
        """Delete the grants of which neither token is valid."""
        ...


class MemoryGrants:
    """See the contract, `GrantStore`: those of a simulated PBX, which ends with its process."""

    def __init__(self) -> None:
        self._grants: dict[bytes, TokenGrant] = {}

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield  # no method waits for anything

    async def find_by_access_hash(self, access_hash: bytes) -> TokenGrant | None:
        return self._grants.get(access_hash)

    async def find_by_refresh_hash(self, refresh_hash: bytes) -> TokenGrant | None:
        return next((grant for grant in self._grants.values() if grant.refresh_hash == refresh_hash), None)

    async def all(self, client_id: str) -> Sequence[TokenGrant]:
        return [grant for grant in self._grants.values() if grant.client_id == client_id]

    async def valid_access_hashes(self, now_us: int) -> frozenset[bytes]:
        return frozenset(grant.access_hash for grant in self._grants.values() if grant.access_until > now_us)

    async def add(self, grant: TokenGrant) -> None:
        self._grants[grant.access_hash] = grant

    async def use_refresh_token(self, grant: TokenGrant) -> None:
        used = msgspec.structs.replace(grant, refresh_hash=b"", refresh_until=grant.access_until)
        self._grants[grant.access_hash] = used

    async def delete(self, grants: Sequence[TokenGrant]) -> None:
        for grant in grants:
            self._grants.pop(grant.access_hash, None)

    async def delete_expired(self, now_us: int) -> None:
        await self.delete(
            [grant for grant in self._grants.values() if grant.refresh_until <= now_us and grant.access_until <= now_us]
        )


class AppTokens:
    """All pairs. An access token is valid for `access_seconds`."""

    def __init__(self, clock: Clock, grants: GrantStore, *, access_seconds: float = ACCESS_SECONDS) -> None:
        self._clock = clock
        self._grants = grants
        self._access_seconds = access_seconds
        self._valid_grants: dict[bytes, TokenGrant] = {}
        """Grants that are valid here, by access token: a request with one of them reads none."""
        self._revocation_count = 0
        """Changes of what is valid: what was read before one may be outdated."""

    async def issue(self, client_id: str, secret_hash: bytes) -> TokenPair:
        """Return a new pair. Raises `ApiRequestError` with 60002 when eight are valid already."""
        async with self._grants.transaction():
            await self._grants.delete_expired(self._clock.microseconds())
            grants = await self._grants.all(client_id)
            if len(self._valid(grants)) >= VALID_TOKENS_MAX:
                raise ApiRequestError(MAX_LIMITATION_EXCEEDED)
            pair, grant = await self._create_pair(client_id, secret_hash, grants)
        self._valid_grants[grant.access_hash] = grant
        return pair

    async def refresh(self, text: str) -> TokenPair:
        """Return a new pair for a refresh token, which becomes invalid. Raises `ApiRequestError` with 10004 or
        60002.
        """
        async with self._grants.transaction():
            used = await self.find_refreshable_grant(text)
            if used is None:
                raise ApiRequestError(TOKEN_EXPIRED)
            grants = await self._grants.all(used.client_id)
            valid = self._valid(grants)
            if len([grant for grant in valid if grant != used]) >= VALID_TOKENS_MAX:
                raise ApiRequestError(MAX_LIMITATION_EXCEEDED)
            is_revoked = len(valid) >= VALID_TOKENS_MAX
            if is_revoked:
                await self._grants.delete([used])
            else:
                await self._grants.use_refresh_token(used)
            pair, grant = await self._create_pair(used.client_id, used.secret_hash, grants)
        if is_revoked:
            self._valid_grants.pop(used.access_hash, None)
        self._valid_grants[grant.access_hash] = grant
        return pair

    async def revoke(self, text: str) -> None:
        """Revoke a pair by its access token."""
        grant = await self.find_grant(text)
        if grant is not None:
            await self._grants.delete([grant])
            self._revocation_count += 1
            self._valid_grants.pop(grant.access_hash, None)

    async def find_grant(self, text: str) -> TokenGrant | None:
        """Return the grant of an access token, or None when the token is invalid."""
        if len(text) != TOKEN_CHARACTERS:
            return None
        access_hash = hash_secret(text)
        grant = self._valid_grants.get(access_hash) or await self._read_grant(access_hash)
        if grant is None or grant.access_until <= self._clock.microseconds():
            self._valid_grants.pop(access_hash, None)
            return None
        self._valid_grants[access_hash] = grant
        return grant

    async def find_refreshable_grant(self, text: str) -> TokenGrant | None:
        """Return the grant of a refresh token, or None when the token is invalid."""
        if len(text) != TOKEN_CHARACTERS:
            return None
        grant = await self._grants.find_by_refresh_hash(hash_secret(text))
        return grant if grant is not None and grant.refresh_until > self._clock.microseconds() else None

    def is_valid(self, grant: TokenGrant) -> bool:
        """Return whether the access token of a grant that was found here is still valid."""
        return grant.access_hash in self._valid_grants and grant.access_until > self._clock.microseconds()

    async def drop_revoked(self) -> None:
        """Drop the grants that were revoked by another process, or with their app or its secret."""
        self._revocation_count += 1
        # A grant that is added meanwhile may be missing in what is read.
        known_hashes = set(self._valid_grants)
        for access_hash in known_hashes - await self._grants.valid_access_hashes(self._clock.microseconds()):
            self._valid_grants.pop(access_hash, None)

    async def _read_grant(self, access_hash: bytes) -> TokenGrant | None:
        while True:
            revocation_count = self._revocation_count
            grant = await self._grants.find_by_access_hash(access_hash)
            if revocation_count == self._revocation_count:
                return grant

    def _valid(self, grants: Sequence[TokenGrant]) -> list[TokenGrant]:
        now_us = self._clock.microseconds()
        return [grant for grant in grants if grant.access_until > now_us]

    async def _create_pair(
        self, client_id: str, secret_hash: bytes, grants: Sequence[TokenGrant]
    ) -> tuple[TokenPair, TokenGrant]:
        """Add a pair to the grants of an app; delete the oldest ones beyond the limit."""
        pair, now = TokenPair(_generate_token(), _generate_token()), self._clock.microseconds()
        grant = TokenGrant(
            client_id=client_id,
            secret_hash=secret_hash,
            access_hash=hash_secret(pair.access_token),
            refresh_hash=hash_secret(pair.refresh_token),
            access_until=now + round(self._access_seconds * _MICROSECONDS),
            refresh_until=now + REFRESH_SECONDS * _MICROSECONDS,
        )
        await self._grants.delete(grants[: max(0, len(grants) + 1 - REFRESHABLE_MAX)])
        await self._grants.add(grant)
        return pair, grant


def _generate_token() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(TOKEN_CHARACTERS))
