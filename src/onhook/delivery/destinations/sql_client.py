"""Destinations that are databases: each record or call is a row, which later events of it replace (`sql_tables`).

Invariants: one connection at a time, used by one thread of this destination's own, so that a database that hangs delays
no other destination. A batch is one transaction; where the database refuses a value of it, each notification is written
by itself, and fails alone. Everything else that fails says nothing about a notification, and is tried again.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.record import Record
from onhook.delivery.destinations.contract import (
    DETAIL_CHARACTERS_MAX,
    LIBRARY_ERRORS,
    CallReplacement,
    DeliveryResult,
    Notification,
    SendLimits,
)
from onhook.delivery.destinations.kinds import DatabaseFields
from onhook.delivery.destinations.row_columns import NO_ROW
from onhook.delivery.destinations.socket_thread import SocketThread
from onhook.delivery.destinations.sql_tables import (
    STATE_TABLE,
    ExistingColumns,
    calls_condition,
    existing_columns_query,
    is_complete,
)
from onhook.delivery.guarded_connection import create_tls_context
from onhook.delivery.limited_socket import limit_tls
from onhook.delivery.samples import sample_for
from onhook.delivery.ssrf_guard import SsrfGuard
from onhook.lib.errors import Unavailable
from onhook.lib.hosts import parse_url_host
from onhook.lib.messages import _

BATCH_ROWS = 256
"""Rows of one statement: some hundred kilobytes, and milliseconds of the server."""

APPLICATION_NAME = "onhook"

_VALUE_ERROR_CLASSES = ("22", "23")
"""Classes of SQLSTATE for a value that the table does not take: data exceptions, and violated constraints."""

_WRONG_PASSWORD_STATES = frozenset({"28P01", "28000"})


ResultT = TypeVar("ResultT")


class SqlAddress:
    """Where a database is, and as whom to log in; `tls_context` is None without TLS."""

    def __init__(self, spec: DestinationSpec, fields: DatabaseFields) -> None:
        parts = urlsplit(spec.url)
        self.user = unquote(parts.username or APPLICATION_NAME)
        self.host = parse_url_host(spec.url).text
        self.database = unquote(parts.path.strip("/"))
        self.timeout_seconds = spec.timeout_seconds
        self._ca_certificates = spec.ca_certificates
        self._has_tls = fields.tls == "verify"

    def create_tls_context(self, connected_socket: socket.socket) -> ssl.SSLContext | None:
        """Return the context of a new connection; None without TLS."""
        return limit_tls(create_tls_context(self._ca_certificates), connected_socket) if self._has_tls else None


class SqlDriver(Protocol):
    """One engine's client library, and its statements for the table of one destination. Its methods block."""

    name: str
    port_default: int
    schema_name: str
    database_error: type[Exception]
    """What the database reports; `errors` are also what the library raises, such as for a lost connection."""
    errors: tuple[type[Exception], ...]

    def format_row(self, record: Record) -> bytes:
        """Return a row in JSON."""
        ...

    def log_in(self, connected_socket: socket.socket, password: str) -> Any:
        """Return a connection (DB API 2.0) over this socket."""
        ...

    def create_statements(self, existing: ExistingColumns) -> Sequence[str]:
        """Return the statements that make table and views, or add what an earlier Onhook did not have."""
        ...

    def table_name(self, name: str) -> str:
        """Return the quoted name of a table."""
        ...

    def write_rows(self, cursor: Any, rows: Sequence[bytes]) -> None:
        """Write rows, each in place of an earlier event of its record or call."""
        ...

    def error_state(self, error: Exception) -> str:
        """Return the SQLSTATE of an error, or an empty text."""
        ...

    def error_text(self, error: Exception) -> str:
        """Return the database's own message."""
        ...


