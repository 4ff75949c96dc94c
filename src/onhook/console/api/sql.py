"""`GET /api/v1/sql`: a SELECT in SQL over all records and calls; `/sql/tables`: what it may read."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter

from onhook.appdb.pbxs import NAME_CHARACTERS_MAX
from onhook.console.problem_documents import PROBLEMS
from onhook.console.queries.saved_questions import require_user
from onhook.console.queries.sql import run_sql
from onhook.console.state import AnyRequest, AppStateDep
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.store.sql.contract import SQL_CHARACTERS_MAX, SqlCell, SqlTable
from onhook.store.sql.views import SQL_TABLES

SqlText = Annotated[
    str, QueryParameter(name="sql", description="One SELECT over `records` and `calls`", max_length=SQL_CHARACTERS_MAX)
]
QuestionName = Annotated[
    str,
    QueryParameter(
        name="saved", description="Name of a saved question, in place of `sql`", max_length=NAME_CHARACTERS_MAX
    ),
]

_RESPONSES = {
    **PROBLEMS,
    414: ResponseSpec(None, description="The query is longer than a URL may be, some 64 KiB", generate_examples=False),
}


class SqlAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A table: `data` has its rows, each with a cell per column. With `is_truncated` there were more.

    The data was current at `data_at`, `age_seconds` ago.
    """

    columns: Sequence[str]
    data: Sequence[Sequence[SqlCell]]
    is_truncated: bool
    data_at: datetime
    age_seconds: int


class SqlTables(msgspec.Struct, frozen=True):
    """The tables that a query may read, with a line about each column."""

    data: Sequence[SqlTable]


@get("/sql", summary="Run an SQL query", tags=["calls"], responses=_RESPONSES)
async def query_sql(
    request: AnyRequest, app_state: AppStateDep, sql: SqlText = "", saved: QuestionName = ""
) -> SqlAnswer:
    """Run one SELECT in the SQL of DuckDB, or a saved question, on a recent copy of the store. Times are in UTC."""
    if bool(sql.strip()) == bool(saved.strip()):
        raise UsageError(
            _("there must be a query, or the name of a saved question"),
            parameter="sql",
            hint=_("send `sql` or `saved`"),
        )
    if saved.strip():
        sql = (await app_state.appdb.saved_questions.find_visible(saved, require_user(request).author)).sql
    dated = await run_sql(request, app_state, sql)
    return SqlAnswer(
        columns=dated.result.columns,
        data=dated.result.rows,
        is_truncated=dated.result.is_truncated,
        data_at=dated.result.data_at,
        age_seconds=dated.age_seconds,
    )


@get("/sql/tables", summary="List tables for SQL", tags=["calls"], responses=PROBLEMS)
async def list_tables() -> SqlTables:
    """List the tables that a query may read."""
    return SqlTables(SQL_TABLES)
