"""`/sql`: a query in SQL over all records and calls, with the result as a table, a chart or a file.

It is read only, sees nothing else, and is cancelled after some seconds.
"""

import asyncio
import csv
import io
from collections.abc import Sequence
from typing import Annotated, ClassVar

from litestar import Response, get
from litestar.params import QueryParameter

from onhook.cdr.csv_injection import escape_formula
from onhook.console.pages.page import render_page
from onhook.console.pages.rendering import View
from onhook.console.pages.reports.report import Chart, Series
from onhook.console.parameters import ReaderZone
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import OnhookError, Unavailable, UsageError
from onhook.lib.messages import _, mark
from onhook.store.contract import SQL_CHARACTERS_MAX, SqlResult

QUERY_SECONDS_MAX = 10.0
"""Time-out of a query: other readers need the store too."""

QUERIES_MAX = 2
"""Concurrent queries: each may use all of the store's memory."""

BARS_MAX = 60
"""Rows of a result that a chart has."""

EXAMPLES = (
    (
        mark("Calls by day and outcome"),
        (
            "SELECT started_at::DATE AS day, status, count(*) AS calls\n"
            "FROM all_calls\nGROUP BY ALL ORDER BY day DESC, calls DESC"
        ),
    ),
    (
        mark("Longest talk by person"),
        (
            "SELECT answered_by, sum(talk_duration) AS seconds, count(*) AS calls\n"
            "FROM all_calls WHERE answered_by <> ''\nGROUP BY ALL ORDER BY seconds DESC LIMIT 20"
        ),
    ),
    (
        mark("The latest records"),
        (
            "SELECT started_at, call_from, call_to, status, talk_duration\n"
            "FROM all_records ORDER BY started_at DESC LIMIT 50"
        ),
    ),
)

Sql = Annotated[str, QueryParameter(description="One SELECT", max_length=SQL_CHARACTERS_MAX)]


class SqlView(View, frozen=True, kw_only=True):
    """Values of the page: a query, its result, and examples."""

    template: ClassVar = "sql.html"
    sql: str
    result: SqlResult | None
    chart: Chart | None
    error: str
    examples: Sequence[tuple[str, str]]
    seconds_max: int


@get("/sql", include_in_schema=False)
async def sql_page(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, sql: Sql = ""
) -> Response[str]:
    """Return the page with the query, its result, and the available columns."""
    result, error_text = None, ""
    try:
        result = await _run_query(app_state, sql) if sql.strip() else None
    except OnhookError as error:
        error_text = str(error)
    return render_page(
        request,
        app_state,
        reader_zone,
        SqlView(
            sql=sql,
            result=result,
            chart=None if result is None else build_chart(result),
            error=error_text,
            examples=EXAMPLES,
            seconds_max=round(QUERY_SECONDS_MAX),
        ),
    )


@get("/sql.csv", include_in_schema=False)
async def sql_file(app_state: AppStateDep, sql: Sql) -> Response[bytes]:
    """Return the result as CSV (RFC 4180, UTF-8); cells that a spreadsheet would take for a formula are escaped."""
    result = await _run_query(app_state, sql)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([escape_formula(name) for name in result.columns])
    writer.writerows(["" if cell is None else escape_formula(str(cell)) for cell in row] for row in result.rows)
    return Response(
        text.getvalue().encode(),
        media_type="text/csv; charset=utf-8; header=present",
        headers={"Content-Disposition": 'attachment; filename="result.csv"'},
    )


ROUTES = (sql_page, sql_file)


def build_chart(result: SqlResult) -> Chart | None:
    """Return a bar chart, where the first column has names and another one counts; else None."""
    rows = result.rows[:BARS_MAX]
    numbers = [
        index
        for index in range(1, len(result.columns))
        if all(isinstance(row[index], int | float) and not isinstance(row[index], bool) for row in rows)
    ]
    if len(rows) < 2 or not numbers:
        return None
    series = [Series(result.columns[numbers[0]], [_to_number(row[numbers[0]]) for row in rows])]
    return Chart(shape="bar", labels=[str(row[0]) for row in rows], series=series)


def _to_number(cell: object) -> int | float | None:
    return cell if isinstance(cell, int | float) else None


async def _run_query(app_state: AppState, sql: str) -> SqlResult:
    if app_state.sql_limiter.is_full:
        raise Unavailable(_("{limit} queries are already running", limit=QUERIES_MAX), hint=_("try again in a moment"))
    with app_state.sql_limiter.acquire():
        try:
            async with asyncio.timeout(QUERY_SECONDS_MAX):
                return await app_state.store.query_sql(sql)
        except TimeoutError:
            raise UsageError(
                _("the query took longer than {seconds} seconds and was cancelled", seconds=f"{QUERY_SECONDS_MAX:.0f}"),
                hint=_("query a shorter time, or fewer columns"),
            ) from None
