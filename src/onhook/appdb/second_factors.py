"""Second factors of users: an authenticator app (TOTP), passkeys, and recovery codes for a telephone that is lost.

Invariants: each code is accepted once, at whichever hub it is entered: the step of an app only grows, and a recovery
code is deleted. Each try is counted before it is checked, at all hubs together, so that nothing evades the limit of an
account. The secret is stored as it is, because codes are computed from it.
"""

import base64
import secrets
from typing import Literal

from onhook.appdb.contract import Database, Row, transactional
from onhook.appdb.failed_logins import FailedLogins, FailurePolicy, LoginKey
from onhook.appdb.passkeys import Passkeys
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_row
from onhook.appdb.tokens import hash_secret
from onhook.lib.errors import NotAllowed, UsageError
from onhook.lib.messages import _
from onhook.lib.totp import find_step, generate_secret

Factor = Literal["code", "recovery code"]
"""What was entered: the code of an app, or a recovery code."""

RECOVERY_CODES = 10
"""Some years of lost and forgotten telephones."""

RECOVERY_CODE_BYTES = 10
"""80 bits: a plain hash is enough, because they cannot be tried."""

RECOVERY_GROUP = 4
"""Characters between two hyphens."""

CODE_CHARACTERS_MAX = 64
"""A longer text is no code and is not hashed."""

ENROLMENT_MICROSECONDS = 900_000_000
"""A quarter of an hour: to install an app takes minutes."""

TRIES_MAX = 10
"""Wrong codes of an account without a right one. Each has a chance of three in a million, and takes the password."""

TRIES_FORGOTTEN_MICROSECONDS = 900_000_000
"""A quarter of an hour after the last checked try of an account: then its tries begin anew."""

TRIED_ACCOUNTS_MAX = 1_000
"""Accounts with counts: all users."""

CODE_POLICY = FailurePolicy(
    kind="code", window_us=TRIES_FORGOTTEN_MICROSECONDS, rows_max=TRIED_ACCOUNTS_MAX, is_since_last=True
)


class WrongCode(NotAllowed):
    """A code that is wrong, or was used before."""


class TooManyCodes(WrongCode):
    """A code that is not checked, because of too many wrong ones before."""


