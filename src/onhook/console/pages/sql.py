"""`/sql`: a query in SQL over all records and calls, with the result as a table, a chart or a file; saved questions,
and the history of the user.

It runs in a process of its own, on a recent copy of the store. Beside a number of a party the page has its name in the
directory; the file and the API have what the query selects, and nothing else.
"""

import asyncio
import csv
import io
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Response, get
from litestar.params import QueryParameter
from markupsafe import Markup

from onhook.appdb.saved_questions import SavedQuestion, normalize_sql
from onhook.appdb.sql_history import PastQuery
from onhook.cdr.csv_injection import escape_cell
from onhook.console.auth.access import get_principal
from onhook.console.pages.page import Message, render_page
from onhook.console.pages.rendering import View, render
from onhook.console.pages.reports.report import Chart
from onhook.console.pages.sql_chart import build_chart
from onhook.console.pages.sql_names import PARTY_COLUMNS, NamedCells, label_parties, name_cells
from onhook.console.parameters import SEQ_MAX, ReaderZone
from onhook.console.queries.audited_reads import audit_or_log_read
from onhook.console.queries.directory import load_names
from onhook.console.queries.saved_questions import (
    find_question,
    may_change_question,
    note_or_log_query,
    require_user,
)
from onhook.console.queries.sql import DatedResult, run_sql
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import NotAllowed, OnhookError
from onhook.lib.messages import mark
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
        mark("Total talk by person"),
        (
            "SELECT answered_by, sum(talk_duration) AS seconds, count(*) AS calls\n"
            "FROM calls WHERE answered_by <> ''\nGROUP BY ALL ORDER BY seconds DESC LIMIT 20"
        ),
    ),
    (
        mark("Calls by hour of the day, in UTC"),
        (
            "SELECT strftime(started_at, '%H:00') AS hour, count(*) AS calls\n"
            "FROM calls WHERE started_at >= now()::TIMESTAMP - INTERVAL 30 DAY\nGROUP BY ALL ORDER BY hour"
        ),
    ),
    (
        mark("Answer rate by DID"),
        (
            "SELECT did_number, round(100.0 * count(*) FILTER (status = 'ANSWERED') / count(*), 1) AS percent,\n"
            "    count(*) AS calls\nFROM calls WHERE type = 'Inbound' AND did_number <> ''\n"
            "GROUP BY ALL ORDER BY calls DESC, did_number LIMIT 20"
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
QuestionQuery = Annotated[int | None, QueryParameter(description="Number of a saved question", ge=1, le=SEQ_MAX)]
HistoryQuery = Annotated[int | None, QueryParameter(description="Number of a past query", ge=1, le=SEQ_MAX)]


class SqlTableView(View, frozen=True, kw_only=True):
    """Values of the table of a result; `parties` are the cells that have a name, by row and column."""

    template: ClassVar = "sql_table.html"
    columns: Sequence[str]
    rows: Sequence[Sequence[SqlCell]]
    parties: NamedCells


class SqlView(View, frozen=True, kw_only=True):
    """Values of the page: a query, its result and the time of its data, the columns that there are, and examples; the
    questions that the user sees, and those that the user may change by number. `question` is the one that is open.
    """

    template: ClassVar = "sql.html"
    sql: str = ""
    name: str = ""
    result: SqlResult | None = None
    table: Markup = Markup()
    shown_count: int = 0
    data_at: datetime | None = None
    age_seconds: int = 0
    chart: Chart | None = None
    error: str = ""
    error_hint: str = ""
    save_error: str = ""
    message: str = ""
    question: SavedQuestion | None = None
    questions: Sequence[SavedQuestion] = ()
    changeable_ids: frozenset[int] = frozenset()
    history: Sequence[PastQuery] = ()
    tables: Sequence[SqlTable] = SQL_TABLES
    examples: Sequence[tuple[str, str]] = EXAMPLES
    seconds_max: int = QUERY_SECONDS_MAX
    characters_max: int = SQL_CHARACTERS_MAX


@get("/sql", include_in_schema=False)
async def sql_page(  # noqa: PLR0917 - the parameters of the URL
    request: AnyRequest,
    app_state: AppStateDep,
    reader_zone: ReaderZone,
    sql: Sql = "",
    question: QuestionQuery = None,
    history: HistoryQuery = None,
    message: Message = "",
) -> Response[str]:
    """Return the page with the query, its result, and the available columns. A question or a past query is run where no
    query is given.
    """
    opened = None if question is None else await find_question(app_state, require_user(request), question)
    sql = normalize_sql(sql)
    if not sql and opened is not None:
        sql = opened.sql
    elif not sql and history is not None:
        sql = (await app_state.appdb.sql_history.get(history, require_user(request).author)).sql
    view = await _run(request, app_state, sql) if sql else SqlView()
    return await _render(request, app_state, reader_zone, view, question=opened, message=message)


async def render_query(
    request: AnyRequest, app_state: AppState, zone: ReaderZone, sql: str, **extra_values: Any
) -> Response[str]:
    """Return the page with a query that is not run."""
    return await _render(request, app_state, zone, SqlView(sql=normalize_sql(sql)), **extra_values)


@get("/sql.csv", include_in_schema=False)
async def sql_file(request: AnyRequest, app_state: AppStateDep, sql: Sql) -> Response[bytes]:
    """Return the result as CSV (RFC 4180, UTF-8); cells that a spreadsheet would take for a formula are escaped. The
    name of a file that does not have all rows says so.
    """
    dated = await run_sql(request, app_state, sql)
    await audit_or_log_read(app_state, f"file of an SQL query: {sql}")
    result = dated.result
    name = f"result-first-{len(result.rows)}-rows.csv" if result.is_truncated else "result.csv"
    return Response(
        await asyncio.to_thread(_write_csv, result),
        media_type="text/csv; charset=utf-8; header=present",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


ROUTES = (sql_page, sql_file)


async def _render(
    request: AnyRequest, app_state: AppState, zone: ReaderZone, view: SqlView, **extra_values: Any
) -> Response[str]:
    """Return the page of a view, with the questions and the history of the user."""
    principal = get_principal(request.scope)
    if principal is not None and principal.can_save:
        questions = await app_state.appdb.saved_questions.visible(principal.author)
        extra_values |= {
            "questions": questions,
            "changeable_ids": frozenset(
                question.question_id for question in questions if may_change_question(principal, question)
            ),
            "history": await app_state.appdb.sql_history.of_author(principal.author),
        }
    return await render_page(request, app_state, zone, msgspec.structs.replace(view, **extra_values))


async def _run(request: AnyRequest, app_state: AppState, sql: str) -> SqlView:
    """Run a query; what went wrong is on the page with it."""
    try:
        dated = await run_sql(request, app_state, sql)
    except NotAllowed:
        raise
    except OnhookError as error:
        return SqlView(sql=sql, error=error.message, error_hint=error.hint)
    await note_or_log_query(request, app_state, sql)
    return await _result_view(app_state, sql, dated)


async def _result_view(app_state: AppState, sql: str, dated: DatedResult) -> SqlView:
    result = dated.result
    rows = result.rows[: min(ROWS_MAX, CELLS_MAX // max(1, len(result.columns)))]
    parties: NamedCells = {}
    if PARTY_COLUMNS.intersection(result.columns):
        directory, pbxs = await load_names(app_state), await app_state.appdb.pbxs()
        sns = {pbx.name: pbx.sn for pbx in pbxs}
        parties = await asyncio.to_thread(name_cells, result.columns, result.rows, directory, sns)
    # In threads: a table of 50,000 cells, and a chart of 10,000 rows, take a good part of a second.
    table = await asyncio.to_thread(render, SqlTableView(columns=result.columns, rows=rows, parties=parties))
    return SqlView(
        sql=sql,
        result=result,
        table=Markup(table),  # noqa: S704 - the template has escaped each cell
        shown_count=len(rows),
        data_at=result.data_at,
        age_seconds=dated.age_seconds,
        chart=await asyncio.to_thread(build_chart, label_parties(result, parties)),
    )


def _write_csv(result: SqlResult) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([escape_cell(name) for name in result.columns])
    writer.writerows(["" if cell is None else escape_cell(str(cell)) for cell in row] for row in result.rows)
    return text.getvalue().encode()
