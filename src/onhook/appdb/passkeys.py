"""Passkeys of users (WebAuthn): public keys of authenticators, which prove a sign-in with a signature.

Invariants: it has no secret. All passkeys of a user have one handle, by which an authenticator replaces an earlier one.
"""

import secrets
from datetime import datetime

import msgspec

from onhook.appdb.contract import ConstraintViolation, Database, Row, transactional
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_row, read_rows
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime

PASSKEYS_MAX = 20
"""Of one user: each telephone, computer and key."""

NAME_CHARACTERS_MAX = 60
HANDLE_BYTES = 32
"""WebAuthn demands random bytes that say nothing of the user, 64 at most."""


class Passkey(msgspec.Struct, frozen=True, kw_only=True):
    """A passkey. `sign_count` is the number of its last use as the authenticator counts, or always 0."""

    passkey_id: int
    user_name: str
    name: str
    credential_id: bytes
    user_handle: bytes
    public_key: bytes
    sign_count: int
    rp_id: str
    created_at: datetime
    last_used_at: datetime | None


class Passkeys:
    """Repository of passkeys. Times passed in are microseconds since 1970, UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_user(self, user_name: str) -> list[Passkey]:
        """Return the passkeys of a user, in the order in which they were added."""
        rows = await self._database.rows(f"{_SELECT} WHERE user_name = ? ORDER BY passkey_id", (user_name,))
        return read_rows(rows, _passkey)

    async def find(self, credential_id: bytes) -> Passkey | None:
        """Return the passkey with this id of a user who is not disabled, or None."""
        rows = await self._database.rows(
            f"{_SELECT} WHERE credential_id = ? AND user_name IN (SELECT name FROM users WHERE is_disabled = 0)",
            (credential_id,),
        )
        return read_row(rows[0], _passkey) if rows else None

    async def get_handle(self, user_name: str) -> bytes:
        """Return the handle of a user; a new one where there is no passkey yet."""
        passkeys = await self.of_user(user_name)
        return passkeys[0].user_handle if passkeys else secrets.token_bytes(HANDLE_BYTES)

    @transactional
    async def add(
        self,
        user_name: str,
        name: str,
        *,
        credential_id: bytes,
        user_handle: bytes,
        public_key: bytes,
        sign_count: int,
        rp_id: str,
        now_us: int,
    ) -> None:
        """Add a passkey. Raises `UsageError`."""
        name = _validate_name(name)
        if len(await self.of_user(user_name)) >= PASSKEYS_MAX:
            raise UsageError(
                _("there are already {maximum} passkeys", maximum=PASSKEYS_MAX), hint=_("remove those of old devices")
            )
        try:
            await self._database.write(
                "INSERT INTO passkeys (credential_id, user_name, name, user_handle, public_key, sign_count, rp_id,"
                " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (credential_id, user_name, name, user_handle, public_key, sign_count, rp_id, now_us),
            )
        except ConstraintViolation:
            raise UsageError(_("this passkey was added already"), hint=_("choose another device or key")) from None

    async def record_use(self, passkey_id: int, sign_count: int, *, now_us: int) -> None:
        """Store the number and the time of a use."""
        await self._database.write(
            "UPDATE passkeys SET sign_count = ?, last_used_at = ? WHERE passkey_id = ?",
            (sign_count, now_us, passkey_id),
        )

    async def remove(self, user_name: str, passkey_id: int) -> None:
        """Remove a passkey of this user. Raises `NotFound`."""
        values = passkey_id, user_name
        if not await self._database.write("DELETE FROM passkeys WHERE passkey_id = ? AND user_name = ?", values):
            raise NotFound(_("there is no such passkey"), hint=_("the page of the account lists them"))

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read."""
        rows = await self._database.rows(f"{_SELECT} ORDER BY passkey_id")
        return list_unreadable("passkeys", rows, _passkey)


_SELECT = (
    "SELECT user_name, passkey_id, name, credential_id, user_handle, public_key, sign_count, rp_id, created_at,"
    " last_used_at FROM passkeys"
)


def _passkey(row: Row) -> Passkey:
    user_name, passkey_id, name, credential_id, user_handle, public_key, sign_count, rp_id, created_at, used_at = row
    return Passkey(
        passkey_id=passkey_id,
        user_name=user_name,
        name=name,
        credential_id=bytes(credential_id),
        user_handle=bytes(user_handle),
        public_key=bytes(public_key),
        sign_count=sign_count,
        rp_id=rp_id,
        created_at=to_datetime(created_at),
        last_used_at=None if used_at is None else to_datetime(used_at),
    )


def _validate_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > NAME_CHARACTERS_MAX or not name.isprintable():
        raise UsageError(
            _("a passkey has a name of 1 to {maximum} characters", maximum=NAME_CHARACTERS_MAX),
            hint=_("name it as the device in which it is"),
        )
    return name
