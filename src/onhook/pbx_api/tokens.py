"""Access and refresh tokens in memory. A restart revokes all of them, as a PBX's reboot does (yeastar-p-series.md 6).

Invariants: an app has at most eight valid access tokens. A new login revokes no older token. A refreshed access token
stays valid until it expires, because a socket may use it; it is revoked only when all eight are in use.
"""

import secrets
import string
from collections import OrderedDict
from collections.abc import Callable

import msgspec

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
"""Length of the original's tokens, of letters and digits: some 190 random bits."""

TOKEN_CHARACTERS_MAX = 200
"""A longer text cannot be a token and is not hashed."""

_ALPHABET = string.ascii_letters + string.digits
_MICROSECONDS = 1_000_000


class TokenGrant(msgspec.Struct, frozen=True, kw_only=True):
    """Grant of a pair of tokens. `secret_hash` is the hash of the app's secret at login: renewing the secret revokes
    the grant.
    """

    client_id: str
    secret_hash: bytes
    access_hash: bytes
    refresh_hash: bytes
    access_until: int
    refresh_until: int


class TokenPair(msgspec.Struct, frozen=True):
    """Texts of a new pair. They are not stored."""

    access_token: str
    refresh_token: str


class AppTokens:
    """All valid pairs, by the hashes of their texts. An access token is valid for `access_seconds`."""

    def __init__(self, clock: Clock, *, access_seconds: float = ACCESS_SECONDS) -> None:
        self._clock = clock
        self._access_seconds = access_seconds
        self._by_access: dict[bytes, TokenGrant] = {}
        self._by_refresh: dict[bytes, TokenGrant] = {}
        self._by_client_id: dict[str, OrderedDict[bytes, TokenGrant]] = {}

    def issue(self, client_id: str, secret_hash: bytes) -> TokenPair:
        """Return a new pair. Raises `ApiRequestError` with 60002 when eight are valid already."""
        self._delete_expired(client_id)
        if self.count_valid(client_id) >= VALID_TOKENS_MAX:
            raise ApiRequestError(MAX_LIMITATION_EXCEEDED)
        return self._create_pair(client_id, secret_hash)

    def refresh(self, text: str) -> TokenPair:
        """Return a new pair for a refresh token, which becomes invalid. Raises `ApiRequestError` with 10004 or
        60002.
        """
        grant = self.find_refreshable_grant(text)
        if grant is None:
            raise ApiRequestError(TOKEN_EXPIRED)
        self._delete_expired(grant.client_id)
        if self.count_valid(grant.client_id) - self.is_valid(grant) >= VALID_TOKENS_MAX:
            raise ApiRequestError(MAX_LIMITATION_EXCEEDED)
        if self.count_valid(grant.client_id) >= VALID_TOKENS_MAX:
            self._revoke_grant(grant)
        self._by_refresh.pop(grant.refresh_hash, None)
        return self._create_pair(grant.client_id, grant.secret_hash)

    def revoke(self, text: str) -> None:
        """Revoke a pair by its access token."""
        grant = self.find_grant(text)
        if grant is not None:
            self._revoke_grant(grant)

    def find_grant(self, text: str) -> TokenGrant | None:
        """Return the grant of an access token, or None when the token is invalid."""
        if not text or len(text) > TOKEN_CHARACTERS_MAX:
            return None
        grant = self._by_access.get(hash_secret(text))
        return grant if grant is not None and self.is_valid(grant) else None

    def find_refreshable_grant(self, text: str) -> TokenGrant | None:
        """Return the grant of a refresh token, or None when the token is invalid."""
        if not text or len(text) > TOKEN_CHARACTERS_MAX:
            return None
        grant = self._by_refresh.get(hash_secret(text))
        return grant if grant is not None and grant.refresh_until > self._clock.microseconds() else None

    def is_valid(self, grant: TokenGrant) -> bool:
        """Return whether the access token of the grant is still valid."""
        return grant.access_hash in self._by_access and grant.access_until > self._clock.microseconds()

    def count_valid(self, client_id: str) -> int:
        """Return the number of valid access tokens of an app."""
        return sum(self.is_valid(grant) for grant in self._by_client_id.get(client_id, {}).values())

    def grants(self) -> list[TokenGrant]:
        """Return all current pairs."""
        return [grant for grants in self._by_client_id.values() for grant in grants.values()]

    def revoke_where(self, predicate: Callable[[TokenGrant], bool]) -> None:
        """Revoke the pairs for which the predicate is true."""
        for grant in self.grants():
            if predicate(grant):
                self._revoke_grant(grant)

    def _create_pair(self, client_id: str, secret_hash: bytes) -> TokenPair:
        pair, now = TokenPair(_generate_token(), _generate_token()), self._clock.microseconds()
        grant = TokenGrant(
            client_id=client_id,
            secret_hash=secret_hash,
            access_hash=hash_secret(pair.access_token),
            refresh_hash=hash_secret(pair.refresh_token),
            access_until=now + round(self._access_seconds * _MICROSECONDS),
            refresh_until=now + REFRESH_SECONDS * _MICROSECONDS,
        )
        self._by_access[grant.access_hash] = self._by_refresh[grant.refresh_hash] = grant
        grants = self._by_client_id.setdefault(client_id, OrderedDict())
        grants[grant.access_hash] = grant
        while len(grants) > REFRESHABLE_MAX:
            self._revoke_grant(next(iter(grants.values())))
        return pair

    def _delete_expired(self, client_id: str) -> None:
        """Remove expired access tokens, and pairs that cannot be refreshed."""
        now = self._clock.microseconds()
        for grant in list(self._by_client_id.get(client_id, {}).values()):
            if grant.access_until <= now:
                self._by_access.pop(grant.access_hash, None)
                if grant.refresh_until <= now or grant.refresh_hash not in self._by_refresh:
                    self._revoke_grant(grant)

    def _revoke_grant(self, grant: TokenGrant) -> None:
        self._by_access.pop(grant.access_hash, None)
        self._by_refresh.pop(grant.refresh_hash, None)
        grants = self._by_client_id[grant.client_id]
        grants.pop(grant.access_hash, None)
        if not grants:
            del self._by_client_id[grant.client_id]


def _generate_token() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(TOKEN_CHARACTERS))
