"""Tables in which a PBX keeps its calls: of PostgreSQL, of MySQL or MariaDB, of a SQLite file; read a page at a time.

Laws: nothing is written there; no more than a page is held, and no question takes longer than a minute; a page begins
with the last row of the one before, so that rows of one moment are never cut apart. No password is in an error.
"""

import sqlite3
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import pg8000.dbapi
import pymysql

from onhook.lib.errors import UsageError
from onhook.sync.cdr_files import unreadable

PAGE_ROWS = 5_000
"""Some 3 MB."""

CONNECT_SECONDS_MAX = 10
QUESTION_SECONDS_MAX = 60
"""A table of ten million rows without an index is sorted in less."""

PROGRAM = "onhook"
"""What the database is told of us."""

_STARTS = ("calldate", "start")
"""In this order: where a table has both, it is `calldate` that always says something."""
_ERRORS = (OSError, sqlite3.Error, pg8000.dbapi.Error, pymysql.Error, EOFError)


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Which one: `place` is a path or `ENGINE://USER@HOST:PORT/DATABASE`; the password is not shown."""

    place: str
    name: str
    password: str = ""

    def __repr__(self) -> str:
        return f"Table({self.place!r}, {self.name!r})"


class _Speech(msgspec.Struct, frozen=True, kw_only=True):
    """How an engine writes a name, a text, a moment, and the mark of a value."""

    quote: str = '"'
    text: str = "CAST({} AS text)"
    moment: str = "{}"
    mark: str = "%s"


_SPEECHES: Mapping[str, _Speech] = {
    "": _Speech(mark="?"),
    "postgresql": _Speech(moment="CAST({} AS timestamp)"),
    "mysql": _Speech(quote="`", text="CAST({} AS char)"),
}
_KINDS = {"": "", "postgresql": "postgresql", "postgres": "postgresql", "mysql": "mysql", "mariadb": "mysql"}


def rows_of_table(
    table: Table, columns: frozenset[str], *, since: str = "", until: str = "", page_rows: int = PAGE_ROWS
) -> Iterator[Mapping[str, str]]:
    """The rows that begin in a stretch of the PBX's wall clock, in order, and before them the first of the table.

    Moments are `YYYY-MM-DD HH:MM:SS`, or empty for no bound; a row is by its columns' names in small letters. Raises
    `UsageError`, `Unavailable`.
    """
    try:
        with closing(_connected(table)) as connection:
            yield from _Reader(connection, table, columns, page_rows).read(since, until)
    except _ERRORS as error:
        raise unreadable(table.place, _why(error)) from error


class _Reader:
    """One reading, over one connection."""

    def __init__(self, connection: Any, table: Table, columns: frozenset[str], page_rows: int) -> None:
        self._connection = connection
        self._speech = _SPEECHES[_kind(table.place)]
        self._table = self._quoted(table.name)
        self._page_rows = page_rows
        names = self._names(table)
        self._columns = [name for name in names if name.lower() in columns]
        self._start = self._one_of(names, _STARTS, table)
        self._id = self._one_of(names, ("uniqueid", "linkedid"), table)
        ordered = [self._moment(self._start), self._id_text(), *(self._texts(names, "sequence"))]
        self._order = ", ".join(ordered)

    def read(self, since: str, until: str) -> Iterator[Mapping[str, str]]:
        first = self._page([], 1)
        if first and since and self._start_of(first[0]) < since:
            yield first[0]
        bounds = [(">=", since)] if since else []
        bounds += [("<", until)] if until else []
        before: list[Mapping[str, str]] = []
        while page := self._page(bounds, self._page_rows, before[-1] if before else None):
            new = [row for row in page if row not in before]
            yield from new
            if len(page) < self._page_rows:
                return
            if not new:
                raise UsageError("too many CDRs have one moment and one id", todo="look at the table: are they real?")
            last = page[-1]
            before = [row for row in page if self._key(row) == self._key(last)]

    def _page(
        self, bounds: Sequence[tuple[str, str]], rows_max: int, after: Mapping[str, str] | None = None
    ) -> list[Mapping[str, str]]:
        start, mark = self._moment(self._start), self._moment_mark()
        wheres, values = [f"{start} {sign} {mark}" for sign, _ in bounds], [value for _, value in bounds]
        if after is not None:
            moment, name = self._key(after)
            wheres.append(f"({start} > {mark} OR ({start} = {mark} AND {self._id_text()} >= {self._speech.mark}))")
            values += [moment, moment, name]
        where = f" WHERE {' AND '.join(wheres)}" if wheres else ""
        chosen = ", ".join(self._shown(name) for name in self._columns)
        # Names are those that the table itself has told; values are bound.
        asked = f"SELECT {chosen} FROM {self._table}{where} ORDER BY {self._order} LIMIT {rows_max}"  # noqa: S608
        names = [name.lower() for name in self._columns]
        return [dict(zip(names, map(_text, row), strict=True)) for row in self._asked(asked, values)]

    def _asked(self, question: str, values: Sequence[str]) -> Sequence[Sequence[Any]]:
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(question, tuple(values))
            rows: Sequence[Sequence[Any]] = cursor.fetchall()
            return rows

    def _names(self, table: Table) -> list[str]:
        try:
            with closing(self._connection.cursor()) as cursor:
                cursor.execute(f"SELECT * FROM {self._table} LIMIT 0")  # noqa: S608 - a name, quoted
                return [str(column[0]) for column in cursor.description]
        except (sqlite3.OperationalError, pg8000.dbapi.DatabaseError, pymysql.err.ProgrammingError) as error:
            raise UsageError(
                f"the table {table.name!r} cannot be read: {_why(error)}",
                where=table.place,
                todo="name the table with --table, or at the end of the address",
            ) from error

    def _one_of(self, names: Sequence[str], wanted: Sequence[str], table: Table) -> str:
        found = next((name for one in wanted for name in names if name.lower() == one), None)
        if found is None:
            raise UsageError(
                f"the table {table.name!r} has no column {' or '.join(wanted)}",
                where=table.place,
                todo="let the PBX write it, and add it to the table",
            )
        return found

    def _texts(self, names: Sequence[str], wanted: str) -> list[str]:
        return [self._speech.text.format(self._quoted(name)) for name in names if name.lower() == wanted]

    def _shown(self, name: str) -> str:
        """As text, moments in the same form whatever the type of their column is; an empty one is none."""
        quoted = self._quoted(name)
        if name == self._start:
            quoted = self._moment(name)
        elif name.lower() in (*_STARTS, "answer", "end"):
            quoted = self._speech.moment.format(f"NULLIF({self._speech.text.format(quoted)}, '')")
        return self._speech.text.format(quoted)

    def _moment(self, name: str) -> str:
        return self._speech.moment.format(self._quoted(name))

    def _moment_mark(self) -> str:
        return self._speech.moment.format(self._speech.mark)

    def _id_text(self) -> str:
        return f"COALESCE({self._speech.text.format(self._quoted(self._id))}, '')"

    def _key(self, row: Mapping[str, str]) -> tuple[str, str]:
        return self._start_of(row), row[self._id.lower()]

    def _start_of(self, row: Mapping[str, str]) -> str:
        return row[self._start.lower()]

    def _quoted(self, name: str) -> str:
        quote = self._speech.quote
        return quote + name.replace(quote, 2 * quote) + quote


def _connected(table: Table) -> Any:
    kind, parts = _kind(table.place), urlsplit(table.place)
    if not kind:
        # Read by several threads, one after the other.
        place = f"{Path(table.place).absolute().as_uri()}?mode=ro"
        return sqlite3.connect(place, timeout=CONNECT_SECONDS_MAX, uri=True, check_same_thread=False)
    reached: dict[str, Any] = {
        "user": unquote(parts.username or ""),
        "host": parts.hostname or "",
        "port": parts.port,
        "database": unquote(parts.path.strip("/")),
        "password": table.password,
    }
    context = ssl.create_default_context() if parts.query == "tls=on" else None
    if kind == "postgresql":
        # Its time-out is of the socket, of each wait alone; the server's own ends a question.
        limits = {"statement_timeout": str(QUESTION_SECONDS_MAX * 1000), "default_transaction_read_only": "on"}
        return pg8000.dbapi.connect(
            **reached,
            ssl_context=context,
            timeout=QUESTION_SECONDS_MAX,
            application_name=PROGRAM,
            startup_params=limits,
        )
    return pymysql.connect(
        **reached,
        ssl=context,
        connect_timeout=CONNECT_SECONDS_MAX,
        read_timeout=QUESTION_SECONDS_MAX,
        write_timeout=QUESTION_SECONDS_MAX,
        charset="utf8mb4",
        init_command="SET SESSION TRANSACTION READ ONLY",
        program_name=PROGRAM,
    )


def _kind(place: str) -> str:
    scheme, mark, _ = place.partition("://")
    return _KINDS[scheme] if mark else ""


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes | bytearray) else str(value)


def _why(error: BaseException) -> str:
    """What the database says, in one line."""
    said = error.args[-1] if error.args else error
    said = said.get("M", said) if isinstance(said, dict) else said
    return " ".join(str(said).split())[:300]
