"""Searches that are kept under a name, for everybody: the name, and the query of the page of calls or reports."""

import sqlite3

import msgspec

from onhook.appdb.pbxs import validate_name
from onhook.appdb.sqlite import SqliteDatabase
from onhook.lib.errors import NotFound, UsageError

SEARCHES_MAX = 200
"""On one list."""

QUERY_CHARACTERS_MAX = 2_000

PAGES = ("/calls", "/reports")
"""Where a search may lead."""


class SavedSearch(msgspec.Struct, frozen=True, kw_only=True):
    """A search: its name, where it leads, and who kept it."""

    search_id: int
    name: str
    path: str
    author: str


class SavedSearches:
    """Those that are kept, in the settings."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def all(self) -> list[SavedSearch]:
        """By name."""
        rows = self._database.rows(
            "SELECT search_id, name, path, author FROM saved_searches ORDER BY name COLLATE NOCASE"
        )
        return [
            SavedSearch(search_id=search_id, name=name, path=path, author=author)
            for search_id, name, path, author in rows
        ]

    def add(self, name: str, path: str, *, author: str) -> SavedSearch:
        """Keep a search; `path` is of one of PAGES, with its query. Raises `UsageError`."""
        page = path.partition("?")[0]
        if page not in PAGES or len(path) > QUERY_CHARACTERS_MAX or not path.isprintable() or "\\" in path:
            raise UsageError("this is no search of ours", location="path", hint=f"keep one of {', '.join(PAGES)}")
        if len(self.all()) >= SEARCHES_MAX:
            raise UsageError(f"there are {SEARCHES_MAX} searches already", hint="remove one")
        name = validate_name(name)
        try:
            self._database.write(
                "INSERT INTO saved_searches (name, path, author) VALUES (?, ?, ?)", (name, path, author)
            )
        except sqlite3.IntegrityError:
            raise UsageError(f"there is a search named {name[:80]!r} already", hint="choose another name") from None
        return next(search for search in self.all() if search.name == name)

    def remove(self, search_id: int) -> None:
        """Raises `NotFound`."""
        if not self._database.write("DELETE FROM saved_searches WHERE search_id = ?", (search_id,)):
            raise NotFound("there is no such search", hint="it may have been removed already")
