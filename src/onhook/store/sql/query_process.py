"""A process that answers one query, and ends: `python -m onhook.store.sql.query_process PID`, with that of its parent.

Invariants: it reads a copy of the store that it cannot change, and after opening it nothing else: no file, no socket,
no other process. Memory, processor time and time are limited by the kernel.
"""

import json
import os
import sys
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

import duckdb
import msgspec

from onhook.lib.messages import mark
from onhook.store.sql.confinement import ProcessLimits, confine_process, forbid_new_files
from onhook.store.sql.contract import QUERY_SECONDS_MAX, SQL_ROWS_MAX, WALL_SECONDS_MAX, SqlCell
from onhook.store.sql.validation import ONLY_SELECT_MESSAGE, SELECT_HINT, check_syntax_tree
from onhook.store.sql.wire import QueryError, QueryFailure, SqlReply, SqlRequest

MEMORY_BYTES_MAX = 448 * 2**20
"""Address space of a process, 110 MiB of it for Python and the engine: two of them stay below 1 GB."""

ENGINE_MEMORY = "224MiB"
"""What the engine plans with; texts and lists that it does not count are limited by the address space alone."""

CPU_SECONDS_MAX = QUERY_SECONDS_MAX + 1
"""Processor time, the start included."""

NICENESS = 19
"""Of a user's text: it takes the processor time that the rest of the server leaves. The start before it is cheap, and
is over soon also where other programs keep the machine busy.
"""

CELL_CHARACTERS_MAX = 10_000
"""Characters of one cell: a text concatenated from all rows would only be load."""

RESULT_BYTES_MAX = 8 * 2**20
"""Of all rows together: 10,000 rows with all columns of a record."""

COLUMNS_MAX = 500
"""Ten times the columns of both views."""

_ERROR_CHARACTERS_MAX = 300

_TYPES_QUERY: Final = (
    "SELECT 1.5::DECIMAL(4, 1), current_date, TIME '01:00', INTERVAL 1 DAY, uuid(), 'a'::BLOB, [1], {'a': 1},"
    " MAP {'a': 1}, '1'::BIT, 1::HUGEINT, TIMESTAMP '2026-01-01', now()::VARCHAR"
)
"""A value of each type."""


def main() -> int:
    """Answer the query on standard input."""
    limits = ProcessLimits(
        memory_bytes=MEMORY_BYTES_MAX,
        cpu_seconds=CPU_SECONDS_MAX,
        wall_seconds=WALL_SECONDS_MAX,
        file_bytes=0,
    )
    return answer(
        limits,
        lambda content: run_request(msgspec.json.decode(content, type=SqlRequest)),
        memory_failure=_too_large_failure(),
    )


def answer(limits: ProcessLimits, run: Callable[[bytes], SqlReply], *, memory_failure: QueryFailure) -> int:
    """Set the limits of this process, run the request on standard input, and print the reply; `memory_failure` is that
    of a request that reaches a limit of memory.
    """
    confine_process(limits, int(sys.argv[1]))
    try:
        reply = run(sys.stdin.buffer.read())
    except QueryError as error:
        reply = SqlReply(failure=error.failure)
    except (duckdb.OutOfMemoryException, MemoryError, RecursionError):
        reply = SqlReply(failure=memory_failure)
    sys.stdout.buffer.write(msgspec.json.encode(reply))
    return 0


