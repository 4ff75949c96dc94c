"""SQL written by users: one SELECT over two views, limited in time, rows and text.

Each of these invariants is enough by itself: DuckDB reads and writes no file but its own and a few pipes
(`connections.py`), and no query can change that; the query runs in a read-only transaction; and it is parsed first, so
that only a SELECT from the two views, from its own subqueries and from safe table functions is run.
"""

import json
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import duckdb

from onhook.lib.errors import UsageError
from onhook.lib.messages import _, mark
from onhook.store.contract import SQL_CHARACTERS_MAX, SQL_ROWS_MAX, SqlResult
from onhook.store.schema import CALLS, RECORD_COLUMNS, column_expression

CELL_CHARACTERS_MAX = 10_000
"""Characters of one cell: a text concatenated from all rows would only be load."""

_TIME_COLUMNS = ("started_at", "answered_at", "ended_at")
_RECORD_SELECTION = ", ".join(
    f"make_timestamp({column_expression(name)} * 1000000) AS {name}"
    if name in _TIME_COLUMNS
    else f"make_timestamp(received_at) AS {name}"
    if name == "received_at"
    else f"{column_expression(name)} AS {name}"
    for name in RECORD_COLUMNS
)
_CALL_SELECTION = ", ".join(
    f"make_timestamp({name} * 1000000) AS {name}" if name in _TIME_COLUMNS else name
    for name in CALLS
    if name not in ("call_key", "type_folded", "from_suffix", "to_suffix")
)
VIEWS = {
    "all_records": f"SELECT {_RECORD_SELECTION} FROM main.legs",
    "all_calls": f"SELECT {_CALL_SELECTION} FROM main.calls",
}
"""The views: records with the columns of all lists and files, and calls. Times are in UTC."""

TABLE_FUNCTIONS = frozenset({"range", "generate_series", "unnest"})
"""Table functions that read nothing."""

FORBIDDEN_FUNCTIONS = frozenset(
    {"nextval", "currval", "pg_sleep", "sleep_ms", "write_log", "getvariable", "current_setting", "current_query"}
    | {"query", "query_table", "getenv", "parse_duckdb_log_message"}
)
"""Functions that wait, reveal the engine, or run another text."""

_SOURCE_TYPES = frozenset({"BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY", "CTE"})
_SOURCE_KEYS = ("from_table", "left", "right", "source")

_SELECT_HINT = mark("select from all_records or all_calls")


def run_sql(connection: duckdb.DuckDBPyConnection, sql: str) -> SqlResult:
    """Run the query; see `Store.query_sql`. The connection is in a read-only transaction."""
    validate_sql(connection, sql)
    try:
        connection.execute(sql)
        columns = tuple(str(column[0]) for column in connection.description or ())
        rows = connection.fetchmany(SQL_ROWS_MAX + 1)
    except (duckdb.InterruptException, duckdb.OutOfMemoryException):
        raise
    except duckdb.Error as error:
        raise UsageError(
            _("SQL error: {error}", error=_error_message(error)), location="sql", hint=_("correct the query")
        ) from error
    return SqlResult(
        columns=columns,
        rows=[[_to_cell(value) for value in row] for row in rows[:SQL_ROWS_MAX]],
        is_truncated=len(rows) > SQL_ROWS_MAX,
    )


def validate_sql(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Check that the text is one safe SELECT. Raises `UsageError`."""
    if not sql.strip() or len(sql) > SQL_CHARACTERS_MAX:
        raise UsageError(
            _("this is not a query"),
            location="sql",
            hint=_("write a SELECT of up to {limit} characters", limit=SQL_CHARACTERS_MAX),
        )
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise UsageError(
            _("SQL error: {error}", error=_error_message(error)), location="sql", hint=_("correct the query")
        ) from error
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise UsageError(_("only one SELECT is allowed"), location="sql", hint=_(_SELECT_HINT))
    syntax_tree = json.loads(connection.execute("SELECT json_serialize_sql($1)", [sql]).fetchall()[0][0])
    if syntax_tree.get("error"):
        raise UsageError(_("only one SELECT is allowed"), location="sql", hint=_(_SELECT_HINT))
    table_names = {*VIEWS, *_cte_names(syntax_tree)}
    for node in _walk_nodes(syntax_tree):
        _check_node(node, table_names)


def _check_node(node: dict[str, Any], table_names: set[str]) -> None:
    for key in _SOURCE_KEYS:
        source = node.get(key)
        # An expression has left and right sides too; those have a class, and sources have none.
        if isinstance(source, dict) and "class" not in source and source.get("type") not in _SOURCE_TYPES:
            raise UsageError(
                _("cannot select from {kind}", kind=source.get("type")), location="sql", hint=_(_SELECT_HINT)
            )
    if node.get("type") == "BASE_TABLE":
        name = str(node.get("table_name", ""))
        if node.get("schema_name") or node.get("catalog_name") or name.lower() not in table_names:
            raise UsageError(_("unknown table {name!r}", name=name[:80]), location="sql", hint=_(_SELECT_HINT))
    if node.get("type") == "TABLE_FUNCTION":
        function = node.get("function")
        name = str(function.get("function_name", "")) if isinstance(function, dict) else ""
        if name.lower() not in TABLE_FUNCTIONS:
            raise UsageError(_("{name!r} is not allowed here", name=name[:80]), location="sql", hint=_(_SELECT_HINT))
    name = str(node.get("function_name", "")).lower()
    if name in FORBIDDEN_FUNCTIONS or name.startswith("__"):
        raise UsageError(_("{name!r} is not allowed here", name=name[:80]), location="sql", hint=_("remove it"))


def _cte_names(syntax_tree: Any) -> set[str]:
    """Return the names that the query gives its subqueries: `WITH name AS (...)`."""
    return {
        str(entry.get("key", "")).lower()
        for node in _walk_nodes(syntax_tree)
        if isinstance(ctes := node.get("cte_map"), dict)
        for entry in ctes.get("map", [])
        if isinstance(entry, dict)
    }


def _walk_nodes(tree: Any) -> Iterator[dict[str, Any]]:
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            yield node
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)


def _to_cell(value: Any) -> str | int | float | bool | None:
    """Return a value that JSON, a file and a page can represent."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if value - value == 0 else str(value)
        case datetime():
            return value.isoformat(sep=" ")
        case Decimal():
            return float(value)
        case date() | time() | timedelta():
            return str(value)
    return str(value)[:CELL_CHARACTERS_MAX]


def _error_message(error: duckdb.Error) -> str:
    return str(error).partition("\n")[0][:300]
