"""One operation of the disk or of an engine fails: the first, the second, … until a scenario has fewer operations.

Counted are `os.fsync`, `os.replace`, `os.rename`, `os.unlink`, each statement of an SQLite connection, and each
statement, begin and commit of a DuckDB connection. `os.write` is not among them: all files are written by the engines,
but for small ones whose `os.replace` is counted.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import duckdb
import pytest

OS_OPERATIONS = ("fsync", "replace", "rename", "unlink")


KILLED_EXIT_CODE = 87
"""Of a process that `FailingOperation` ends."""


class FailingOperation:
    """Counts operations; the one with this number fails, once. `is_late`: it fails after it has been done. `kills`: the
    process ends at it instead, without any `finally` or rollback, as by `kill -9`.
    """

    def __init__(self, number: int, *, is_late: bool = False, kills: bool = False) -> None:
        self.has_failed = False
        self._kills = kills
        self._number = number
        self._is_late = is_late
        self._count = 0
        self._lock = threading.Lock()

    def run(self, operation: Callable[..., Any], error: Exception, *arguments: Any, **options: Any) -> Any:
        """Run an operation, or raise the error in its place, or behind it."""
        with self._lock:
            self._count += 1
            is_failing = self._count == self._number
            self.has_failed = self.has_failed or is_failing
        if is_failing and not self._is_late:
            self._end_process()
            raise error
        result = operation(*arguments, **options)
        if is_failing:
            self._end_process()
            if isinstance(result, sqlite3.Cursor):
                result.close()  # else the error, which the caller may keep, keeps a transaction open
            raise error
        return result

    def _end_process(self) -> None:
        if self._kills:
            os._exit(KILLED_EXIT_CODE)


@contextmanager
def one_failing_operation(operation: FailingOperation) -> Iterator[None]:
    """Let one operation of this process fail while the context is open."""
    with pytest.MonkeyPatch.context() as patch:
        for name in OS_OPERATIONS:
            patch.setattr(os, name, _failing_os_function(operation, getattr(os, name)))
        patch.setattr(sqlite3, "connect", _failing_sqlite_connect(operation, sqlite3.connect))
        patch.setattr(duckdb, "connect", _failing_duckdb_connect(operation, duckdb.connect))
        yield


def _failing_os_function(operation: FailingOperation, function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arguments: Any, **options: Any) -> Any:
        return operation.run(function, OSError(5, "Input/output error"), *arguments, **options)

    return run


def _failing_sqlite_connect(operation: FailingOperation, connect: Callable[..., Any]) -> Callable[..., Any]:
    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
            if sql == "ROLLBACK":
                return super().execute(sql)
            error = sqlite3.OperationalError("disk I/O error")
            cursor: sqlite3.Cursor = operation.run(super().execute, error, sql, *arguments)
            return cursor

        def executemany(self, *arguments: Any) -> sqlite3.Cursor:
            error = sqlite3.OperationalError("disk I/O error")
            cursor: sqlite3.Cursor = operation.run(super().executemany, error, *arguments)
            return cursor

    return lambda *arguments, **options: connect(*arguments, factory=Connection, **options)


class _DuckDbConnection:
    """A connection of DuckDB, or a cursor of one: both have the same members."""

    def __init__(self, operation: FailingOperation, connection: duckdb.DuckDBPyConnection) -> None:
        self._operation = operation
        self._connection = connection

    def execute(self, *arguments: Any) -> "_DuckDbConnection":
        self._run("execute", *arguments)
        return self

    def begin(self) -> None:
        self._run("begin")

    def commit(self) -> None:
        self._run("commit")

    def cursor(self) -> "_DuckDbConnection":
        return _DuckDbConnection(self._operation, self._connection.cursor())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def _run(self, name: str, *arguments: Any) -> None:
        error = duckdb.IOException("IO Error: Could not write file: Input/output error")
        self._operation.run(getattr(self._connection, name), error, *arguments)


def _failing_duckdb_connect(operation: FailingOperation, connect: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments, **options: _DuckDbConnection(operation, connect(*arguments, **options))
