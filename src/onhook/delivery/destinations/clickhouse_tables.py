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
from onhook.cdr.identity import CallKey
from onhook.cdr.record import Record
from onhook.delivery.destinations.row_columns import KEY_COLUMNS, ColumnType, row_columns

DEDUPLICATION_WINDOW = 1_000
"""Inserts whose tokens a table without replicas remembers; replicated ones remember as many by themselves."""

STATE_TABLE = "onhook_state"
STATE_COLUMNS = ("name", "seq", "written_at")
"""A row for each table, with the number of the last control entry of the ledger that was applied to it; the latest
row counts.
"""

REPLACED_COLUMN = "replaced_at"
"""When a row replaced others of its call, because a number was erased; 0 for a row of a notification. In microseconds
since 1970, UTC.
"""

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
    names = f"'{table}', '{table}_latest', '{STATE_TABLE}'"
    return (
        f"SELECT table, name FROM system.columns WHERE database = currentDatabase() AND table IN ({names}) FORMAT TSV"  # noqa: S608 - constants
    )


def create_statements(table: NotifiesOf, existing: Collection[tuple[str, str]]) -> Sequence[str]:
    """Return the statements that make a table and its view, or add what they lack; none where they are complete.
    `existing` are pairs of a table or view and a column.
    """
    columns = row_columns(table)
    types = {name: "UInt64" if name == _VERSION_COLUMN else _TYPES[column] for name, column in columns.items()}
    types[REPLACED_COLUMN] = "UInt64"
    missing = [name for name in types if (table, name) not in existing]
    has_state = all((STATE_TABLE, name) in existing for name in STATE_COLUMNS)
    if not missing and has_state and all((f"{table}_latest", name) in existing for name in columns):
        return ()
    definitions = ", ".join(f"`{name}` {column_type}" for name, column_type in types.items())
    key = ", ".join(KEY_COLUMNS[table])
    create = (
        f"CREATE TABLE IF NOT EXISTS {table} ({definitions}) ENGINE = ReplacingMergeTree({_VERSION_COLUMN})"
        f" ORDER BY ({key}) SETTINGS non_replicated_deduplication_window = {DEDUPLICATION_WINDOW}"
    )
    additions = [f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS `{name}` {types[name]}" for name in missing]
    view = f"CREATE OR REPLACE VIEW {table}_latest AS SELECT * EXCEPT ({REPLACED_COLUMN}) FROM {table} FINAL"  # noqa: S608 - constants
    state = (
        f"CREATE TABLE IF NOT EXISTS {STATE_TABLE} (name String, seq UInt64, written_at UInt64)"
        " ENGINE = ReplacingMergeTree(written_at) ORDER BY (name)"
    )
    has_table = any(name == table for name, _column in existing)
    return (create, *(additions if has_table else ()), view, state)


def insert_statement(table: NotifiesOf) -> str:
    """Return the statement whose data are rows."""
    return f"INSERT INTO {table} FORMAT JSONEachRow"


def deduplication_token(notification_ids: Sequence[str]) -> str:
    """Return what is equal for the same notifications: such an insert is made once."""
    return blake2b("\n".join(notification_ids).encode(), digest_size=16).hexdigest()


def insert_position_statement(table: NotifiesOf, position: int, now_us: int) -> str:
    """Return the statement that notes the number of the last control entry that was applied to a table."""
    return f"INSERT INTO {STATE_TABLE} (name, seq, written_at) VALUES ('{table}', {position}, {now_us})"  # noqa: S608 - numbers


def position_query(table: NotifiesOf) -> str:
    """Return the query for that number; without one 0 for a table that has rows, and nothing for one without."""
    # A table with rows was filled before deletions were followed.
    return (
        f"SELECT seq FROM {STATE_TABLE} FINAL WHERE name = '{table}'"  # noqa: S608 - constants
        f" UNION ALL SELECT toUInt64(0) FROM (SELECT 1 FROM {table} LIMIT 1)"
        f" WHERE (SELECT count() FROM {STATE_TABLE} WHERE name = '{table}') = 0 FORMAT TSV"
    )


def stored_calls_query(table: NotifiesOf, calls: Sequence[CallKey]) -> str:
    """Return the query for those of some calls that a table has, as JSON."""
    return f"SELECT DISTINCT sn, call_id FROM {table} WHERE {_calls_condition(calls)} FORMAT JSONCompactEachRow"  # noqa: S608 - quoted


def delete_statement(table: NotifiesOf, calls: Sequence[CallKey], before_us: int) -> str:
    """Return the statement that deletes the rows of some calls which were not written by a replacement at this time or
    later. The server has accepted it when it answers, and carries it out by itself, also after a restart.
    """
    return f"ALTER TABLE {table} DELETE WHERE {_calls_condition(calls)} AND {REPLACED_COLUMN} < {before_us}"


def replacing_row(row: bytes, now_us: int) -> bytes:
    """Return a row of `format_row` as one that replaces others of its call."""
    return msgspec.json.encode({**msgspec.json.decode(row), REPLACED_COLUMN: now_us})


def _calls_condition(calls: Sequence[CallKey]) -> str:
    return f"(sn, call_id) IN ({', '.join(f'({_quote(sn)}, {_quote(call_id)})' for sn, call_id in calls)})"


def _quote(text: str) -> str:
    r"""Return a text as a literal.

    >>> print(_quote("it's"))
    'it\'s'
    """
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


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
