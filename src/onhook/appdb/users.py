"""Users who sign in: names, roles, scopes, passwords and invitations.

Invariants: a password and an invitation are stored as hashes; an invitation is valid once, for some days.
"""

import asyncio
from collections.abc import Iterable
from datetime import datetime

import msgspec

from onhook.appdb.contract import ConstraintViolation, Database, Row, transactional
from onhook.appdb.passwords import PASSWORD_CHARACTERS_MAX, hash_password, validate_password
from onhook.appdb.pbxs import validate_path_name
from onhook.appdb.permissions import Permission, decode_permissions, encode_permissions, validate_permissions
from onhook.appdb.stored_json import UnreadableRow, decode_column, encode_column, list_unreadable, read_row, read_rows
from onhook.appdb.tokens import Role, generate_token, hash_secret, validate_role
from onhook.cdr.access_scope import AccessScope
from onhook.lib.errors import NotAllowed, NotFound, UsageError
from onhook.lib.mail_addresses import parse_address
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime

USERS_MAX = 1_000
"""Of one installation."""

INVITATION_MICROSECONDS = 3 * 86_400 * 1_000_000
"""Long enough for a weekend."""

SCOPE_NUMBERS_MAX = 200
"""Extensions in the scope of one reader."""


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user. `password_version` changes with the password: older sessions become invalid. A disabled user cannot sign
    in. `permissions` are what a user who is no administrator may do besides the role. `email` is where invitations and
    links to choose another password are sent, or empty.
    """

    name: str
    role: Role
    scope: AccessScope | None
    has_password: bool
    password_version: int
    created_at: datetime
    last_seen_at: datetime | None
    is_disabled: bool = False
    permissions: tuple[Permission, ...] = ()
    email: str = ""
    has_second_factor: bool = False


class Users:
    """Repository of users. Times passed in are microseconds since 1970, UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[User]:
        """Return all users, by name."""
        rows = await self._database.rows(f"SELECT {_COLUMNS} FROM users ORDER BY name COLLATE NOCASE")
        return read_rows(rows, _user)

    async def get(self, name: str) -> User:
        """Return a user. Raises `NotFound`."""
        user = await self.find(name)
        if user is None:
            raise _not_found_error(name)
        return user

    async def find(self, name: str) -> User | None:
        """Return the user with this name, or None."""
        rows = await self._database.rows(f"SELECT {_COLUMNS} FROM users WHERE name = ?", (name,))
        return read_row(rows[0], _user) if rows else None

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read."""
        rows = await self._database.rows(f"SELECT {_COLUMNS} FROM users ORDER BY name")
        return list_unreadable("users", rows, _user)

    async def find_by_email(self, email: str) -> User | None:
        """Return the one user with this address, or None where there is none or several."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM users WHERE email = ? COLLATE NOCASE AND email <> ''", (email,)
        )
        users = read_rows(rows, _user)
        return users[0] if len(users) == 1 else None

    @transactional
    async def set_email(self, name: str, email: str) -> None:
        """Set or clear the address of a user; links that may be in another mailbox end. Raises `NotFound`,
        `UsageError`.
        """
        user, email = await self.get(name), validate_email(email)
        if email == user.email:
            return
        await self._database.write("UPDATE users SET email = ? WHERE name = ?", (email, user.name))
        if user.email:
            await self._database.write("DELETE FROM invitations WHERE name = ?", (user.name,))

    async def add(
        self,
        name: str,
        role: str,
        scope: AccessScope | None,
        *,
        now_us: int,
        permissions: Iterable[str] = (),
        email: str = "",
    ) -> str:
        """Add a user; return the text of the invitation, which is stored as a hash only. Raises `UsageError`."""
        name, role = validate_path_name(name), validate_role(role)
        validate_scope(role, scope)
        permissions_text, email = encode_permissions(validate_permissions(role, permissions)), validate_email(email)
        async with self._database.transaction():
            if len(await self.all()) >= USERS_MAX:
                raise UsageError(
                    _("there are already {maximum} users", maximum=USERS_MAX), hint=_("remove those who have left")
                )
            try:
                await self._database.write(
                    "INSERT INTO users (name, role, scope, password, password_version, created_at, permissions, email)"
                    " VALUES (?, ?, ?, NULL, ?, ?, ?, ?)",
                    (name, role, encode_scope(scope), now_us, now_us, permissions_text, email),
                )
            except ConstraintViolation:
                raise UsageError(
                    _("there is already a user named {name}", name=repr(name)), hint=_("choose another name")
                ) from None
            return await self._invite(name, now_us)

    @transactional
    async def add_without_password(self, name: str, role: str, scope: AccessScope | None, *, now_us: int) -> User:
        """Add a user who signs in another way than by a password. Raises `UsageError`."""
        await self.add(name, role, scope, now_us=now_us)
        user = await self.get(name.strip())
        await self._database.write("DELETE FROM invitations WHERE name = ?", (user.name,))
        return user

    @transactional
    async def change(
        self,
        name: str,
        *,
        new_name: str,
        role: str,
        scope: AccessScope | None,
        permissions: Iterable[str] | None = None,
    ) -> User:
        """Change name, role, scope and permissions, which stay where None is given; they apply to open sessions at
        once, and a new name ends them. Links to wallboards that the user has made end with the access that they show.
        Raises `NotFound`, `UsageError`.
        """
        user, new_name, role = await self.get(name), validate_path_name(new_name), validate_role(role)
        validate_scope(role, scope)
        new_permissions = validate_permissions(role, user.permissions if permissions is None else permissions)
        if role != "administrator":
            await self._keep_administrator(user.name)
        if (role, scope, new_permissions) != (user.role, user.scope, user.permissions):
            await self._end_links(user.name)
        invitations = await self._release_name(user.name) if new_name != user.name else []
        try:
            await self._database.write(
                "UPDATE users SET name = ?, role = ?, scope = ?, permissions = ? WHERE name = ?",
                (new_name, role, encode_scope(scope), encode_permissions(new_permissions), user.name),
            )
        except ConstraintViolation:
            raise UsageError(
                _("there is already a user named {name}", name=repr(new_name)), hint=_("choose another name")
            ) from None
        if new_name != user.name:
            await self._pass_on(user.name, new_name, invitations)
        return await self.get(new_name)

    async def _release_name(self, name: str) -> list[Row]:
        """End the access of a user, whose name changes: no row may name the user meanwhile. Return the invitations,
        which are added again.
        """
        invitations = await self._database.rows("SELECT hash, expires_at FROM invitations WHERE name = ?", (name,))
        await self._end_access(name)
        return invitations

    async def _pass_on(self, name: str, new_name: str, invitations: Iterable[Row]) -> None:
        """Give what a user has, and the invitations, to the new name."""
        for table in _OWNED_TABLES:
            await self._database.write(f"UPDATE {table} SET author = ? WHERE author = ?", (new_name, name))
        await self._database.write_many(
            "INSERT INTO invitations VALUES (?, ?, ?)",
            [(invitation_hash, new_name, expires_at) for invitation_hash, expires_at in invitations],
        )

    @transactional
    async def set_disabled(self, name: str, *, is_disabled: bool) -> None:
        """Disable a user, whose sessions, invitations and links end at once, or enable one. Raises `NotFound`, and
        `UsageError` for the last administrator.
        """
        user = await self.get(name)
        if is_disabled:
            await self._keep_administrator(user.name)
        await self._database.write("UPDATE users SET is_disabled = ? WHERE name = ?", (is_disabled, user.name))
        if is_disabled:
            await self._end_access(user.name)
            await self._end_links(user.name)

    async def _keep_administrator(self, name: str) -> None:
        """Check that there is another administrator who can sign in, where this user is one. Raises `UsageError`."""
        rows = await self._database.rows(
            "SELECT name = ? FROM users WHERE role = 'administrator' AND is_disabled = 0 AND password IS NOT NULL",
            (name,),
        )
        if rows == [(1,)]:
            raise UsageError(
                _("{name} is the last administrator who can sign in", name=name),
                hint=_("make another user an administrator first"),
            )

    async def _end_links(self, name: str) -> None:
        """End the links to wallboards that a user has made."""
        await self._database.write("DELETE FROM wallboard_links WHERE author = ?", (name,))

    async def _end_access(self, name: str) -> None:
        """End the sessions and the invitations of a user."""
        await self._database.write("DELETE FROM sessions WHERE user_name = ?", (name,))
        await self._database.write("DELETE FROM pending_sign_ins WHERE user_name = ?", (name,))
        await self._database.write("DELETE FROM invitations WHERE name = ?", (name,))

    @transactional
    async def invite(self, name: str, *, now_us: int, lifetime_us: int = INVITATION_MICROSECONDS) -> str:
        """Return a new invitation for choosing a password; earlier ones become invalid. Raises `NotFound`, and
        `UsageError` for a disabled user.
        """
        user = await self.get(name)
        if user.is_disabled:
            raise UsageError(_("{name} is disabled", name=user.name), hint=_("enable the user first"))
        async with self._database.transaction():
            return await self._invite(user.name, now_us, lifetime_us)

    async def _invite(self, name: str, now_us: int, lifetime_us: int = INVITATION_MICROSECONDS) -> str:
        text = generate_token()
        await self._database.write("DELETE FROM invitations WHERE name = ? OR expires_at <= ?", (name, now_us))
        await self._database.write(
            "INSERT INTO invitations VALUES (?, ?, ?)", (hash_secret(text), name, now_us + lifetime_us)
        )
        return text

    async def get_invited(self, text: str, *, now_us: int) -> User:
        """Return the user of an invitation. Raises `NotAllowed`."""
        rows = await self._database.rows(
            "SELECT name FROM invitations WHERE hash = ? AND expires_at > ?",
            (hash_secret(text[:PASSWORD_CHARACTERS_MAX]), now_us),
        )
        if not rows:
            raise NotAllowed(
                _("this invitation is invalid or has expired"), hint=_("ask an administrator for another one")
            )
        return await self.get(rows[0][0])

    async def add_first(self, name: str, password: str, *, now_us: int) -> User:
        """Add the first user, an administrator with a password. Raises `UsageError`, also where there is a user."""
        name = validate_path_name(name)
        password_hash = await asyncio.to_thread(hash_password, validate_password(password))
        async with self._database.transaction():
            if await self._database.rows("SELECT 1 FROM users LIMIT 1"):
                raise UsageError(_("there is already a user"), hint=_("ask an administrator for an invitation"))
            await self._database.write(
                "INSERT INTO users (name, role, scope, password, password_version, created_at, permissions)"
                " VALUES (?, 'administrator', NULL, ?, ?, ?, '')",
                (name, password_hash, now_us, now_us),
            )
        return await self.get(name)

    async def change_password(self, name: str, password: str, *, password_version: int, now_us: int) -> User:
        """Set another password of a user who has this version of it; sessions and invitations end. Raises `NotAllowed`
        where the password was changed meanwhile, `UsageError`.
        """
        password_hash = await asyncio.to_thread(hash_password, validate_password(password))
        async with self._database.transaction():
            changed = await self._database.write(
                "UPDATE users SET password = ?, password_version = ? WHERE name = ? AND password_version = ?"
                " AND is_disabled = 0",
                (password_hash, max(now_us, password_version + 1), name, password_version),
            )
            if not changed:
                raise NotAllowed(_("the password was changed meanwhile"), hint=_("sign in again"))
            await self._end_access(name)
        return await self.get(name)

    async def renew_password_hash(self, name: str, password: str, old_hash: bytes) -> None:
        """Store the same password in the form of now. The audit log has no entry: what a person set is unchanged."""
        password_hash = await asyncio.to_thread(hash_password, password)
        async with self._database.transaction():
            await self._database.write(
                "UPDATE users SET password = ? WHERE name = ? AND password = ?", (password_hash, name, old_hash)
            )
            await self._database.discard_changes()

    async def accept_invitation(self, text: str, password: str, *, now_us: int) -> User:
        """Set the password; the invitation is used up, older sessions end. Raises `NotAllowed`, `UsageError`."""
        password_hash = await asyncio.to_thread(hash_password, validate_password(password))
        async with self._database.transaction():
            user = await self.get_invited(text, now_us=now_us)
            await self._database.write(
                "UPDATE users SET password = ?, password_version = ? WHERE name = ?",
                (password_hash, max(now_us, user.password_version + 1), user.name),
            )
            await self._end_access(user.name)
        return await self.get(user.name)

    async def get_password_hash(self, name: str) -> bytes | None:
        """Return the hash of a password, for `verify_password`; None for an unknown or disabled user, and for one
        without a password.
        """
        rows = await self._database.rows("SELECT password FROM users WHERE name = ? AND is_disabled = 0", (name,))
        return rows[0][0] if rows else None

    async def find_with_password_hash(self, name: str, password_hash: bytes) -> User | None:
        """Return the user whose password is stored in this form, which was read before its check; None where it was
        changed meanwhile, or the user disabled.
        """
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM users WHERE name = ? AND password = ? AND is_disabled = 0", (name, password_hash)
        )
        return read_row(rows[0], _user) if rows else None

    async def record_sign_in(self, name: str, *, now_us: int) -> None:
        """Store the time of a sign-in."""
        await self._database.write("UPDATE users SET last_seen_at = ? WHERE name = ?", (now_us, name))

    @transactional
    async def remove(self, name: str) -> None:
        """Remove a user, also one that cannot be read, with what no other user sees: dashboards and questions that are
        not shared, and the history of queries; access and links end at once. Raises `NotFound`, and `UsageError` for
        the last administrator.
        """
        rows = await self._database.rows("SELECT name FROM users WHERE name = ?", (name,))
        if not rows:
            raise _not_found_error(name)
        await self._keep_administrator(rows[0][0])
        await remove_owned(self._database, rows[0][0])
        await self._end_links(rows[0][0])
        await self._database.write("DELETE FROM users WHERE name = ?", (name,))