def _too_large_failure() -> QueryFailure:
    return QueryFailure(
        message=mark("the query needs more than {memory} MiB of memory and was ended"),
        hint=mark("query a shorter time or fewer columns, and group rows in place of collecting them"),
        values={"memory": MEMORY_BYTES_MAX // 2**20},
    )


def run_request(request: SqlRequest) -> SqlReply:
    """Run the query on the copy. Raises `QueryError`, and the engine's errors of memory."""
    with open_copy(request.path) as connection:
        return run_query(connection, request.sql)


def run_query(connection: duckdb.DuckDBPyConnection, sql: str) -> SqlReply:
    """Run the query. Raises `QueryError`, and the engine's errors of memory."""
    try:
        validate_sql(connection, sql)
        return _read_result(connection.sql(sql))
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        raise _sql_error(error) from error


def _load_types(connection: duckdb.DuckDBPyConnection) -> None:
    """Read a value of each type, while this process still can open the files of Python modules."""
    connection.execute(_TYPES_QUERY).fetchall()


def open_copy(path: str) -> duckdb.DuckDBPyConnection:
    """Open a copy of the store for reading, and cut this process off from everything else."""
    connection = duckdb.connect(path, read_only=True, config=engine_config(ENGINE_MEMORY))
    connection.execute("SET TimeZone = 'UTC'")
    _load_types(connection)
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    forbid_new_files()
    os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    return connection


def engine_config(memory_limit: str) -> dict[str, Any]:
    """Return the settings of an engine that runs in one thread, and needs no file but its own."""
    return {
        "memory_limit": memory_limit,
        "threads": 1,
        "async_threads": 0,
        "temp_directory": "",
        "python_enable_replacements": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }


def validate_sql(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Check that the text is one safe SELECT. Raises `QueryError`, and the engine's errors."""
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise QueryError(QueryFailure(message=ONLY_SELECT_MESSAGE, hint=SELECT_HINT))
    check_syntax_tree(json.loads(connection.execute("SELECT json_serialize_sql($1)", [sql]).fetchall()[0][0]))


def _read_result(relation: duckdb.DuckDBPyRelation) -> SqlReply:
    """Run the query; read as much of its result as may be shown."""
    columns = tuple(relation.columns)
    if len(columns) > COLUMNS_MAX:
        message = mark("the result has {count} columns, {limit} is the limit")
        values: dict[str, str | int] = {"count": len(columns), "limit": COLUMNS_MAX}
        raise QueryError(QueryFailure(message=message, hint=mark("select fewer columns"), values=values))
    rows: list[Any] = []
    result_bytes = 0
    for row in _fetch_rows(_with_zones_as_text(relation).limit(SQL_ROWS_MAX + 1)):
        encoded_row = msgspec.json.encode([_to_cell(value) for value in row])
        result_bytes += len(encoded_row)
        if len(rows) == SQL_ROWS_MAX or result_bytes > RESULT_BYTES_MAX:
            return SqlReply(columns=columns, rows=rows, is_truncated=True)
        rows.append(msgspec.Raw(encoded_row))
    return SqlReply(columns=columns, rows=rows)


def _fetch_rows(relation: duckdb.DuckDBPyRelation) -> list[Any]:
    try:
        return relation.fetchall()
    except (OverflowError, ValueError) as error:
        # The engine has larger values than Python, such as intervals of millions of years.
        raise QueryError(
            QueryFailure(
                message=mark("a value of the result cannot be shown: {error}"),
                hint=mark("cast it to VARCHAR"),
                values={"error": str(error)[:_ERROR_CHARACTERS_MAX]},
            )
        ) from error


def _with_zones_as_text(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Return the relation with times with a zone as text: the engine needs a library for them in Python."""
    has_zone = ["TIME ZONE" in str(column_type) for column_type in relation.types]
    if not any(has_zone):
        return relation
    return relation.project(
        ", ".join(f"#{number}::VARCHAR" if is_zoned else f"#{number}" for number, is_zoned in enumerate(has_zone, 1))
    )


def _to_cell(value: Any) -> SqlCell:
    """Return a value that JSON, a file and a page can represent."""
    match value:
        case None | bool():
            return value
        case int():
            return value if -(2**63) <= value < 2**64 else str(value)
        case float():
            return value if value - value == 0 else str(value)
        case datetime():
            return value.isoformat(sep=" ")
        case Decimal():
            return float(value)
        case date() | time() | timedelta():
            return str(value)
    return str(value)[:CELL_CHARACTERS_MAX]


def _sql_error(error: duckdb.Error) -> QueryError:
    """Return the engine's error for a reader: its first line says what is wrong."""
    text = str(error).partition("\n")[0][:_ERROR_CHARACTERS_MAX]
    return QueryError(
        QueryFailure(message=mark("SQL error: {error}"), hint=mark("correct the query"), values={"error": text})
    )


if __name__ == "__main__":
    sys.exit(main())
