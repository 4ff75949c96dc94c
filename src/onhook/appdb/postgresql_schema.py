"""The schema of the application database on PostgreSQL: checks of the server, migrations, and what is left of deleted
rows.

Invariants: a database of a newer Onhook, or a schema of another program, is left alone; all steps of an upgrade are
applied in one transaction. Several processes that open a new database wait for the first.
"""

from onhook.appdb.postgresql_audit import create_triggers, has_triggers
from onhook.appdb.postgresql_connection import SCHEMA, Connection
from onhook.lib.errors import OnhookError, UsageError
from onhook.lib.messages import _
from onhook.lib.migrations import Migration, load_baseline, load_migrations

VERSION_MIN = 150_000
"""PostgreSQL 15, as the number of `server_version_num`."""

WRITER_LOCK = 0x4F6E6873
"""Key of the advisory lock that one writer has at a time, among all processes and machines: `Onhs`."""

LOCK_WRITER = f"SELECT pg_advisory_xact_lock({WRITER_LOCK})"

_SELECT_SERVER = (
    "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),"
    " to_regclass($1 || '.schema_version') IS NOT NULL,"
    " EXISTS (SELECT 1 FROM pg_class WHERE relnamespace = to_regnamespace($1))"
)
_SELECT_COLUMNS = (
    "SELECT 'TABLE ' || table_name || ' (' || string_agg(column_name || ' ' || data_type, ', ' ORDER BY"
    " ordinal_position) || ')' FROM information_schema.columns WHERE table_schema = $1 GROUP BY table_name"
    " UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = $1 ORDER BY 1"
)


def newest_version() -> int:
    """Return the version that this Onhook needs."""
    return max(step.version for step in (load_baseline("onhook.appdb", "postgresql"), *_steps()))


async def is_prepared(connection: Connection, location: str) -> bool:
    """Return whether the database is up to date, without a lock. Raises `UsageError` for one that cannot be used, and
    `OnhookError` for that of a newer Onhook.
    """
    return await _read_version(connection, location) == newest_version() and await has_triggers(connection)


async def prepare(connection: Connection, location: str) -> None:
    """Bring the database up to date, however long that takes. Raises `UsageError`, `OnhookError`."""
    await connection.execute("SET statement_timeout = 0")
    async with connection.transaction():
        await connection.execute(LOCK_WRITER)
        # Read again inside: another process may have been first.
        await _migrate(connection, await _read_version(connection, location))
        await create_triggers(connection)
    await connection.execute("RESET statement_timeout")


async def _read_version(connection: Connection, location: str) -> int:
    """Return the version of the schema, 0 without one. Raises `UsageError`, `OnhookError`."""
    server_version, encoding, has_version, has_tables = await connection.fetchrow(_SELECT_SERVER, SCHEMA)
    if server_version < VERSION_MIN:
        raise UsageError(_("PostgreSQL 15 or later is needed"), location=location, hint=_("upgrade the server"))
    if encoding != "UTF8":
        raise UsageError(
            _("the database has the encoding {encoding}", encoding=encoding),
            location=location,
            hint=_("CREATE DATABASE onhook ENCODING 'UTF8' TEMPLATE template0"),
        )
    if has_tables and not has_version:
        raise UsageError(
            _("the schema {schema} belongs to another program", schema=SCHEMA),
            location=location,
            hint=_("name another database"),
        )
    version = int(await connection.fetchval("SELECT version FROM schema_version")) if has_version else 0
    if version > newest_version():
        raise OnhookError(
            _("the application database was written by a newer Onhook"),
            location=location,
            hint=_("install that version again"),
        )
    return version


async def _migrate(connection: Connection, current_version: int) -> None:
    if current_version == 0:
        if await connection.fetchval("SELECT to_regnamespace($1) IS NULL", SCHEMA):
            await connection.execute(f"CREATE SCHEMA {SCHEMA}")
        baseline = load_baseline("onhook.appdb", "postgresql")
        for statement in baseline.statements:
            await connection.execute(statement)
        await connection.execute("INSERT INTO schema_version VALUES ($1)", baseline.version)
        current_version = baseline.version
    for step in _steps():
        if step.version > current_version:
            for statement in step.statements:
                await connection.execute(statement)
            await connection.execute("UPDATE schema_version SET version = $1", step.version)


def _steps() -> tuple[Migration, ...]:
    return load_migrations("onhook.appdb", "postgresql")


async def read_schema(connection: Connection) -> list[str]:
    """Return a line for each table and each index."""
    return [text for (text,) in await connection.fetch(_SELECT_COLUMNS, SCHEMA)]


async def overwrite_deleted(connection: Connection) -> None:
    """Write all tables anew, without what was deleted. What the server keeps elsewhere, such as its write-ahead log and
    backups, is its operator's.
    """
    tables = await connection.fetch("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = $1", SCHEMA)
    try:
        await connection.execute("SET statement_timeout = 0")
        await connection.execute(f"SELECT pg_advisory_lock({WRITER_LOCK})")
        for (table,) in tables:
            await connection.execute(f"VACUUM (FULL) {table}")
        await connection.execute(f"SELECT pg_advisory_unlock({WRITER_LOCK})")
        await connection.execute("RESET statement_timeout")
    except BaseException:
        connection.terminate()  # and with it the lock
        raise
