"""Saved searches, shared by all users whose scope is not limited: a name and the query of a page, calls or reports."""

import msgspec

from onhook.appdb.contract import ConstraintViolation, Database, Row, transactional
from onhook.appdb.pbxs import validate_name
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_rows
from onhook.cdr.access_scope import AccessScope
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.messages import _

SEARCHES_MAX = 200
"""In one list."""

QUERY_CHARACTERS_MAX = 2_000

_SELECT = "SELECT search_id, name, path, author FROM saved_searches ORDER BY name COLLATE NOCASE"

PAGES = ("/calls", "/reports")
"""Pages that a search may lead to."""


class SavedSearch(msgspec.Struct, frozen=True, kw_only=True):
    """A saved search: its name, its address, and its author."""

    search_id: int
    name: str
    path: str
    author: str


class SavedSearches:
    """Repository of saved searches."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def visible(self, author: str, scope: AccessScope | None) -> list[SavedSearch]:
        """Return the searches that a user sees, by name: a limited one its own, because names and filters of others say
        what is out of scope.
        """
        return [search for search in await self.all() if scope is None or search.author == author]

    async def all(self) -> list[SavedSearch]:
        """Return all searches, by name."""
        return read_rows(await self._database.rows(_SELECT), _saved_search)

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read."""
        return list_unreadable("saved_searches", await self._database.rows(_SELECT), _saved_search, name_columns=[1])

    @transactional
    async def add(self, name: str, path: str, *, author: str) -> SavedSearch:
        """Save a search; `path` is one of PAGES with its query. Raises `UsageError`."""
        page = path.partition("?")[0]
        if page not in PAGES or len(path) > QUERY_CHARACTERS_MAX or not path.isprintable() or "\\" in path:
            raise UsageError(
                _("this page cannot be saved as a search"),
                location="path",
                hint=_("save one of {pages}", pages=", ".join(PAGES)),
            )
        if len(await self.all()) >= SEARCHES_MAX:
            raise UsageError(_("there are already {maximum} searches", maximum=SEARCHES_MAX), hint=_("remove one"))
        name = validate_name(name)
        try:
            await self._database.write(
                "INSERT INTO saved_searches (name, path, author) VALUES (?, ?, ?)", (name, path, author)
            )
        except ConstraintViolation:
            raise UsageError(
                _("there is already a search named {name}", name=repr(name[:80])), hint=_("choose another name")
            ) from None
        return next(search for search in await self.all() if search.name == name)

    async def remove(self, search_id: int) -> None:
        """Remove a search. Raises `NotFound`."""
        if not await self._database.write("DELETE FROM saved_searches WHERE search_id = ?", (search_id,)):
            raise NotFound(_("there is no such search"), hint=_("it may have been removed already"))


def _saved_search(row: Row) -> SavedSearch:
    search_id, name, path, author = row
    return SavedSearch(search_id=search_id, name=name, path=path, author=author)
