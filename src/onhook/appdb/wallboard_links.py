"""Links to wallboards: a dashboard in a scope, for a screen without a user.

Invariants: a link shows its dashboard and nothing else; it is no token. It has an end. Its text is stored as a hash;
removing the link or the dashboard makes it invalid at once.
"""

import hmac
from contextlib import suppress
from datetime import datetime

import msgspec

from onhook.appdb.contract import Database, Row, transactional
from onhook.appdb.pbxs import validate_name
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_row, read_rows
from onhook.appdb.tokens import (
    LAST_USED_SECONDS,
    LAST_USED_STEP_MICROSECONDS,
    TOKEN_CHARACTERS_MAX,
    generate_token,
    hash_secret,
)
from onhook.appdb.users import decode_scope, encode_scope, validate_scope
from onhook.cdr.access_scope import AccessScope
from onhook.lib.errors import NotFound, Unavailable, UsageError
from onhook.lib.languages import LANGUAGES, validate_language
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime

LINKS_MAX = 200
"""Screens of one installation."""

LINK_DAYS_MAX = 400
"""A year, and the days until it is renewed: a link in a browser on a wall is easily forgotten."""

_DAY_MICROSECONDS = 86_400_000_000
_COLUMNS = "link_id, dashboard_id, name, author, scope, language, created_at, expires_at, last_used_at"
_SELECT = f"SELECT {_COLUMNS} FROM wallboard_links ORDER BY name, link_id"


class WallboardLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link in a listing: without its text, which is not stored. It is valid until `expires_at`. `author` is empty for
    one that an administrator has made; any other ends with its author's access. An empty `language` is that of the
    browser of the screen.
    """

    link_id: int
    dashboard_id: int
    name: str
    author: str = ""
    scope: AccessScope | None
    language: str = ""
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


class WallboardLinks:
    """Repository of links to wallboards. Times passed in are microseconds since 1970, UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[WallboardLink]:
        """Return all links, by name."""
        return read_rows(await self._database.rows(_SELECT), _wallboard_link)

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read."""
        return list_unreadable("wallboard_links", await self._database.rows(_SELECT), _wallboard_link, name_columns=[2])

    @transactional
    async def add(
        self,
        dashboard_id: int,
        name: str,
        *,
        scope: AccessScope | None,
        expires_us: int | None,
        now_us: int,
        author: str = "",
        language: str = "",
    ) -> str:
        """Add a link to a dashboard and return its text, which is stored as a hash only. Raises `UsageError`,
        `NotFound`.
        """
        if expires_us is None or not now_us < expires_us <= now_us + LINK_DAYS_MAX * _DAY_MICROSECONDS:
            raise UsageError(
                _("a link needs an end within {limit} days", limit=LINK_DAYS_MAX),
                location="expires_on",
                hint=_("choose its last day"),
            )
        validate_scope("reader", scope)
        validate_language(language)
        if not await self._database.rows("SELECT 1 FROM dashboards WHERE dashboard_id = ?", (dashboard_id,)):
            raise NotFound(_("there is no such dashboard"), hint=_("save it first"))
        if len(await self.all()) >= LINKS_MAX:
            raise UsageError(
                _("there are already {maximum} links", maximum=LINKS_MAX), hint=_("revoke those that have ended")
            )
        text = generate_token()
        await self._database.write(
            "INSERT INTO wallboard_links (dashboard_id, name, author, hash, scope, language, created_at, expires_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                dashboard_id,
                validate_name(name),
                author,
                hash_secret(text),
                encode_scope(scope),
                language,
                now_us,
                expires_us,
            ),
        )
        return text

    async def find(self, text: str, *, now_us: int, is_use: bool = False) -> WallboardLink | None:
        """Return the valid link with this text, or None. With `is_use` the time is stored, to the minute."""
        if not text or len(text) > TOKEN_CHARACTERS_MAX:
            return None
        link_hash = hash_secret(text)
        rows = await self._database.rows(
            f"SELECT hash, {_COLUMNS} FROM wallboard_links WHERE hash = ? AND expires_at > ?", (link_hash, now_us)
        )
        if not rows or not hmac.compare_digest(rows[0][0], link_hash):
            return None
        if is_use and now_us - (rows[0][-1] or 0) >= LAST_USED_STEP_MICROSECONDS:
            with suppress(Unavailable):  # with a lock or a full disk the screen still works
                await self._database.write(
                    "UPDATE wallboard_links SET last_used_at = ? WHERE hash = ?",
                    (now_us, link_hash),
                    seconds=LAST_USED_SECONDS,
                )
        return read_row(rows[0][1:], _wallboard_link)

    async def remove(self, link_id: int, *, author: str | None = None) -> None:
        """Remove a link, of an author only where one is given; it becomes invalid at once. Raises `NotFound`."""
        if not await self._database.write(
            "DELETE FROM wallboard_links WHERE link_id = ?1 AND (?2 IS NULL OR author = ?2)", (link_id, author)
        ):
            raise NotFound(_("there is no such link"), hint=_("it may have been revoked already"))


def _wallboard_link(row: Row) -> WallboardLink:
    link_id, dashboard_id, name, author, scope, language, created_at, expires_at, last_used_at = row
    return WallboardLink(
        link_id=link_id,
        dashboard_id=dashboard_id,
        name=name,
        author=author,
        scope=decode_scope(scope),
        language=language if language in LANGUAGES else "",
        created_at=to_datetime(created_at),
        expires_at=to_datetime(expires_at),
        last_used_at=None if last_used_at is None else to_datetime(last_used_at),
    )
