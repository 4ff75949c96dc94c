"""CDR tables of PostgreSQL, MySQL, MariaDB or a SQLite file, read a page at a time.

Invariants: nothing is written. One page is held in memory, and no query takes longer than a minute. A page begins with
the last row of the previous page, so that rows of the same time are never separated. No error contains a password.
"""

import sqlite3
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import msgspec

from onhook.lib.deferred_module import DeferredModule
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.pbx.asterisk.call import CUSTOM_COLUMN_CHARACTERS_MAX, CUSTOM_COLUMNS_MAX
from onhook.pbx.text_encoding import escape_bytes
from onhook.sync.cdr_files import read_error

if TYPE_CHECKING:
    import pymysql
    from pg8000 import dbapi
else:  # few PBXs keep their CDRs in such a database
    dbapi, pymysql = DeferredModule("pg8000.dbapi"), DeferredModule("pymysql")

PAGE_ROWS = 5_000
"""Rows of a page: some 3 MB."""

CONNECT_SECONDS_MAX = 10
QUERY_SECONDS_MAX = 60
"""Sorting a table of ten million rows without an index takes less."""

APPLICATION_NAME = "onhook"
"""Name of the connection in the database."""

_START_COLUMNS = ("calldate", "start")
"""In this order: in a table with both, `calldate` is always set."""

_ID_COLUMNS = ("uniqueid", "linkedid")
_ROW_NUMBER_COLUMNS = frozenset({"id", "acctid", "recid"})
"""Numbers that the database gives to rows: they say nothing about a call."""

_TIME_COLUMNS = (*_START_COLUMNS, "answer", "end")


class CdrTable(msgspec.Struct, frozen=True, kw_only=True):
    """Table; `location` is a path or `ENGINE://USER@HOST:PORT/DATABASE`, without the password."""

    location: str
    name: str
    password: str = ""

    def __repr__(self) -> str:
        return f"CdrTable({self.location!r}, {self.name!r})"


class _SqlSyntax(msgspec.Struct, frozen=True, kw_only=True):
    """Syntax of an engine for names, texts, times and placeholders."""

    quote: str = '"'
    text_type: str = "text"
    time_type: str = ""
    """Type of a point in time, or empty where times are texts."""
    placeholder: str = "%s"

    @property
    def time_placeholder(self) -> str:
        return self.as_time(self.placeholder)

    def quote_name(self, name: str) -> str:
        return self.quote + name.replace(self.quote, 2 * self.quote) + self.quote

    def as_text(self, expression: str) -> str:
        return f"CAST({expression} AS {self.text_type})"

    def as_time(self, expression: str) -> str:
        return f"CAST({expression} AS {self.time_type})" if self.time_type else expression


_SYNTAXES: Mapping[str, _SqlSyntax] = {
    "": _SqlSyntax(placeholder="?"),
    "postgresql": _SqlSyntax(time_type="timestamp"),
    "mysql": _SqlSyntax(quote="`", text_type="char"),
}
_ENGINES = {"": "", "postgresql": "postgresql", "postgres": "postgresql", "mysql": "mysql", "mariadb": "mysql"}


def read_table_rows(
    table: CdrTable, columns: frozenset[str], *, since: str = "", until: str = "", page_rows: int = PAGE_ROWS
) -> Iterator[Mapping[str, str]]:
    """Yield the first row of the table, then the rows that begin in a range of the PBX's local time, in order.

    A row has these columns, and the first of those that the PBX's operator has added, cut to the length that is kept.
    Times are `YYYY-MM-DD HH:MM:SS`, or empty for no bound; a row is by column name in lower case. Raises `UsageError`,
    `Unavailable`.
    """
    try:
        with closing(_connect(table)) as connection:
            yield from _TableReader(connection, table, columns, page_rows).read(since, until)
    except (OSError, sqlite3.Error, dbapi.Error, pymysql.Error, EOFError) as error:
        raise read_error(table.location, _describe_error(error)) from error


