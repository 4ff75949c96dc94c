"""Repository of the access tokens: look-up by hash, share tokens, the token of the administrator."""

import hmac
from contextlib import suppress
from pathlib import Path

from onhook.appdb.contract import ConstraintViolation, Database, transactional
from onhook.appdb.pbxs import validate_path_name
from onhook.appdb.rows import TOKEN_COLUMNS, decode_token
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_row, read_rows
from onhook.appdb.tokens import (
    ADMIN_NAME,
    LAST_USED_SECONDS,
    LAST_USED_STEP_MICROSECONDS,
    TOKEN_CHARACTERS_MAX,
    TOKENS_MAX,
    Role,
    Token,
    generate_token,
    hash_secret,
    read_token_file,
    token_author,
    validate_role,
    write_token_file,
)
from onhook.appdb.users import encode_scope, remove_owned, validate_scope
from onhook.cdr.access_scope import AccessScope
from onhook.lib.errors import NotFound, Unavailable, UsageError
from onhook.lib.messages import _

_INSERT_TOKEN = "INSERT INTO tokens (name, hash, role, created_at, scope, expires_at) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S105


class Tokens:
    """Repository of the access tokens. Times passed in are microseconds since 1970, UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[Token]:
        """Return all tokens, by name, without their texts."""
        rows = await self._database.rows(f"SELECT {TOKEN_COLUMNS} FROM tokens ORDER BY name")
        return read_rows(rows, decode_token)

    @transactional
    async def add(
        self,
        name: str,
        role: str,
        *,
        now_us: int,
        scope: AccessScope | None = None,
        export_filter: str | None = None,
        expires_us: int | None = None,
    ) -> str:
        """Add a token and return its text, which is stored as a hash only; with a filter, even an empty one, it is a
        share token, and a reader's. `export_filter` is validated already. Raises `UsageError`.
        """
        if expires_us is not None and expires_us <= now_us:
            raise UsageError(_("the end of the token is in the past"), hint=_("choose a later day, or none"))
        if export_filter is not None and role != "reader":
            raise UsageError(_("a share token is a reader's"), hint=_("leave the role out"))
        text = generate_token()
        validate_scope(validate_role(role), scope)
        if len(await self.all()) >= TOKENS_MAX:
            raise UsageError(
                _("there are already {maximum} tokens", maximum=TOKENS_MAX),
                hint=_("remove those that are no longer in use"),
            )
        try:
            await self._database.write(
                _INSERT_TOKEN,
                (
                    *(validate_path_name(name), hash_secret(text), validate_role(role), now_us),
                    *(encode_scope(scope), expires_us),
                ),
            )
            if export_filter is not None:
                await self._database.write(
                    "INSERT INTO share_tokens VALUES (?, ?)", (validate_path_name(name), export_filter)
                )
        except ConstraintViolation:
            raise UsageError(
                _("there is already a token {name}", name=repr(name)), hint=_("remove it first, or choose another name")
            ) from None
        return text

    @transactional
    async def remove(self, name: str) -> None:
        """Remove a token, with what was saved by it and not shared; it becomes invalid at once. Raises `NotFound`."""
        await remove_owned(self._database, token_author(name))
        if not await self._database.write("DELETE FROM tokens WHERE name = ?", (name,)):
            raise NotFound(
                _("there is no token {name}", name=repr(name[:80])), hint=_("`onhook token list` shows them")
            )

    async def find(self, text: str, *, now_us: int, is_use: bool = False) -> Token | None:
        """Return the valid token with this text, or None; no share token. With `is_use` the time is stored.

        The look-up is by hash, so that its duration reveals the hash at most, from which no text follows.
        """
        token = await self._find(text, now_us, is_use=is_use)
        return token if token is not None and token.export_filter is None else None

    async def find_share(self, text: str, *, now_us: int, is_use: bool = False) -> Token | None:
        """Return the share token with this text, or None; otherwise as `find`."""
        token = await self._find(text, now_us, is_use=is_use)
        return token if token is not None and token.export_filter is not None else None

    async def _find(self, text: str, now_us: int, *, is_use: bool) -> Token | None:
        if not text or len(text) > TOKEN_CHARACTERS_MAX:
            return None
        token_hash = hash_secret(text)
        rows = await self._database.rows(
            f"SELECT hash, {TOKEN_COLUMNS} FROM tokens WHERE hash = ? AND (expires_at IS NULL OR expires_at > ?)",
            (token_hash, now_us),
        )
        if not rows or not hmac.compare_digest(rows[0][0], token_hash):
            return None
        last_used_at = rows[0][5] or 0
        if is_use and now_us - last_used_at >= LAST_USED_STEP_MICROSECONDS:
            with suppress(Unavailable):  # with a lock or a full disk authentication still works
                await self._database.write(
                    "UPDATE tokens SET last_used_at = ? WHERE hash = ?", (now_us, token_hash), seconds=LAST_USED_SECONDS
                )
        return read_row(rows[0][1:], decode_token)

    async def is_admin(self, text: str, *, now_us: int) -> bool:
        """Return whether this is the text of a token of an administrator."""
        token = await self.find(text, now_us=now_us)
        return token is not None and token.role == "administrator"

    async def ensure_admin(self, path: Path, *, now_us: int, node: str = "") -> str:
        """Return the text of the administrator's token, and write it to the file.

        A file that is missing or outdated gets a new token; the old one becomes invalid. Where machines share the
        database, each `node` has a token of its own, and those of others stay.
        """
        text = read_token_file(path)
        if await self.is_admin(text, now_us=now_us):
            return text
        text = generate_token()
        name = f"{ADMIN_NAME}@{node}" if node else ADMIN_NAME
        async with self._database.transaction():
            await self._database.write("DELETE FROM tokens WHERE name = ?", (name,))
            role: Role = "administrator"
            await self._database.write(_INSERT_TOKEN, (name, hash_secret(text), role, now_us, None, None))
            write_token_file(path, text)
        return text

    async def list_unreadable(self) -> list[UnreadableRow]:
        rows = await self._database.rows(f"SELECT {TOKEN_COLUMNS} FROM tokens ORDER BY name")
        return list_unreadable("tokens", rows, decode_token)
