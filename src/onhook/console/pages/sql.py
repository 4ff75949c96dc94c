"""`/sql`: a query in SQL over all records and calls, with the result as a table, a chart or a file.

It runs in a process of its own, on a recent copy of the store.
"""

import asyncio
import csv
import io
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, ClassVar

from litestar import Response, get
from litestar.params import QueryParameter
from markupsafe import Markup

from onhook.cdr.csv_injection import escape_cell
from onhook.console.pages.page import render_page
from onhook.console.pages.rendering import View, render
from onhook.console.pages.reports.report import Chart
from onhook.console.pages.sql_chart import build_chart
from onhook.console.parameters import ReaderZone
from onhook.console.queries.audited_reads import audit_or_log_read
from onhook.console.queries.sql import DatedResult, run_sql
from onhook.console.state import AnyRequest, AppStateDep
from onhook.lib.errors import OnhookError
from onhook.lib.messages import _, mark
from onhook.store.sql.contract import QUERY_SECONDS_MAX, SQL_CHARACTERS_MAX, SqlCell, SqlResult, SqlTable
from onhook.store.sql.views import SQL_TABLES

ROWS_MAX = 1_000
CELLS_MAX = 50_000
"""Of the table on the page: more is for a file."""

EXAMPLES = (
    (
        mark("Calls by day and outcome"),
        (
            "SELECT started_at::DATE AS day, status, count(*) AS calls\n"
            "FROM calls\nWHERE started_at >= now()::TIMESTAMP - INTERVAL 30 DAY\nGROUP BY ALL ORDER BY day, status"
        ),
    ),
    (
        mark("Longest talk by person"),
        (
            "SELECT answered_by, sum(talk_duration) AS seconds, count(*) AS calls\n"
            "FROM calls WHERE answered_by <> ''\nGROUP BY ALL ORDER BY seconds DESC LIMIT 20"
        ),
    ),
    (
        mark("The latest records"),
        (
            "SELECT started_at, call_from, call_to, status, talk_duration\n"
            "FROM records ORDER BY started_at DESC LIMIT 50"
        ),
    ),
)

Sql = Annotated[str, QueryParameter(description="One SELECT", max_length=SQL_CHARACTERS_MAX)]


class SqlTableView(View, frozen=True, kw_only=True):
    """Values of the table of a result."""

    template: ClassVar = "sql_table.html"
    columns: Sequence[str]
    rows: Sequence[Sequence[SqlCell]]


class SqlView(View, frozen=True, kw_only=True):
    """Values of the page: a query, its result and the time of its data, the columns that there are, and examples."""

    template: ClassVar = "sql.html"
    sql: str
    result: SqlResult | None = None
    table: Markup = Markup()
    shown_count: int = 0
    data_at: datetime | None = None
    age_seconds: int = 0
    chart: Chart | None = None
    error: str = ""
    error_hint: str = ""
    tables: Sequence[SqlTable] = SQL_TABLES
    examples: Sequence[tuple[str, str]] = EXAMPLES
    seconds_max: int = QUERY_SECONDS_MAX
    characters_max: int = SQL_CHARACTERS_MAX


@get("/sql", include_in_schema=False)
async def sql_page(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, sql: Sql = ""
) -> Response[str]:
    """Return the page with the query, its result, and the available columns."""
    try:
        view = await _result_view(sql, await run_sql(request, app_state, sql)) if sql.strip() else SqlView(sql=sql)
    except OnhookError as error:
        view = SqlView(sql=sql, error=error.message, error_hint=error.hint)
    return await render_page(request, app_state, reader_zone, view)


@get("/sql.csv", include_in_schema=False)
async def sql_file(request: AnyRequest, app_state: AppStateDep, sql: Sql) -> Response[bytes]:
    """Return the result as CSV (RFC 4180, UTF-8); cells that a spreadsheet would take for a formula are escaped. The
    name of a file that does not have all rows says so.
    """
    dated = await run_sql(request, app_state, sql)
    await audit_or_log_read(app_state, _("file of an SQL query: {query}", query=sql))
    result = dated.result
    name = f"result-first-{len(result.rows)}-rows.csv" if result.is_truncated else "result.csv"
    return Response(
        await asyncio.to_thread(_write_csv, result),
        media_type="text/csv; charset=utf-8; header=present",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


ROUTES = (sql_page, sql_file)


async def _result_view(sql: str, dated: DatedResult) -> SqlView:
    result = dated.result
    rows = result.rows[: min(ROWS_MAX, CELLS_MAX // max(1, len(result.columns)))]
    # In threads: a table of 50,000 cells, and a chart of 10,000 rows, take a good part of a second.
    table = await asyncio.to_thread(render, SqlTableView(columns=result.columns, rows=rows))
    return SqlView(
        sql=sql,
        result=result,
        table=Markup(table),  # noqa: S704 - the template has escaped each cell
        shown_count=len(rows),
        data_at=result.data_at,
        age_seconds=dated.age_seconds,
        chart=await asyncio.to_thread(build_chart, result),
    )


def _write_csv(result: SqlResult) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([escape_cell(name) for name in result.columns])
    writer.writerows(["" if cell is None else escape_cell(str(cell)) for cell in row] for row in result.rows)
    return text.getvalue().encode()
