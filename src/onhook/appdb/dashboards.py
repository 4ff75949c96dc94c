"""Dashboards that users have saved: their tiles, their period and their PBX.

Invariants: a name is unique among those of its author, and among the shared ones. A dashboard contains no telephone
number, so that an erasure need not search it.
"""

import re

import msgspec

from onhook.appdb.contract import ConstraintViolation, Database, Row, transactional
from onhook.appdb.pbxs import NAME_CHARACTERS_MAX, validate_path_name
from onhook.appdb.stored_json import UnreadableRow, decode_column, encode_column, list_unreadable, read_row, read_rows
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.messages import _

TILES_MAX = 40
"""Some screens; each tile may cost a query."""

DASHBOARDS_MAX = 50
"""Of one author."""

NAME_DIGITS_MAX = 5
"""A name with more digits may be a telephone number."""

PERIOD_CHARACTERS_MAX = 40
"""Of a date, a time with its offset, or `30d`."""

WIDTH_MAX = 12
"""The columns of a dashboard."""

_KIND = re.compile(r"[a-z0-9-]{1,40}")
_COLUMNS = "dashboard_id, name, author, is_shared, content"
_SELECT = f"SELECT {_COLUMNS} FROM dashboards ORDER BY name, author"


class StoredTile(msgspec.Struct, frozen=True, array_like=True):
    """A tile: the name of its kind, which a later version may have removed, and its width in columns."""

    kind: str
    width: int


class DashboardLayout(msgspec.Struct, frozen=True, kw_only=True):
    """Content of a dashboard: tiles in order; `since` and `until` as in the URL of a page; the name of a PBX, empty for
    all.
    """

    tiles: tuple[StoredTile, ...]
    since: str = ""
    until: str = ""
    pbx: str = ""

    def validate(self) -> "DashboardLayout":
        """Return the layout. Raises `UsageError`."""
        if not 1 <= len(self.tiles) <= TILES_MAX:
            raise UsageError(
                _("a dashboard has 1 to {limit} tiles, not {count}", limit=TILES_MAX, count=len(self.tiles)),
                parameter="tiles",
            )
        for tile in self.tiles:
            if not _KIND.fullmatch(tile.kind) or not 1 <= tile.width <= WIDTH_MAX:
                raise UsageError(_("invalid tile: {tile}", tile=repr(tile.kind[:40])), parameter="tiles")
        for text, limit in ((self.since, PERIOD_CHARACTERS_MAX), (self.until, PERIOD_CHARACTERS_MAX)):
            if len(text) > limit or not text.isprintable():
                raise UsageError(_("invalid period: {text}", text=repr(text[:40])), parameter="since")
        if len(self.pbx) > NAME_CHARACTERS_MAX or not self.pbx.isprintable():
            raise UsageError(_("invalid PBX: {text}", text=repr(self.pbx[:40])), parameter="pbx")
        return self


class SavedDashboard(msgspec.Struct, frozen=True, kw_only=True):
    """A saved dashboard. All users see a shared one, its author alone any other. A shared one whose author was removed
    has none.
    """

    dashboard_id: int
    name: str
    author: str
    is_shared: bool
    layout: DashboardLayout


class Dashboards:
    """Repository of saved dashboards."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[SavedDashboard]:
        """Return all dashboards, by name."""
        return read_rows(await self._database.rows(_SELECT), _saved_dashboard)

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read."""
        return list_unreadable("dashboards", await self._database.rows(_SELECT), _saved_dashboard, name_columns=[1])

    async def get(self, dashboard_id: int) -> SavedDashboard:
        """Return a dashboard. Raises `NotFound`."""
        rows = await self._database.rows(f"SELECT {_COLUMNS} FROM dashboards WHERE dashboard_id = ?", (dashboard_id,))
        if not rows:
            raise _not_found_error()
        return read_row(rows[0], _saved_dashboard)

    @transactional
    async def save(self, name: str, layout: DashboardLayout, *, author: str) -> SavedDashboard:
        """Save a dashboard; one of the same author and name is replaced, and stays shared. Raises `UsageError`."""
        name, content = _validate_name(name), encode_column(layout.validate())
        rows = await self._database.rows("SELECT dashboard_id, name FROM dashboards WHERE author = ?", (author,))
        ids = {row_name.casefold(): dashboard_id for dashboard_id, row_name in rows}
        dashboard_id = ids.get(name.casefold())
        if dashboard_id is not None:
            await self._database.write(
                "UPDATE dashboards SET name = ?, content = ? WHERE dashboard_id = ?", (name, content, dashboard_id)
            )
            return await self.get(dashboard_id)
        if len(rows) >= DASHBOARDS_MAX:
            raise UsageError(_("there are already {maximum} dashboards", maximum=DASHBOARDS_MAX), hint=_("remove one"))
        await self._database.write(
            "INSERT INTO dashboards (name, author, is_shared, content) VALUES (?, ?, 0, ?)", (name, author, content)
        )
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM dashboards WHERE author = ? AND name = ?", (author, name)
        )
        return read_row(rows[0], _saved_dashboard)

    @transactional
    async def set_shared(self, dashboard_id: int, *, is_shared: bool, author: str | None = None) -> SavedDashboard:
        """Show a dashboard to all users, or to its author alone, who is another one where `author` is given. Raises
        `NotFound`, `UsageError`.
        """
        dashboard = await self.get(dashboard_id)
        try:
            await self._database.write(
                "UPDATE dashboards SET is_shared = ?, author = ? WHERE dashboard_id = ?",
                (is_shared, dashboard.author if author is None else author, dashboard_id),
            )
        except ConstraintViolation:
            message = (
                _("there is already a shared dashboard of this name")
                if is_shared
                else _("you have a dashboard of this name")
            )
            raise UsageError(message, hint=_("copy it under another name")) from None
        return await self.get(dashboard_id)

    async def remove(self, dashboard_id: int) -> None:
        """Remove a dashboard. Raises `NotFound`."""
        if not await self._database.write("DELETE FROM dashboards WHERE dashboard_id = ?", (dashboard_id,)):
            raise _not_found_error()


def _validate_name(name: str) -> str:
    if sum(character.isdigit() for character in name) > NAME_DIGITS_MAX:
        raise UsageError(
            _("the name of a dashboard cannot have more than {limit} digits", limit=NAME_DIGITS_MAX),
            parameter="name",
            hint=_("leave telephone numbers out: an erasure does not search names of dashboards"),
        )
    return validate_path_name(name)


def _saved_dashboard(row: Row) -> SavedDashboard:
    dashboard_id, name, author, is_shared, content = row
    return SavedDashboard(
        dashboard_id=dashboard_id,
        name=name,
        author=author,
        is_shared=bool(is_shared),
        layout=decode_column(content, DashboardLayout).validate(),
    )


def _not_found_error() -> NotFound:
    return NotFound(_("there is no such dashboard"), hint=_("it may have been removed, or is no longer shared"))
