"""`onhook sql`: a SELECT over all calls and records, run in a process of its own."""

import asyncio
import csv
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from onhook.appdb.tokens import ADMIN_NAME, token_author
from onhook.cdr.csv_injection import escape_cell
from onhook.cli.formats import encode_json, print_table
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption, Format, FormatOption, load_config
from onhook.cli.server_lookup import open_data_client
from onhook.config import Config
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.lib.text import UNKNOWN
from onhook.store.sql.contract import SqlCell
from onhook.store.sql.views import SQL_TABLES

AUTHOR = token_author(ADMIN_NAME)
"""Commands see the questions of the administrator's token, which is theirs, and the shared ones."""

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: onhook sql 'SELECT status, count(*) AS calls FROM calls GROUP BY ALL'")
def sql(
    query: Annotated[str, typer.Argument(metavar="QUERY", help=_("One SELECT over `calls` and `records`"))] = "",
    *,
    saved: Annotated[
        str | None, typer.Option("--saved", metavar="NAME", help=_("Run a saved question, one that is shared"))
    ] = None,
    list_questions: Annotated[bool, typer.Option("--list", help=_("List the saved questions"))] = False,
    columns: Annotated[bool, typer.Option("--columns", help=_("List the columns that there are"))] = False,
    output_format: FormatOption = "table",
    data: DataOption = None,
) -> None:
    """Run one SELECT in the SQL of DuckDB on a recent copy of the store. Times are in UTC."""
    if columns:
        _print_columns()
        return
    if list_questions:
        asyncio.run(_print_questions(data, output_format))
        return
    if saved is not None and query:
        raise UsageError(_("there are two queries"), location="--saved", hint=_("leave one of them out"))
    if saved is None and not query:
        raise UsageError(
            _("there is no query"),
            hint=_("`onhook sql --columns` lists what it may select, `onhook sql --list` the saved questions"),
        )
    asyncio.run(_run(data, query, saved, output_format))


async def _run(data: str | None, query: str, saved: str | None, output_format: Format) -> None:
    if saved is not None:
        async with open_appdb(data) as appdb:
            query = (await appdb.saved_questions.find_visible(saved, AUTHOR)).sql
    await _print_result(load_config(data=data), query, output_format)


async def _print_questions(data: str | None, output_format: Format) -> None:
    """Print the questions that are shared, and those that were saved with the administrator's token."""
    async with open_appdb(data) as appdb:
        questions = await appdb.saved_questions.visible(AUTHOR)
    if output_format == "json":
        print(encode_json(questions))
        return
    rows = [
        [question.name, _("yes") if question.is_shared else _("no"), " ".join(question.sql.split())]
        for question in questions
    ]
    if output_format == "csv":
        _print_csv(("name", "shared", "query"), rows)
    else:
        print_table(rows, ("name", "shared", "query"))


async def _print_result(config: Config, query: str, output_format: Format) -> None:
    async with await open_data_client(config) as client:
        answer = await client.sql(query)
    columns, rows = answer["columns"], answer["data"]
    if output_format == "json":
        print(encode_json(answer))
    elif output_format == "csv":
        _print_csv(columns, rows)
    else:
        print_table([[UNKNOWN if cell is None else str(cell) for cell in row] for row in rows], columns)
    note = _("data of {time}, {seconds} seconds old", time=answer["data_at"], seconds=answer["age_seconds"])
    more = _("; there are more rows") if answer["is_truncated"] else ""
    print(f"{note}{more}", file=sys.stderr)


def _print_csv(columns: Sequence[str], rows: Sequence[Sequence[SqlCell]]) -> None:
    """Print CSV by RFC 4180: lines end with CR LF, also on a terminal."""
    writer = csv.writer(sys.stdout, lineterminator="\r\n")
    writer.writerow([escape_cell(name) for name in columns])
    writer.writerows(["" if cell is None else escape_cell(str(cell)) for cell in row] for row in rows)


def _print_columns() -> None:
    rows = [(table.name, column.name, _(column.description)) for table in SQL_TABLES for column in table.columns]
    print_table(rows, ("table", "column", "content"))