class SqlClient:
    """See `contract.DestinationClient`."""

    limits = SendLimits(attempts_max=1, batch_count=BATCH_ROWS)

    def __init__(self, spec: DestinationSpec, passwords: Sequence[str], guard: SsrfGuard, driver: SqlDriver) -> None:
        self._spec = spec
        self._passwords = [*reversed(passwords)] or [""]
        self._guard = guard
        self._driver = driver
        self._errors: tuple[type[Exception], ...] = (*LIBRARY_ERRORS, *driver.errors)
        self._thread = SocketThread(driver.name)
        self._connection: Any = None

    def __repr__(self) -> str:
        return f"SqlClient({self._spec.url!r})"

    def format_payload(self, record: Record) -> bytes:
        return self._driver.format_row(record)

    def format_test_payload(self) -> bytes:
        return NO_ROW

    def format_sample_payload(self, now: datetime) -> bytes:
        return self.format_payload(sample_for(self._spec, now))

    async def send(self, notifications: Sequence[Notification]) -> Sequence[DeliveryResult]:
        try:
            return await self._run(partial(self._write, notifications))
        except Unavailable as error:
            result = DeliveryResult(outcome="unreachable", detail=str(error), is_shared=len(notifications) > 1)
            return [result] * len(notifications)

    async def deletion_position(self) -> int | None:
        return await self._run(self._read_position)

    async def replace_calls(self, replacements: Sequence[CallReplacement], position: int | None) -> None:
        await self._run(partial(self._replace_calls, replacements, position))

    async def close(self) -> None:
        self._disconnect()
        self._thread.close()

    async def _run(self, function: Callable[[], ResultT]) -> ResultT:
        """Run a function in the thread, connected. Raises `Unavailable`, and is disconnected then."""
        try:
            async with asyncio.timeout(self._spec.timeout_seconds):
                await self._connect()
                return await self._thread.run(function)
        except TimeoutError:
            detail = _("no response within {seconds:g} seconds", seconds=self._spec.timeout_seconds)
        except self._errors as error:
            detail = self._describe_error(error)
        self._disconnect()
        raise Unavailable(detail)

    async def _connect(self) -> None:
        """Connect, if there is no connection, with the newest password that the server accepts."""
        for password in [] if self._connection else self._passwords:
            connected_socket = await self._thread.connect(
                self._spec.url, self._driver.port_default, self._guard, self._spec.timeout_seconds
            )
            try:
                self._connection = await self._thread.run(partial(self._log_in, connected_socket, password))
                return
            except self._driver.database_error as error:
                is_wrong = self._driver.error_state(error) in _WRONG_PASSWORD_STATES
                if not is_wrong or password == self._passwords[-1]:
                    raise

    def _disconnect(self) -> None:
        self._thread.disconnect()
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*self._errors):
                connection.close()

    # In the thread

    def _log_in(self, connected_socket: socket.socket, password: str) -> Any:
        try:
            connection = self._driver.log_in(connected_socket, password)
        except BaseException:
            connected_socket.close()
            raise
        try:
            self._create_tables(connection)
        except BaseException:
            with contextlib.suppress(*self._errors):
                connection.close()
            raise
        return connection

    def _create_tables(self, connection: Any) -> None:
        """Make what the database lacks of table and views: the right to do so is needed then only."""
        table = self._spec.notifies_of
        cursor = connection.cursor()
        cursor.execute(existing_columns_query(table), (self._driver.schema_name,))
        existing = {(str(name), str(column)) for name, column in cursor.fetchall()}
        if not is_complete(table, existing):
            for statement in self._driver.create_statements(existing):
                cursor.execute(statement)
        connection.commit()

    def _write(self, notifications: Sequence[Notification]) -> Sequence[DeliveryResult]:
        if notifications[0].is_test:
            return [self._try_out(notifications[0])]
        cursor = self._connection.cursor()
        try:
            self._driver.write_rows(cursor, [notification.body for notification in notifications])
            results = [_accepted()] * len(notifications)
        except self._driver.database_error as error:
            if not self._is_value_error(error):
                raise
            self._connection.rollback()
            results = [self._write_row(cursor, notification.body) for notification in notifications]
        self._connection.commit()
        return results

    def _write_row(self, cursor: Any, row: bytes) -> DeliveryResult:
        cursor.execute("SAVEPOINT notification")
        try:
            self._driver.write_rows(cursor, [row])
        except self._driver.database_error as error:
            if not self._is_value_error(error):
                raise
            cursor.execute("ROLLBACK TO SAVEPOINT notification")
            return DeliveryResult(outcome="rejected", detail=self._describe_error(error))
        cursor.execute("RELEASE SAVEPOINT notification")
        return _accepted()

    def _read_position(self) -> int | None:
        cursor, table = self._connection.cursor(), self._spec.notifies_of
        cursor.execute(f"SELECT seq FROM {self._driver.table_name(STATE_TABLE)} WHERE name = %s", (table,))  # noqa: S608 - quoted
        row = cursor.fetchone()
        if row is None:
            # Without a position a table with rows was filled before deletions were followed.
            cursor.execute(f"SELECT 0 FROM {self._driver.table_name(table)} LIMIT 1")  # noqa: S608 - quoted
            row = cursor.fetchone()
        self._connection.commit()
        return None if row is None else int(row[0])

    def _replace_calls(self, replacements: Sequence[CallReplacement], position: int | None) -> None:
        """Delete the rows of these calls, and write those that are left; a row that is refused stays deleted."""
        cursor, table = self._connection.cursor(), self._driver.table_name(self._spec.notifies_of)
        if replacements:
            condition = calls_condition(len(replacements))
            keys = tuple(chain.from_iterable((call.sn, call.call_id) for call in replacements))
            cursor.execute(f"SELECT DISTINCT sn, call_id FROM {table} WHERE {condition}", keys)  # noqa: S608 - quoted
            stored_keys = {(str(sn), str(call_id)) for sn, call_id in cursor.fetchall()}
            cursor.execute(f"DELETE FROM {table} WHERE {condition}", keys)  # noqa: S608 - quoted
            for call in replacements:
                for row in call.bodies if (call.sn, call.call_id) in stored_keys else ():
                    self._write_row(cursor, row)
        if position is not None:
            state_table = self._driver.table_name(STATE_TABLE)
            cursor.execute(f"DELETE FROM {state_table} WHERE name = %s", (self._spec.notifies_of,))  # noqa: S608 - quoted
            cursor.execute(f"INSERT INTO {state_table} (name, seq) VALUES (%s, %s)", (self._spec.notifies_of, position))  # noqa: S608 - quoted
        self._connection.commit()

    def _try_out(self, notification: Notification) -> DeliveryResult:
        """Write a sample, or nothing, and undo it."""
        if notification.body != NO_ROW:
            self._driver.write_rows(self._connection.cursor(), [notification.body])
        self._connection.rollback()
        return DeliveryResult(outcome="accepted", detail=_("connected, the table is there; nothing was stored"))

    def _is_value_error(self, error: Exception) -> bool:
        return self._driver.error_state(error).startswith(_VALUE_ERROR_CLASSES)

    def _describe_error(self, error: Exception) -> str:
        """Return the error in one line; the database's own message without the values in its details."""
        if isinstance(error, PermissionError):
            text = _("not connected: {reason}", reason=error.strerror)
        else:
            text = f"{self._driver.error_state(error)} {self._driver.error_text(error) or type(error).__name__}"
        return " ".join(text.split())[:DETAIL_CHARACTERS_MAX]


def _accepted() -> DeliveryResult:
    return DeliveryResult(outcome="accepted", detail=_("stored"))
