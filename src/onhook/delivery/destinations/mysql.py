"""MariaDB and MySQL (see `sql_client`)."""

import socket
from collections.abc import Sequence
from itertools import chain
from math import ceil
from typing import Any

import msgspec
import pymysql

from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.record import Record
from onhook.config import Config
from onhook.delivery.destinations.kinds import DatabaseFields, decode_fields
from onhook.delivery.destinations.mysql_tables import create_statements, row_values, upsert_statement
from onhook.delivery.destinations.row_columns import row_columns
from onhook.delivery.destinations.sql_client import APPLICATION_NAME, SqlAddress, SqlClient
from onhook.delivery.destinations.sql_tables import ExistingColumns
from onhook.delivery.ssrf_guard import create_ssrf_guard

SQL_MODE = "STRICT_ALL_TABLES"
"""A value that does not fit is an error, not a shorter value."""

_VALUE_ERROR_CODES = frozenset({1366, 3819})
"""Errors about a value that have no SQLSTATE of their own in MySQL: a character, a violated check."""

_VALUE_STATE = "22000"


class MysqlDriver:
    """See `sql_client.SqlDriver`."""

    name = "mysql"
    port_default = 3306
    database_error: type[Exception] = pymysql.err.DatabaseError
    errors: tuple[type[Exception], ...] = (pymysql.err.Error,)

    def __init__(self, spec: DestinationSpec) -> None:
        self._address = SqlAddress(spec, decode_fields(spec, DatabaseFields))
        self._table = spec.notifies_of
        self._columns = row_columns(spec.notifies_of)
        self.schema_name = self._address.database or APPLICATION_NAME

    def format_row(self, record: Record) -> bytes:
        return msgspec.json.encode(record)

    def log_in(self, connected_socket: socket.socket, password: str) -> Any:
        address, tls_context = self._address, self._address.create_tls_context(connected_socket)
        seconds = ceil(address.timeout_seconds)
        connection = pymysql.connect(
            user=address.user,
            host=address.host,
            database=self.schema_name,
            password=password,
            ssl=tls_context,
            ssl_disabled=tls_context is None,
            read_timeout=address.timeout_seconds,
            write_timeout=address.timeout_seconds,
            charset="utf8mb4",
            sql_mode=SQL_MODE,
            # Or a statement whose connection is gone waits for a lock for a minute, or a year.
            init_command=f"SET SESSION innodb_lock_wait_timeout = {seconds}, SESSION lock_wait_timeout = {seconds}",
            program_name=APPLICATION_NAME,
            defer_connect=True,
        )
        connection.connect(connected_socket)
        return connection

    def create_statements(self, existing: ExistingColumns) -> Sequence[str]:
        return create_statements(self._table, existing)

    def table_name(self, name: str) -> str:
        return f"`{name}`"

    def write_rows(self, cursor: Any, rows: Sequence[bytes]) -> None:
        values = chain.from_iterable(row_values(self._columns, row) for row in rows)
        cursor.execute(upsert_statement(self._table, len(rows)), tuple(values))

    def error_state(self, error: Exception) -> str:
        if error.args and error.args[0] in _VALUE_ERROR_CODES:
            return _VALUE_STATE
        return getattr(error, "sqlstate", None) or ""

    def error_text(self, error: Exception) -> str:
        return str(error.args[-1] if error.args else error)


def open_client(config: Config, spec: DestinationSpec, secrets: Sequence[str]) -> SqlClient:
    """Open a database, with the private networks of the configuration."""
    guard = create_ssrf_guard(config.private_networks, allow_private=spec.allow_private)
    return SqlClient(spec, secrets, guard, MysqlDriver(spec))
