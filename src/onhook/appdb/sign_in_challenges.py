"""What a browser must answer within a sign-in: a challenge for a passkey, or the state of a request to another server.

Invariants: the id is in a cookie of the browser, which no other one has; each is used once, for its own purpose,
within minutes, at whichever hub. Every client may begin a sign-in, so their number is bounded.
"""

import secrets

import msgspec

from onhook.appdb.contract import ConstraintViolation, Database, transactional
from onhook.appdb.sessions import ID_BYTES, ID_CHARACTERS
from onhook.appdb.tokens import hash_secret
from onhook.lib.errors import NotAllowed
from onhook.lib.messages import _

CHALLENGES_MAX = 10_000
"""Sign-ins that have begun, of all browsers; the oldest ends."""

CHALLENGE_SECONDS = 300
"""To find a key, or to sign in at another server."""


class SignInChallenge(msgspec.Struct, frozen=True, kw_only=True):
    """A challenge for a user, or for whom its answer names. The content belongs to its purpose."""

    user_name: str
    content: str


class SignInChallenges:
    """Repository of challenges. Times passed in are microseconds since 1970, UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @transactional
    async def add(self, purpose: str, content: str, *, user_name: str = "", now_us: int) -> str:
        """Add a challenge; return its id, for the cookie. Raises `NotAllowed` where the user is removed."""
        challenge_id = secrets.token_urlsafe(ID_BYTES)
        await self._database.write("DELETE FROM sign_in_challenges WHERE expires_at <= ?", (now_us,))
        rows = await self._database.rows(
            "SELECT hash FROM sign_in_challenges ORDER BY expires_at DESC LIMIT 100 OFFSET ?", (CHALLENGES_MAX - 1,)
        )
        await self._database.write_many("DELETE FROM sign_in_challenges WHERE hash = ?", rows)
        try:
            await self._database.write(
                "INSERT INTO sign_in_challenges VALUES (?, ?, ?, ?, ?)",
                (
                    *(hash_secret(challenge_id), purpose, user_name or None, content),
                    now_us + CHALLENGE_SECONDS * 1_000_000,
                ),
            )
        except ConstraintViolation:
            raise NotAllowed(_("this user was removed"), hint=_("ask an administrator")) from None
        return challenge_id

    @transactional
    async def take(self, challenge_id: str, purpose: str, *, now_us: int) -> SignInChallenge | None:
        """Return the challenge with this id and end it; None where there is none, or none for this purpose."""
        if len(challenge_id) != ID_CHARACTERS:
            return None
        values = hash_secret(challenge_id), purpose, now_us
        rows = await self._database.rows(
            "SELECT user_name, content FROM sign_in_challenges WHERE hash = ? AND purpose = ? AND expires_at > ?",
            values,
        )
        ended = await self._database.write("DELETE FROM sign_in_challenges WHERE hash = ?", values[:1])
        return SignInChallenge(user_name=rows[0][0] or "", content=rows[0][1]) if rows and ended else None
