"""Queries that users have run on the page SQL: each once, by the time of its last run.

Invariant: it goes with its user or token. It is not a setting: the audit log has none of it.
"""

from datetime import datetime

import msgspec

from onhook.appdb.contract import Database, Row
from onhook.appdb.saved_questions import SQL_CHARACTERS_MAX, normalize_sql
from onhook.appdb.stored_json import CHECKED_ROWS_MAX, UnreadableRow, list_unreadable, read_row, read_rows
from onhook.lib.errors import NotFound
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime

QUERIES_MAX = 50
"""Of one user: what was run longest ago is deleted first."""

ROWS_MAX = 5_000
"""Of all users: 100 MB where each query is as long as it may be."""

ADD_SECONDS_MAX = 0.5
"""Deadline of each statement that adds a query: a reader waits for it."""

_COLUMNS = "history_id, author, sql, ran_at"


class PastQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A query, and when it was run last."""

    history_id: int
    author: str
    sql: str
    ran_at: datetime


class SqlHistory:
    """Repository of queries that were run. Times passed in are microseconds since 1970, UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_author(self, author: str) -> list[PastQuery]:
        """Return the queries of a user, the latest first."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM sql_history WHERE author = ? ORDER BY ran_at DESC, history_id DESC", (author,)
        )
        return read_rows(rows, _past_query)

    async def get(self, history_id: int, author: str) -> PastQuery:
        """Return a query of a user. Raises `NotFound`, also for one of another user."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM sql_history WHERE history_id = ? AND author = ?", (history_id, author)
        )
        if not rows:
            raise NotFound(_("there is no such query in your history"), hint=_("it may have been deleted since"))
        return read_row(rows[0], _past_query)

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return those of the latest rows that cannot be read."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM sql_history ORDER BY history_id DESC LIMIT ?", (CHECKED_ROWS_MAX,)
        )
        return list_unreadable("sql_history", rows, _past_query)

    async def add(self, sql: str, *, author: str, now_us: int) -> None:
        """Note that a query was run; the oldest beyond the limits are deleted. Raises `Unavailable` soon: a result is
        not kept waiting for a lock.
        """
        text = normalize_sql(sql)[:SQL_CHARACTERS_MAX]
        if await self._write("UPDATE sql_history SET ran_at = ? WHERE author = ? AND sql = ?", (now_us, author, text)):
            return
        await self._write(
            "INSERT INTO sql_history (author, sql, ran_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (author, text, now_us),
        )
        await self._write(
            "DELETE FROM sql_history WHERE author = ?1 AND history_id NOT IN (SELECT history_id FROM sql_history"
            " WHERE author = ?1 ORDER BY ran_at DESC, history_id DESC LIMIT ?2)",
            (author, QUERIES_MAX),
        )
        await self._write(
            "DELETE FROM sql_history WHERE history_id NOT IN (SELECT history_id FROM sql_history"
            " ORDER BY ran_at DESC, history_id DESC LIMIT ?)",
            (ROWS_MAX,),
        )

    async def _write(self, statement: str, values: tuple[object, ...]) -> int:
        return await self._database.write(statement, values, seconds=ADD_SECONDS_MAX)

    async def clear(self, author: str) -> None:
        """Delete the history of a user."""
        await self._database.write("DELETE FROM sql_history WHERE author = ?", (author,))


def _past_query(row: Row) -> PastQuery:
    history_id, author, sql, ran_at = row
    return PastQuery(history_id=history_id, author=author, sql=sql, ran_at=to_datetime(ran_at))