class _CdrQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Columns of one table, and the SQL for its pages. Names come from the table itself; values are bound."""

    syntax: _SqlSyntax
    table_name: str
    columns: Sequence[str]
    added_columns: Sequence[str]
    start_column: str
    id_column: str
    sequence_columns: Sequence[str]

    def build_page_query(
        self, bounds: Sequence[tuple[str, str]], last_row_key: tuple[str, str] | None, rows_max: int
    ) -> tuple[str, list[str]]:
        """Return the SQL and the values for the rows in bounds of the start time (operator and time), from the row with
        this start time and id on.
        """
        conditions = [f"{self._start} {operator} {self.syntax.time_placeholder}" for operator, _unused in bounds]
        values = [value for _unused, value in bounds]
        if last_row_key is not None:
            start_time, row_id = last_row_key
            is_same_start = (
                f"{self._start} = {self.syntax.time_placeholder} AND {self._id} >= {self.syntax.placeholder}"
            )
            conditions.append(f"({self._start} > {self.syntax.time_placeholder} OR ({is_same_start}))")
            values += [start_time, start_time, row_id]
        where_clause = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        select_list = ", ".join(map(self._select_expression, (*self.columns, *self.added_columns)))
        table = self.syntax.quote_name(self.table_name)
        sql = f"SELECT {select_list} FROM {table}{where_clause} ORDER BY {self._order_by} LIMIT {rows_max}"  # noqa: S608
        return sql, values

    @property
    def _start(self) -> str:
        return self.syntax.as_time(self.syntax.quote_name(self.start_column))

    @property
    def _id(self) -> str:
        return f"COALESCE({self.syntax.as_text(self.syntax.quote_name(self.id_column))}, '')"

    @property
    def _order_by(self) -> str:
        sequences = (self.syntax.as_text(self.syntax.quote_name(name)) for name in self.sequence_columns)
        return ", ".join((self._start, self._id, *sequences))

    def _select_expression(self, name: str) -> str:
        """Return the expression for a column as text, with times in the same form whatever the type of the column; an
        empty time is no time.
        """
        expression = self.syntax.quote_name(name)
        if name == self.start_column:
            expression = self._start
        elif name.lower() in _TIME_COLUMNS:
            expression = self.syntax.as_time(f"NULLIF({self.syntax.as_text(expression)}, '')")
        elif name in self.added_columns:
            return f"SUBSTR({self.syntax.as_text(expression)}, 1, {CUSTOM_COLUMN_CHARACTERS_MAX})"
        return self.syntax.as_text(expression)


class _TableReader:
    """One reading, over one connection."""

    def __init__(self, connection: Any, table: CdrTable, columns: frozenset[str], page_rows: int) -> None:
        self._connection = connection
        self._page_rows = page_rows
        syntax = _SYNTAXES[_engine(table.location)]
        names = _read_column_names(connection, table, syntax)
        self._query = _CdrQuery(
            syntax=syntax,
            table_name=table.name,
            columns=[name for name in names if name.lower() in columns],
            added_columns=_added_columns(names, columns),
            start_column=_require_column(names, _START_COLUMNS, table),
            id_column=_require_column(names, _ID_COLUMNS, table),
            sequence_columns=[name for name in names if name.lower() == "sequence"],
        )

    def read(self, since: str, until: str) -> Iterator[Mapping[str, str]]:
        first_rows = self._fetch_page([], 1)
        if first_rows and since and self._row_key(first_rows[0])[0] < since:
            yield first_rows[0]
        bounds = [(">=", since)] if since else []
        bounds += [("<", until)] if until else []
        previous_rows: list[Mapping[str, str]] = []
        while page := self._fetch_page(bounds, self._page_rows, previous_rows[-1] if previous_rows else None):
            new_rows = [row for row in page if row not in previous_rows]
            yield from new_rows
            if len(page) < self._page_rows:
                return
            if not new_rows:
                raise UsageError(_("too many CDRs have the same time and id"), hint=_("check the table"))
            last_row = page[-1]
            previous_rows = [row for row in page if self._row_key(row) == self._row_key(last_row)]

    def _fetch_page(
        self, bounds: Sequence[tuple[str, str]], rows_max: int, last_row: Mapping[str, str] | None = None
    ) -> list[Mapping[str, str]]:
        last_row_key = None if last_row is None else self._row_key(last_row)
        sql, values = self._query.build_page_query(bounds, last_row_key, rows_max)
        names = [column.lower() for column in (*self._query.columns, *self._query.added_columns)]
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(sql, tuple(values))
            return [dict(zip(names, map(_to_text, row), strict=True)) for row in cursor.fetchall()]

    def _row_key(self, row: Mapping[str, str]) -> tuple[str, str]:
        """Return the start time and the id of a row: what a page is ordered by."""
        return row[self._query.start_column.lower()], row[self._query.id_column.lower()]


def _read_column_names(connection: Any, table: CdrTable, syntax: _SqlSyntax) -> list[str]:
    """Return the names of a table's columns. Raises `UsageError`."""
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute(f"SELECT * FROM {syntax.quote_name(table.name)} LIMIT 0")  # noqa: S608 - a name, quoted
            return [str(column[0]) for column in cursor.description]
    except (sqlite3.OperationalError, dbapi.DatabaseError, pymysql.err.ProgrammingError) as error:
        raise UsageError(
            _("the table {name!r} cannot be read: {error}", name=table.name, error=_describe_error(error)),
            location=table.location,
            hint=_("name the table with --table, or at the end of the address"),
        ) from error


