"""Sessions of browsers, valid at every hub and after a restart, by the hash of their id.

A session belongs to the token it began with, or to a user and a version of the password. Invariants: it ends with that
token, user or password, in the same transaction, and so everywhere at once; a look costs one read; its use is stored
every few minutes only.
"""

import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

import msgspec

from onhook.appdb.contract import ConstraintViolation, Database, Row, transactional
from onhook.appdb.permissions import Permission, decode_permissions
from onhook.appdb.stored_json import read_rows
from onhook.appdb.tokens import LAST_USED_SECONDS, Role, hash_secret, validate_role
from onhook.appdb.users import decode_scope
from onhook.cdr.access_scope import AccessScope
from onhook.lib.errors import NotAllowed, Unavailable
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime, to_microseconds

SESSIONS_MAX = 1_000
"""Signed-in browsers; the one that was not used for longest is signed out."""

SESSIONS_OF_OWNER_MAX = 20
"""Signed-in browsers of one user or token, who can sign no other one out."""

SESSION_SECONDS = 7 * 86_400
"""Long enough for a working week, short enough for a lost telephone."""

LAST_USED_STEP_MICROSECONDS = 300_000_000
"""The last use is stored every five minutes: a page that polls must not write each time."""

ID_BYTES = 32
ID_CHARACTERS = 43
"""Of an id, in base64. Another text is no id, and is not looked up."""

