"""Copy of an application database of one machine to an empty one on PostgreSQL, for several machines.

Invariants: the file is only read, apart from the upgrade of its schema; nothing is copied to a database with rows; the
copy is compared row by row before it is committed, so it is whole or not there. A database that has exactly these rows
already, because a move ended after its commit, is used as it is. No process writes to the file meanwhile. Numbers of
rows are never used again.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from onhook.appdb.contract import DamagedText, Row
from onhook.appdb.postgresql import PostgresqlDatabase
from onhook.appdb.sqlite import SqliteDatabase
from onhook.lib.errors import OnhookError, UsageError
from onhook.lib.messages import _

ROWS_AT_ONCE = 1_000

COPY_SECONDS_MAX = 3_600.0
"""Of the transaction that copies: a file of some gigabytes takes minutes."""

CHECKSUM_MODULUS = 1 << 256

_SELECT_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"


class CopiedTable(msgspec.Struct, frozen=True, kw_only=True):
    """What was copied of a table; the checksum is the same for the same rows in any order."""

    name: str
    rows: int
    checksum: str


async def copy_to_postgresql(path: Path, url: str) -> list[CopiedTable]:
    """Copy the database of a file to an empty database, or find that it has the same rows. No other process may have
    either open.

    Raises `UsageError` for a database with rows, `OnhookError` for a row that PostgreSQL cannot store or that differs
    afterwards, `Unavailable`.
    """
    limits = {"call_seconds": COPY_SECONDS_MAX, "transaction_seconds": COPY_SECONDS_MAX}
    source, target = SqliteDatabase(path, **limits), PostgresqlDatabase(url, **limits)
    try:
        await source.open()
        await target.open()
        # Not for reading alone: what a command wrote to the file meanwhile would not be in the copy.
        async with source.transaction(), target.transaction():
            return await _copy_tables(source, target)
    finally:
        await target.close()
        await source.close()


async def _copy_tables(source: SqliteDatabase, target: PostgresqlDatabase) -> list[CopiedTable]:
    tables = await _list_tables(source)
    for table in tables:
        if await target.rows(f"SELECT 1 FROM {table} LIMIT 1"):
            return await _compare_tables(source, target, tables, filled_table=table)
    copied_tables = [await _copy_table(source, target, table) for table in tables]
    await _copy_numbers(source, target)
    await target.discard_changes()
    return copied_tables


async def _compare_tables(
    source: SqliteDatabase, target: PostgresqlDatabase, tables: Sequence[str], *, filled_table: str
) -> list[CopiedTable]:
    """Return the tables of a copy that was made before. Raises `UsageError` for any other rows."""
    copied_tables = []
    for table in tables:
        columns = await _list_columns(source, table)
        count, checksum = await _sum_rows(_read_rows(source, table, columns))
        if await _sum_rows(target.stream_rows(table, columns, ROWS_AT_ONCE)) != (count, checksum):
            raise UsageError(
                _("the database is not empty: {table} has rows", table=filled_table), hint=_("name an empty database")
            )
        copied_tables.append(CopiedTable(name=table, rows=count, checksum=f"{checksum:064x}"))
    return copied_tables


async def _list_columns(source: SqliteDatabase, table: str) -> list[str]:
    return [name for (name,) in await source.rows(f"SELECT name FROM pragma_table_info({table!r})")]


async def _sum_rows(pages: AsyncIterator[list[Row]]) -> tuple[int, int]:
    """Return the number of rows and their checksum."""
    count = checksum = 0
    async for rows in pages:
        count, checksum = count + len(rows), _add_rows(checksum, rows)
    return count, checksum


async def _list_tables(source: SqliteDatabase) -> list[str]:
    """Return the tables, those that others refer to before them."""
    pending = sorted(name for (name,) in await source.rows(_SELECT_TABLES))
    ordered: list[str] = []
    while pending:
        for table in list(pending):
            references = await source.rows(f'SELECT "table" FROM pragma_foreign_key_list({table!r})')
            if all(name in ordered for (name,) in references):
                ordered.append(table)
                pending.remove(table)
    return ordered


async def _copy_table(source: SqliteDatabase, target: PostgresqlDatabase, table: str) -> CopiedTable:
    columns = await _list_columns(source, table)
    count = checksum = 0
    async for rows in _read_rows(source, table, columns):
        await target.copy_rows(table, columns, rows)
        count, checksum = count + len(rows), _add_rows(checksum, rows)
    copied_count, copied_checksum = await _sum_rows(target.stream_rows(table, columns, ROWS_AT_ONCE))
    if (copied_count, copied_checksum) != (count, checksum):
        raise OnhookError(
            _("the copy of {table} differs: {copied} of {rows} rows", table=table, copied=copied_count, rows=count),
            hint=_("nothing was copied; try again"),
        )
    return CopiedTable(name=table, rows=count, checksum=f"{checksum:064x}")


async def _read_rows(source: SqliteDatabase, table: str, columns: Sequence[str]) -> AsyncIterator[list[Row]]:
    keys = await _list_keys(source, table)
    names, key_names = _quote(columns), _quote(keys)
    query = f"SELECT {key_names}, {names} FROM {table}"
    order = f"ORDER BY {key_names} LIMIT {ROWS_AT_ONCE}"
    next_query = f"{query} WHERE ({key_names}) > ({', '.join('?' * len(keys))}) {order}"
    rows = await source.rows(f"{query} {order}")
    while rows:
        for row in rows:
            if any(isinstance(value, DamagedText) or (isinstance(value, str) and "\0" in value) for value in row):
                number = "-".join(map(str, row[: len(keys)]))
                raise OnhookError(
                    _("row {number} of {table} has a text that PostgreSQL cannot store", number=number, table=table),
                    hint=_("the page Issues and `onhook doctor` name it: remove it, or set it again"),
                )
        yield [row[len(keys) :] for row in rows]
        rows = await source.rows(next_query, rows[-1][: len(keys)])


async def _list_keys(source: SqliteDatabase, table: str) -> list[str]:
    """Return the columns that order a table: the number of a row, or the primary key where rows have none."""
    ((has_no_numbers,),) = await source.rows(
        "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?", (table,)
    )
    if not has_no_numbers:
        return ["rowid"]
    return [
        name for (name,) in await source.rows("SELECT name FROM pragma_table_info(?) WHERE pk ORDER BY pk", (table,))
    ]


async def _copy_numbers(source: SqliteDatabase, target: PostgresqlDatabase) -> None:
    """Continue the numbers of rows where the file is, also where its last rows were deleted."""
    for table, last_number in await source.rows("SELECT name, seq FROM sqlite_sequence ORDER BY name"):
        (key,) = (await source.rows(f"SELECT name FROM pragma_table_info({table!r}) WHERE pk = 1"))[0]
        if last_number:
            await target.rows("SELECT setval(pg_get_serial_sequence(?, ?), ?)", (table, key, last_number))


def _quote(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def _add_rows(checksum: int, rows: Sequence[Row]) -> int:
    """Add rows to the checksum of a table."""
    digests = (hashlib.sha256(msgspec.msgpack.encode(row)).digest() for row in rows)
    return (checksum + sum(int.from_bytes(digest) for digest in digests)) % CHECKSUM_MODULUS
