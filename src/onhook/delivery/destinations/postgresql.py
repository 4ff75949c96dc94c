"""PostgreSQL (see `sql_client`)."""

import socket
from collections.abc import Sequence
from typing import Any

import msgspec
import pg8000.dbapi

from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.record import Record
from onhook.config import Config
from onhook.delivery.destinations.kinds import PostgresqlFields, decode_fields
from onhook.delivery.destinations.postgresql_tables import create_statements, upsert_statement
from onhook.delivery.destinations.sql_client import APPLICATION_NAME, SqlAddress, SqlClient
from onhook.delivery.destinations.sql_tables import ExistingColumns
from onhook.delivery.ssrf_guard import create_ssrf_guard


class PostgresqlDriver:
    """See `sql_client.SqlDriver`."""

    name = "postgresql"
    port_default = 5432
    database_error: type[Exception] = pg8000.dbapi.DatabaseError
    errors: tuple[type[Exception], ...] = (pg8000.dbapi.Error,)

    def __init__(self, spec: DestinationSpec) -> None:
        fields: PostgresqlFields = decode_fields(spec, PostgresqlFields)
        self.schema_name = fields.schema_name
        self._address = SqlAddress(spec, fields)
        self._table = spec.notifies_of
        self._upsert = upsert_statement(fields.schema_name, spec.notifies_of)

    def format_row(self, record: Record) -> bytes:
        # PostgreSQL has no text with this character.
        return msgspec.json.encode(record).replace(b"\\u0000", b"\\ufffd")

    def log_in(self, connected_socket: socket.socket, password: str) -> Any:
        address = self._address
        return pg8000.dbapi.connect(
            user=address.user,
            host=address.host,
            database=address.database or None,
            password=password or None,
            sock=connected_socket,
            ssl_context=address.create_tls_context(connected_socket) or False,
            application_name=APPLICATION_NAME,
            startup_params={"statement_timeout": str(round(address.timeout_seconds * 1000))},
        )

    def create_statements(self, existing: ExistingColumns) -> Sequence[str]:
        return create_statements(self.schema_name, self._table, existing)

    def table_name(self, name: str) -> str:
        return f'"{self.schema_name}"."{name}"'

    def write_rows(self, cursor: Any, rows: Sequence[bytes]) -> None:
        cursor.execute(self._upsert, (f"[{b','.join(rows).decode()}]",))

    def error_state(self, error: Exception) -> str:
        return str(_error_fields(error).get("C", ""))

    def error_text(self, error: Exception) -> str:
        return str(_error_fields(error).get("M", "")) or str(error)


def open_client(config: Config, spec: DestinationSpec, secrets: Sequence[str]) -> SqlClient:
    """Open a database, with the private networks of the configuration."""
    guard = create_ssrf_guard(config.private_networks, allow_private=spec.allow_private)
    return SqlClient(spec, secrets, guard, PostgresqlDriver(spec))


def _error_fields(error: Exception) -> dict[str, Any]:
    """Return the fields of a database's error, by their letters in the protocol."""
    fields = error.args[0] if error.args else None
    return fields if isinstance(fields, dict) else {}