class SecondFactors:
    """Repository of second factors. `name` is that of a user, as it is stored; times are microseconds since 1970."""

    def __init__(self, database: Database, failed_logins: FailedLogins, passkeys: Passkeys) -> None:
        self._database = database
        self._failed_logins = failed_logins
        self._passkeys = passkeys

    async def has_app(self, name: str) -> bool:
        """Return whether the user has an authenticator app."""
        return bool(await self._database.rows("SELECT 1 FROM totp_factors WHERE user_name = ?", (name,)))

    async def count_recovery_codes(self, name: str) -> int:
        """Return the number of unused recovery codes."""
        rows = await self._database.rows("SELECT count(*) FROM recovery_codes WHERE user_name = ?", (name,))
        return int(rows[0][0])

    @transactional
    async def begin_enrolment(self, name: str, *, now_us: int) -> str:
        """Return a new secret for an app; it counts once the app has given a code. Raises `UsageError`."""
        if await self.has_app(name):
            raise UsageError(_("there is already an authenticator app"), hint=_("remove it first"))
        secret = generate_secret()
        await self._database.write("DELETE FROM totp_enrolments WHERE user_name = ? OR expires_at <= ?", (name, now_us))
        await self._database.write(
            "INSERT INTO totp_enrolments VALUES (?, ?, ?)", (name, secret, now_us + ENROLMENT_MICROSECONDS)
        )
        return secret

    async def get_enrolment(self, name: str, *, now_us: int) -> str:
        """Return the secret of an enrolment that has begun, or an empty text."""
        rows = await self._database.rows(
            "SELECT secret FROM totp_enrolments WHERE user_name = ? AND expires_at > ?", (name, now_us)
        )
        return read_row(rows[0], _decode_secret) if rows else ""

    @transactional
    async def confirm_enrolment(self, name: str, code: str, *, now_us: int) -> list[str]:
        """Add the factor by a code of the app; return the recovery codes, which are stored as hashes. Raises
        `UsageError`, `WrongCode`.
        """
        secret = await self.get_enrolment(name, now_us=now_us)
        if not secret or await self.has_app(name):
            raise UsageError(_("the set-up of the app took too long"), hint=_("begin anew"))
        step = find_step(secret, _plain_code(code), now_us)
        if step is None:
            raise WrongCode(_("this code is wrong"), hint=_("enter the one that the app shows now"))
        await self._database.write("DELETE FROM totp_enrolments WHERE user_name = ?", (name,))
        await self._database.write("INSERT INTO totp_factors VALUES (?, ?, ?, ?)", (name, secret, step, now_us))
        return await self.renew_recovery_codes(name)

    @transactional
    async def renew_recovery_codes(self, name: str) -> list[str]:
        """Return new recovery codes; earlier ones become invalid."""
        codes = [_generate_recovery_code() for _number in range(RECOVERY_CODES)]
        await self._database.write("DELETE FROM recovery_codes WHERE user_name = ?", (name,))
        await self._database.write_many(
            "INSERT INTO recovery_codes (hash, user_name) VALUES (?, ?)",
            [(hash_secret(_plain_code(code)), name) for code in codes],
        )
        return codes

    async def use_code(self, name: str, code: str, *, now_us: int) -> Factor:
        """Use a code up, and return what it was. Raises `WrongCode`, also for one that was used, and `TooManyCodes` for
        an account with too many tries.
        """
        key, code = (name.casefold(), ""), _plain_code(code)
        await self._claim_try(key, now_us)
        async with self._database.transaction():
            factor: Factor | None = None
            if await self._use_app_code(name, code, now_us):
                factor = "code"
            elif await self._use_recovery_code(name, code):
                factor = "recovery code"
            if factor is not None:
                await self._failed_logins.reset(CODE_POLICY, key)
                return factor
        raise WrongCode(_("this code is wrong, or was used before"), hint=_("enter the one that the app shows now"))

    @transactional
    async def remove_app(self, name: str) -> None:
        """Remove the authenticator app of a user."""
        await self._database.write("DELETE FROM totp_factors WHERE user_name = ?", (name,))
        await self._end_without_factor(name)

    @transactional
    async def remove_passkey(self, name: str, passkey_id: int) -> None:
        """Remove a passkey of a user. Raises `NotFound`."""
        await self._passkeys.remove(name, passkey_id)
        await self._end_without_factor(name)

    @transactional
    async def reset(self, name: str) -> None:
        """Remove all factors of a user, whose sessions end, because the one who has them may be a thief."""
        for table in ("totp_factors", "totp_enrolments", "passkeys", "sign_in_challenges"):
            await self._database.write(f"DELETE FROM {table} WHERE user_name = ?", (name,))
        await self._end_without_factor(name)
        await self._database.write("DELETE FROM sessions WHERE user_name = ?", (name,))
        await self._database.write("DELETE FROM pending_sign_ins WHERE user_name = ?", (name,))

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read."""
        rows = await self._database.rows("SELECT user_name, secret FROM totp_factors ORDER BY user_name")
        return list_unreadable("totp_factors", rows, lambda row: _decode_secret(row[1:]))

    async def _end_without_factor(self, name: str) -> None:
        """Remove the recovery codes of a user whose last factor was removed. Open sessions have none any longer, so
        that a role that needs one leads to another.
        """
        if await self.has_app(name) or await self._passkeys.of_user(name):
            return
        await self._database.write("DELETE FROM recovery_codes WHERE user_name = ?", (name,))
        await self._database.write("UPDATE sessions SET factor = '' WHERE user_name = ?", (name,))

    @transactional
    async def _claim_try(self, key: LoginKey, now_us: int) -> None:
        """Count a try as a failure before it is checked; one beyond the limit is neither counted nor checked."""
        count = await self._failed_logins.get(CODE_POLICY, key, now_us)
        if count.failures >= TRIES_MAX:
            raise TooManyCodes(_("too many wrong codes for this account"), hint=_("try again in a quarter of an hour"))
        await self._failed_logins.add(CODE_POLICY, {key: 1}, now_us)

    async def _use_app_code(self, name: str, code: str, now_us: int) -> bool:
        rows = await self._database.rows("SELECT secret FROM totp_factors WHERE user_name = ?", (name,))
        step = find_step(read_row(rows[0], _decode_secret), code, now_us) if rows else None
        if step is None:
            return False
        changed = await self._database.write(
            "UPDATE totp_factors SET last_step = ? WHERE user_name = ? AND last_step < ?", (step, name, step)
        )
        return changed > 0

    async def _use_recovery_code(self, name: str, code: str) -> bool:
        values = (hash_secret(code), name)
        return await self._database.write("DELETE FROM recovery_codes WHERE hash = ? AND user_name = ?", values) > 0


def _decode_secret(row: Row) -> str:
    """Return the secret of an app. Raises `UsageError`."""
    try:
        base64.b32decode(row[0])
    except ValueError:
        raise UsageError(_("the secret of an authenticator app is no base32")) from None
    return str(row[0])


def _generate_recovery_code() -> str:
    """Return a recovery code, with hyphens for reading."""
    text = base64.b32encode(secrets.token_bytes(RECOVERY_CODE_BYTES)).decode().lower()
    return "-".join(text[start : start + RECOVERY_GROUP] for start in range(0, len(text), RECOVERY_GROUP))


def _plain_code(text: str) -> str:
    """Return a code without blanks and hyphens, as people type them."""
    return "".join(text[:CODE_CHARACTERS_MAX].replace("-", " ").split()).lower()