async def remove_owned(database: Database, author: str) -> None:
    """Remove what only this author sees; what is shared stays, and has no author any longer."""
    await database.write("DELETE FROM sql_history WHERE author = ?", (author,))
    for table in ("dashboards", "saved_questions"):
        await database.write(f"DELETE FROM {table} WHERE author = ? AND is_shared = 0", (author,))
        await database.write(f"UPDATE {table} SET author = '' WHERE author = ?", (author,))


_OWNED_TABLES = ("dashboards", "saved_questions", "sql_history", "wallboard_links")
"""Tables whose rows name their author."""

_COLUMNS = (
    "name, role, scope, password IS NOT NULL, password_version, created_at, last_seen_at, is_disabled, permissions,"
    " email, EXISTS (SELECT 1 FROM totp_factors WHERE user_name = users.name)"
    " OR EXISTS (SELECT 1 FROM passkeys WHERE user_name = users.name)"
)


def _user(row: Row) -> User:
    (
        name,
        role_name,
        scope,
        has_password,
        password_version,
        created_at,
        last_seen_at,
        is_disabled,
        permissions,
        email,
        has_second_factor,
    ) = row
    role = validate_role(role_name)
    return User(
        name=name,
        role=role,
        scope=decode_scope(scope),
        has_password=bool(has_password),
        password_version=password_version,
        created_at=to_datetime(created_at),
        last_seen_at=None if last_seen_at is None else to_datetime(last_seen_at),
        is_disabled=bool(is_disabled),
        permissions=decode_permissions(permissions, role),
        email=email,
        has_second_factor=bool(has_second_factor),
    )


def _not_found_error(name: str) -> NotFound:
    return NotFound(_("there is no user {name}", name=repr(name[:80])), hint=_("the page Users lists them"))


def validate_email(text: str) -> str:
    """Return an address without blanks around it; an empty text stays empty. Raises `UsageError`."""
    return parse_address(text, "email") if text.strip() else ""


def validate_scope(role: Role, scope: AccessScope | None) -> None:
    """Check a scope. Raises `UsageError`: an administrator cannot be limited, because he could remove any limit."""
    if scope is not None and role == "administrator":
        raise UsageError(_("an administrator cannot be limited"), hint=_("choose the role reader"))
    if scope is not None and len(scope.numbers or ()) > SCOPE_NUMBERS_MAX:
        raise UsageError(
            _("there are more than {maximum} numbers", maximum=SCOPE_NUMBERS_MAX),
            hint=_("limit the reader to a PBX instead"),
        )


def encode_scope(scope: AccessScope | None) -> str | None:
    """Return the stored form of a scope."""
    return None if scope is None else encode_column(scope.unresolved())


def decode_scope(text: str | None) -> AccessScope | None:
    """Return the scope of its stored form."""
    return None if text is None else decode_column(text, AccessScope)
