"""PostgreSQL: each record or call is a row, which later events of it replace (`postgresql_tables`).

Invariants: one connection at a time, used by one thread of this destination's own, so that a database that hangs delays
no other destination. A batch is one transaction; where the database refuses a value of it, each notification is written
by itself, and fails alone. Everything else that fails says nothing about a notification, and is tried again.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import pg8000.dbapi

from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.record import Record
from onhook.config import Config
from onhook.delivery.destinations.contract import DeliveryResult, Notification, SendLimits
from onhook.delivery.destinations.kinds import PostgresqlFields, decode_fields
from onhook.delivery.destinations.postgresql_tables import create_statements, missing_columns_query, upsert_statement
from onhook.delivery.destinations.socket_thread import SocketThread
from onhook.delivery.guarded_connection import create_tls_context
from onhook.delivery.samples import sample_record
from onhook.delivery.ssrf_guard import SsrfGuard, create_ssrf_guard
from onhook.lib.hosts import parse_url_host
from onhook.lib.messages import _

BATCH_ROWS = 256
"""Rows of one statement: some hundred kilobytes, and milliseconds of the server."""

PORT_DEFAULT = 5432

DETAIL_CHARACTERS_MAX = 300
"""Of the text shown to an operator."""

APPLICATION_NAME = "onhook"
TEST_BODY = b"{}"

_VALUE_ERROR_CLASSES = ("22", "23")
"""Classes of SQLSTATE for a value that the table does not take: data exceptions, and violated constraints."""

_WRONG_PASSWORD = "28P01"  # noqa: S105 - a code
_ERRORS = (OSError, ssl.SSLError, pg8000.dbapi.Error, EOFError)


class PostgresqlClient:
    """See `contract.DestinationClient`."""

    limits = SendLimits(attempts_max=1, batch_count=BATCH_ROWS)

    def __init__(self, spec: DestinationSpec, passwords: Sequence[str], guard: SsrfGuard) -> None:
        self._spec = spec
        self._fields: PostgresqlFields = decode_fields(spec, PostgresqlFields)
        self._passwords = [*reversed(passwords)] or [""]
        self._guard = guard
        self._thread = SocketThread("postgresql")
        self._upsert = upsert_statement(self._fields.schema_name, spec.notifies_of)
        self._connection: Any = None

    def __repr__(self) -> str:
        return f"PostgresqlClient({self._spec.url!r})"

    def format_payload(self, record: Record) -> bytes:
        # PostgreSQL has no text with this character.
        return msgspec.json.encode(record).replace(b"\\u0000", b"\\ufffd")

    def format_test_payload(self) -> bytes:
        return TEST_BODY

    def format_sample_payload(self, now: datetime) -> bytes:
        return self.format_payload(sample_record(now, self._spec.mask))

    async def send(self, notifications: Sequence[Notification]) -> Sequence[DeliveryResult]:
        try:
            async with asyncio.timeout(self._spec.timeout_seconds):
                await self._connect()
                return await self._thread.run(partial(self._write, notifications))
        except TimeoutError:
            detail = _("no response within {seconds:g} seconds", seconds=self._spec.timeout_seconds)
        except _ERRORS as error:
            detail = _describe_error(error)
        self._disconnect()
        result = DeliveryResult(
            outcome="unreachable", detail=detail[:DETAIL_CHARACTERS_MAX], is_shared=len(notifications) > 1
        )
        return [result] * len(notifications)

    async def close(self) -> None:
        self._disconnect()
        self._thread.close()

    async def _connect(self) -> None:
        """Connect, if there is no connection, with the newest password that the server accepts."""
        for password in [] if self._connection else self._passwords:
            connected_socket = await self._thread.connect(
                self._spec.url, PORT_DEFAULT, self._guard, self._spec.timeout_seconds
            )
            try:
                self._connection = await self._thread.run(partial(self._log_in, connected_socket, password))
                return
            except pg8000.dbapi.DatabaseError as error:
                if _sqlstate(error) != _WRONG_PASSWORD or password == self._passwords[-1]:
                    raise

    def _disconnect(self) -> None:
        self._thread.disconnect()
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*_ERRORS):
                connection.close()

    # In the thread

    def _log_in(self, connected_socket: socket.socket, password: str) -> Any:
        parts = urlsplit(self._spec.url)
        connection = pg8000.dbapi.connect(
            user=unquote(parts.username or APPLICATION_NAME),
            host=parse_url_host(self._spec.url).text,
            database=unquote(parts.path.strip("/")) or None,
            password=password or None,
            sock=connected_socket,
            ssl_context=create_tls_context(self._spec.ca_certificates) if self._fields.tls == "verify" else False,
            application_name=APPLICATION_NAME,
            startup_params={"statement_timeout": str(round(self._spec.timeout_seconds * 1000))},
        )
        self._create_tables(connection)
        return connection

    def _create_tables(self, connection: Any) -> None:
        """Make the table or its new columns, where it lacks any: the right to do so is needed then only."""
        schema_name, table = self._fields.schema_name, self._spec.notifies_of
        cursor = connection.cursor()
        cursor.execute(missing_columns_query(table), (schema_name, table))
        if cursor.fetchone()[0]:
            for statement in create_statements(schema_name, table):
                cursor.execute(statement)
        connection.commit()

    def _write(self, notifications: Sequence[Notification]) -> Sequence[DeliveryResult]:
        if notifications[0].is_test:
            return [self._try_out(notifications[0])]
        cursor = self._connection.cursor()
        try:
            self._write_rows(cursor, notifications)
            results = [_ACCEPTED] * len(notifications)
        except pg8000.dbapi.DatabaseError as error:
            if not _is_value_error(error):
                raise
            self._connection.rollback()
            results = [self._write_row(cursor, notification) for notification in notifications]
        self._connection.commit()
        return results

    def _write_row(self, cursor: Any, notification: Notification) -> DeliveryResult:
        cursor.execute("SAVEPOINT notification")
        try:
            self._write_rows(cursor, [notification])
        except pg8000.dbapi.DatabaseError as error:
            if not _is_value_error(error):
                raise
            cursor.execute("ROLLBACK TO SAVEPOINT notification")
            return DeliveryResult(outcome="rejected", detail=_describe_error(error)[:DETAIL_CHARACTERS_MAX])
        cursor.execute("RELEASE SAVEPOINT notification")
        return _ACCEPTED

    def _write_rows(self, cursor: Any, notifications: Sequence[Notification]) -> None:
        rows = b",".join(notification.body for notification in notifications)
        cursor.execute(self._upsert, (f"[{rows.decode()}]",))

    def _try_out(self, notification: Notification) -> DeliveryResult:
        """Write a sample, or nothing, and undo it."""
        if notification.body != TEST_BODY:
            self._write_rows(self._connection.cursor(), [notification])
        self._connection.rollback()
        return DeliveryResult(outcome="accepted", detail=_("connected, the table is there; nothing was stored"))


_ACCEPTED = DeliveryResult(outcome="accepted", detail="stored")


def open_client(config: Config, spec: DestinationSpec, secrets: Sequence[str]) -> PostgresqlClient:
    """Open a database, with the private networks of the configuration."""
    guard = create_ssrf_guard(config.private_networks, allow_private=spec.allow_private)
    return PostgresqlClient(spec, secrets, guard)


def _sqlstate(error: Exception) -> str:
    """Return the code of a database's error, or an empty text."""
    fields = error.args[0] if error.args else None
    return str(fields.get("C", "")) if isinstance(fields, dict) else ""


def _is_value_error(error: Exception) -> bool:
    return _sqlstate(error).startswith(_VALUE_ERROR_CLASSES)


def _describe_error(error: Exception) -> str:
    """Return the error in one line; PostgreSQL's own message without the values in its details."""
    if isinstance(error, PermissionError):
        return _("not connected: {reason}", reason=error.strerror)
    code = _sqlstate(error)
    text = f"{code} {error.args[0].get('M', '')}" if code else str(error) or type(error).__name__
    return " ".join(text.split())
