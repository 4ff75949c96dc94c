"""Tables of destinations that are ClickHouse servers: statements, and rows in JSONEachRow. Pure.

Invariants: a column is never renamed or removed. Rows with one key are one row, that of the latest event, whenever the
engine merges them; a view has them so at any time.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from types import MappingProxyType

import msgspec

from onhook.appdb.destination_spec import NotifiesOf
from onhook.cdr.record import Record
from onhook.delivery.destinations.row_columns import KEY_COLUMNS, ColumnType, row_columns

DEDUPLICATION_WINDOW = 1_000
"""Inserts whose tokens a table without replicas remembers; replicated ones remember as many by themselves."""

INSERT_SETTINGS: Mapping[str, str] = MappingProxyType({"date_time_input_format": "best_effort", "async_insert": "0"})
"""Whatever the user's profile says: an insert is answered once it is stored, and its token counts."""

VALUE_ERROR_CODES = frozenset({"6", "26", "27", "38", "41", "53", "72", "117", "131", "321", "349", "469"})
"""Codes for a value that the table does not take: what cannot be parsed, is out of range, or violates a constraint."""

REQUEST_STATUSES = frozenset({400, 413, 422})
"""Of the server for what is in a request. What a request finds missing is 404, who may not send it 401 or 403, and what
the server lacks for a while 5xx.
"""

_TYPES: Mapping[ColumnType, str] = MappingProxyType(
    {
        "text": "String",
        "integer": "Nullable(Int64)",
        "boolean": "Bool",
        "time": "Nullable(DateTime64(6, 'UTC'))",
        "json": "String",
    }
)
_VERSION_COLUMN = "seq"
_ERROR_CODE = re.compile(r"Code: (\d+)\b")
_VALUE_ERROR_NAME = re.compile(
    r"\((?:CANNOT_(?:PARSE|CONVERT|INSERT_NULL)\w*|\w*OUT_OF_(?:BOUND|RANGE)\w*|\w*OVERFLOW\w*|INCORRECT_DATA|TYPE_MISMATCH"
    r"|VIOLATED_CONSTRAINT|UNKNOWN_ELEMENT_OF_ENUM|TOO_LARGE_STRING_SIZE)\)"
)
"""How the server names such codes behind its message, those of later versions too."""


def columns_query(table: NotifiesOf) -> str:
    """Return the query for the columns that a table and its view have."""
    names = f"'{table}', '{table}_latest'"
    return (
        f"SELECT table, name FROM system.columns WHERE database = currentDatabase() AND table IN ({names}) FORMAT TSV"  # noqa: S608 - constants
    )


def create_statements(table: NotifiesOf, existing: Collection[tuple[str, str]]) -> Sequence[str]:
    """Return the statements that make a table and its view, or add what they lack; none where they are complete.
    `existing` are pairs of a table or view and a column.
    """
    columns = row_columns(table)
    types = {name: "UInt64" if name == _VERSION_COLUMN else _TYPES[column] for name, column in columns.items()}
    missing = [name for name in columns if (table, name) not in existing]
    if not missing and all((f"{table}_latest", name) in existing for name in columns):
        return ()
    definitions = ", ".join(f"`{name}` {column_type}" for name, column_type in types.items())
    key = ", ".join(KEY_COLUMNS[table])
    create = (
        f"CREATE TABLE IF NOT EXISTS {table} ({definitions}) ENGINE = ReplacingMergeTree({_VERSION_COLUMN})"
        f" ORDER BY ({key}) SETTINGS non_replicated_deduplication_window = {DEDUPLICATION_WINDOW}"
    )
    additions = [f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS `{name}` {types[name]}" for name in missing]
    view = f"CREATE OR REPLACE VIEW {table}_latest AS SELECT * FROM {table} FINAL"  # noqa: S608 - constants
    return (create, *(additions if existing else ()), view)


def insert_statement(table: NotifiesOf) -> str:
    """Return the statement whose data are rows."""
    return f"INSERT INTO {table} FORMAT JSONEachRow"


def deduplication_token(notification_ids: Sequence[str]) -> str:
    """Return what is equal for the same notifications: such an insert is made once."""
    return blake2b("\n".join(notification_ids).encode(), digest_size=16).hexdigest()


def format_row(record: Record, table: NotifiesOf) -> bytes:
    """Return a row in JSON; `extra` is JSON as a text."""
    members = msgspec.structs.asdict(record)
    members["extra"] = msgspec.json.encode(record.extra).decode()
    return msgspec.json.encode({name: members[name] for name in row_columns(table)})


def is_about_values(status: int | None, answer: bytes) -> bool:
    """Return whether an error may be about a value of an insert: another insert may succeed. All others are about the
    server, its tables, or the user.

    >>> is_about_values(500, b"Code: 691. DB::Exception: Unknown element (UNKNOWN_ELEMENT_OF_ENUM)")
    True
    >>> is_about_values(404, b"Code: 81. DB::Exception: Database calls does not exist (UNKNOWN_DATABASE)")
    False
    """
    code = error_code(answer)
    if code in VALUE_ERROR_CODES:
        return True
    has_name = _VALUE_ERROR_NAME.search(answer.decode(errors="replace")) is not None
    return bool(code) and (status in REQUEST_STATUSES or has_name)


def error_code(answer: bytes) -> str:
    """Return the code of an error, or an empty text.

    >>> error_code(b"Code: 27. DB::Exception: Cannot parse input")
    '27'
    """
    match = _ERROR_CODE.search(answer.decode(errors="replace"))
    return match[1] if match else ""
