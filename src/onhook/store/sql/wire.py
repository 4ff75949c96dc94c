"""Messages between Onhook and a query process: JSON, a request on standard input, a reply on standard output."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from onhook.store.sql.contract import SqlCell


class SqlRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A query, and the file that it reads."""

    path: str
    sql: str


class CopyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The file to copy, and the new file. `reserve_bytes` of the disk stay free."""

    source: str
    target: str
    reserve_bytes: int


class QueryFailure(msgspec.Struct, frozen=True, kw_only=True):
    """An error for a reader: sentences that are translated where they are shown, with the values of their placeholders.

    `kind`: `usage` for an error of the query, `unavailable` for one that another attempt may not meet.
    """

    kind: Literal["usage", "unavailable"] = "usage"
    message: str
    hint: str
    values: dict[str, str | int] = {}


class SqlReply(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a query or of a copy, or why there is none."""

    columns: Sequence[str] = ()
    rows: Sequence[Sequence[SqlCell]] = ()
    is_truncated: bool = False
    failure: QueryFailure | None = None


class QueryError(Exception):
    """Raised in a query process: ends the query with this failure."""

    def __init__(self, failure: QueryFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure
