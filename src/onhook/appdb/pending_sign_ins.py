"""Sign-ins whose first step succeeded and whose second factor is missing.

Invariants: it is none of a session: it grants nothing but to enter a second factor, in the browser that has its id, for
some minutes. It ends with the password of its user, and with the sign-in.
"""

import secrets

import msgspec

from onhook.appdb.contract import ConstraintViolation, Database, transactional
from onhook.appdb.sessions import ID_BYTES, ID_CHARACTERS
from onhook.appdb.tokens import hash_secret
from onhook.lib.errors import NotAllowed
from onhook.lib.messages import _

PENDING_SECONDS = 600
"""To look for a telephone."""

PENDING_OF_USER_MAX = 5
"""Of one user, who signs in at one or two places at a time; the oldest ends."""


class PendingSignIn(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in that waits: the user, the credential of the first step, and the page after it."""

    user_name: str
    credential: str
    next_path: str


class PendingSignIns:
    """Repository of sign-ins that wait. Times passed in are microseconds since 1970, UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @transactional
    async def add(self, name: str, password_version: int, *, credential: str, next_path: str, now_us: int) -> str:
        """Add one; return its id, for the cookie. Raises `NotAllowed` where the user is removed."""
        pending_id = secrets.token_urlsafe(ID_BYTES)
        await self._database.write("DELETE FROM pending_sign_ins WHERE expires_at <= ?", (now_us,))
        rows = await self._database.rows(
            "SELECT hash FROM pending_sign_ins WHERE user_name = ? ORDER BY expires_at DESC", (name,)
        )
        await self._database.write_many("DELETE FROM pending_sign_ins WHERE hash = ?", rows[PENDING_OF_USER_MAX - 1 :])
        try:
            await self._database.write(
                "INSERT INTO pending_sign_ins VALUES (?, ?, ?, ?, ?, ?)",
                (
                    *(hash_secret(pending_id), name, password_version, credential, next_path),
                    now_us + PENDING_SECONDS * 1_000_000,
                ),
            )
        except ConstraintViolation:
            raise NotAllowed(_("this user was removed"), hint=_("ask an administrator")) from None
        return pending_id

    async def find(self, pending_id: str, now_us: int) -> PendingSignIn | None:
        """Return the one with this id, of a user who has the same password still and is not disabled, or None."""
        if len(pending_id) != ID_CHARACTERS:
            return None
        rows = await self._database.rows(
            "SELECT u.name, p.credential, p.next_path FROM pending_sign_ins p JOIN users u ON u.name = p.user_name"
            " AND u.password_version = p.password_version AND u.is_disabled = 0 WHERE p.hash = ? AND p.expires_at > ?",
            (hash_secret(pending_id), now_us),
        )
        if not rows:
            return None
        user_name, credential, next_path = rows[0]
        return PendingSignIn(user_name=user_name, credential=credential, next_path=next_path)

    async def end(self, pending_id: str) -> bool:
        """End the one with this id; return whether there was one."""
        return await self._database.write("DELETE FROM pending_sign_ins WHERE hash = ?", (hash_secret(pending_id),)) > 0