def _added_columns(names: Sequence[str], columns: frozenset[str]) -> list[str]:
    """Return the columns that the PBX's operator has added, as many as are kept, in order of their names."""
    added_names = {name.lower(): name for name in names if name.lower() not in columns | _ROW_NUMBER_COLUMNS}
    return [name for _lower_name, name in sorted(added_names.items())][:CUSTOM_COLUMNS_MAX]


def _require_column(names: Sequence[str], candidates: Sequence[str], table: CdrTable) -> str:
    """Return the name of the first candidate that the table has. Raises `UsageError`."""
    column = next((name for candidate in candidates for name in names if name.lower() == candidate), None)
    if column is None:
        raise UsageError(
            _("the table {name!r} has no column {columns}", name=table.name, columns=" / ".join(candidates)),
            location=table.location,
            hint=_("let the PBX write it, and add it to the table"),
        )
    return column


def _connect(table: CdrTable) -> Any:
    engine, parts = _engine(table.location), urlsplit(table.location)
    if not engine:
        # Several threads use the connection, one after the other.
        uri = f"{Path(table.location).absolute().as_uri()}?mode=ro"
        database = sqlite3.connect(uri, timeout=CONNECT_SECONDS_MAX, uri=True, check_same_thread=False)
        database.text_factory = escape_bytes
        return database
    address: dict[str, Any] = {
        "user": unquote(parts.username or ""),
        "host": parts.hostname or "",
        "port": parts.port,
        "database": unquote(parts.path.strip("/")),
        "password": table.password,
    }
    tls_context = ssl.create_default_context() if parts.query == "tls=on" else None
    if engine == "postgresql":
        # The driver's time-out applies to each read of the socket; the server's own ends a query.
        limits = {"statement_timeout": str(QUERY_SECONDS_MAX * 1000), "default_transaction_read_only": "on"}
        return dbapi.connect(
            **address,
            ssl_context=tls_context,
            timeout=QUERY_SECONDS_MAX,
            application_name=APPLICATION_NAME,
            startup_params=limits,
        )
    return pymysql.connect(
        **address,
        ssl=tls_context,
        connect_timeout=CONNECT_SECONDS_MAX,
        read_timeout=QUERY_SECONDS_MAX,
        write_timeout=QUERY_SECONDS_MAX,
        charset="utf8mb4",
        init_command="SET SESSION TRANSACTION READ ONLY",
        program_name=APPLICATION_NAME,
    )


def _engine(location: str) -> str:
    scheme, separator, _unused = location.partition("://")
    return _ENGINES[scheme] if separator else ""


def _to_text(value: Any) -> str:
    if value is None:
        return ""
    return escape_bytes(bytes(value)) if isinstance(value, bytes | bytearray) else str(value)


def _describe_error(error: BaseException) -> str:
    """Return the database's message in one line."""
    detail = error.args[-1] if error.args else error
    detail = detail.get("M", detail) if isinstance(detail, dict) else detail
    return " ".join(str(detail).split())[:300]
