"""Contract of SQL queries that users write."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

SQL_ROWS_MAX = 10_000
"""Rows of an SQL result: more is an export."""

SQL_CHARACTERS_MAX = 20_000
"""Longer than any query written by hand."""

QUERY_SECONDS_MAX = 10
"""Processor time of an SQL query: enough to count all of ten million records."""

WALL_SECONDS_MAX = 60
"""Time of an SQL query on a machine that other programs keep busy."""

SqlCell = str | int | float | bool | None
"""A value in the result of a query."""


class SqlResult(msgspec.Struct, frozen=True, kw_only=True):
    """A table. `is_truncated` if there were more rows, or more text than a result has.

    `data_at`: the time at which the data was current. The query saw every call that was stored before.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[SqlCell]]
    is_truncated: bool
    data_at: datetime


class SqlColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A column that users' SQL may read, with a line about it."""

    name: str
    description: str


class SqlTable(msgspec.Struct, frozen=True, kw_only=True):
    """A table that users' SQL may read."""

    name: str
    description: str
    columns: Sequence[SqlColumn]


class SqlRunner(Protocol):
    """Runs SQL of users; no query can stop, slow or change anything else."""

    async def run(self, sql: str) -> SqlResult:
        """Run one SELECT in DuckDB's SQL over the tables `records` and `calls`, as they were a short time ago.
        Cancelling the caller ends the query at once.

        Raises `UsageError` for a query that is invalid, too large or too slow, `Unavailable` while too many run or the
        disk has no space for the copy that they read.
        """
        ...

    def forget_copy(self) -> None:
        """Have queries that begin from now on read the tables as they are now: a number was erased. Queries that
        run already go on.
        """
        ...

    async def close(self) -> None:
        """End all queries, refuse others, and remove the copy."""
        ...