_MICROSECONDS = 1_000_000


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A session with the role, scope and permissions that its user or token has now. `number` is for lists: it grants
    no access. One of `user_name` and `token_name` is empty. `factor` is the second factor with which it began, or
    empty; with `needs_factor` the user has a role that needs one, and the session is for adding it alone.
    """

    number: int
    user_name: str
    token_name: str
    role: Role
    scope: AccessScope | None
    address: str
    started_at: datetime
    expires_at: datetime
    last_used_at: datetime
    permissions: tuple[Permission, ...] = ()
    factor: str = ""
    needs_factor: bool = False


class Sessions:
    """Repository of sessions. Times passed in are microseconds since 1970, UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def start_for_user(
        self, name: str, password_version: int, *, address: str, now_us: int, factor: str = ""
    ) -> str:
        """Begin a session of a user; return its id, for the cookie. Raises `NotAllowed` where the user is removed."""
        owner = (name, password_version, None)
        return await self._start("user_name", owner, address=address, now_us=now_us, factor=factor)

    async def start_for_token(self, token_text: str, *, address: str, now_us: int) -> str:
        """Begin a session of a token; return its id, for the cookie. Raises `NotAllowed` where the token is removed."""
        return await self._start("token_hash", (None, None, hash_secret(token_text)), address=address, now_us=now_us)

    async def find(self, session_ids: Sequence[str], now_us: int, *, is_use: bool = False) -> Session | None:
        """Return the first session with one of these ids, or None; with `is_use` the time is stored."""
        hashes = [hash_secret(session_id) for session_id in session_ids if len(session_id) == ID_CHARACTERS]
        if not hashes:
            return None
        rows = await self._database.rows(
            f"SELECT s.hash, {_COLUMNS} {_FROM} AND s.hash IN ({', '.join('?' * len(hashes))})",
            (now_us, now_us, *hashes),
        )
        rows.sort(key=lambda row: hashes.index(row[0]))
        # A row that cannot be read is no session: its browser signs in again.
        session = next(iter(read_rows([row[1:] for row in rows], _session)), None)
        if session is None:
            return None
        if is_use and now_us - to_microseconds(session.last_used_at) >= LAST_USED_STEP_MICROSECONDS:
            with suppress(Unavailable):  # with a lock or a full disk a signed-in browser still works
                await self._database.write(
                    "UPDATE sessions SET last_used_at = ? WHERE session_number = ?",
                    (now_us, session.number),
                    seconds=LAST_USED_SECONDS,
                )
        return session

    async def all(self, now_us: int) -> list[Session]:
        """Return the open sessions, the latest first."""
        rows = await self._database.rows(f"SELECT {_COLUMNS} {_FROM} ORDER BY s.session_number DESC", (now_us, now_us))
        return read_rows(rows, _session)

    async def same_owner(self, session: Session, now_us: int) -> list[Session]:
        """Return the open sessions of the same user or token, the latest first."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} {_FROM} AND (u.name = ? OR t.name = ?) ORDER BY s.session_number DESC",
            (now_us, now_us, session.user_name, session.token_name),
        )
        return read_rows(rows, _session)

    async def end(self, session_ids: Sequence[str]) -> None:
        """End the sessions with these ids, if there are any."""
        await self._database.write_many(
            "DELETE FROM sessions WHERE hash = ?", [(hash_secret(session_id),) for session_id in session_ids]
        )

    async def end_of_user(self, user_name: str) -> None:
        """End all sessions of a user."""
        await self._database.write("DELETE FROM sessions WHERE user_name = ?", (user_name,))

    async def end_others(self, session: Session) -> None:
        """End the other sessions of the same user."""
        values = session.user_name, session.number
        await self._database.write("DELETE FROM sessions WHERE user_name = ? AND session_number <> ?", values)

    async def set_factor(self, number: int, factor: str) -> None:
        """Set the second factor of a session, whose user has just added it."""
        await self._database.write("UPDATE sessions SET factor = ? WHERE session_number = ?", (factor, number))

    async def end_by_number(self, number: int) -> None:
        """End the session with this number, if there is one."""
        await self._database.write("DELETE FROM sessions WHERE session_number = ?", (number,))

    @transactional
    async def _start(
        self, owner_column: str, owner: tuple[object, ...], *, address: str, now_us: int, factor: str = ""
    ) -> str:
        session_id = secrets.token_urlsafe(ID_BYTES)
        await self._database.write("DELETE FROM sessions WHERE expires_at <= ?", (now_us,))
        owner_value = next(value for value in owner if value is not None)
        await self._end_unused(f"WHERE {owner_column} = ?", (owner_value,), keep=SESSIONS_OF_OWNER_MAX - 1)
        await self._end_unused("", (), keep=SESSIONS_MAX - 1)
        try:
            await self._database.write(
                "INSERT INTO sessions (hash, user_name, password_version, token_hash, address, started_at, expires_at,"
                " last_used_at, factor) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(hash_secret(session_id), *owner, address, now_us),
                    *(now_us + SESSION_SECONDS * _MICROSECONDS, now_us, factor),
                ),
            )
        except ConstraintViolation:
            raise NotAllowed(_("this user or token was removed"), hint=_("ask an administrator")) from None
        return session_id

    async def _end_unused(self, where: str, values: tuple[object, ...], *, keep: int) -> None:
        """End the sessions that were not used for longest, beyond some."""
        rows = await self._database.rows(
            f"SELECT session_number FROM sessions {where} ORDER BY last_used_at DESC, session_number DESC", values
        )
        await self._database.write_many("DELETE FROM sessions WHERE session_number = ?", rows[keep:])


_COLUMNS = (
    "s.session_number, s.user_name, t.name, coalesce(u.role, t.role), coalesce(u.scope, t.scope), s.address,"
    " s.started_at, s.expires_at, s.last_used_at, coalesce(u.permissions, ''), s.factor, s.factor = '' AND EXISTS"
    " (SELECT 1 FROM sign_in_settings g WHERE ',' || g.factor_roles || ',' LIKE '%,' || u.role || ',%')"
)
_FROM = (
    "FROM sessions s LEFT JOIN users u ON u.name = s.user_name AND u.password_version = s.password_version"
    " AND u.is_disabled = 0 LEFT JOIN tokens t ON t.hash = s.token_hash AND (t.expires_at IS NULL OR t.expires_at > ?)"
    " WHERE s.expires_at > ? AND (u.name IS NOT NULL OR t.name IS NOT NULL)"
)


def _session(row: Row) -> Session:
    number, user_name, token_name, role_name, scope, address, started_at, expires_at, last_used_at, *columns = row
    permissions, factor, needs_factor = columns
    role = validate_role(role_name)
    return Session(
        number=number,
        user_name=user_name or "",
        token_name=token_name or "",
        role=role,
        scope=decode_scope(scope),
        address=address,
        started_at=to_datetime(started_at),
        expires_at=to_datetime(expires_at),
        last_used_at=to_datetime(last_used_at),
        permissions=decode_permissions(permissions, role),
        factor=factor,
        needs_factor=bool(needs_factor),
    )
