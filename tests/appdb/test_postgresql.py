"""What is special about PostgreSQL: the schema, several processes, invalid addresses, a server that goes away."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.contract import AccessRefused
from onhook.appdb.fence import FencedOff, fenced
from onhook.appdb.leases import LEASE_MICROSECONDS
from onhook.appdb.postgresql import BEGIN_WRITE, PostgresqlDatabase
from onhook.appdb.postgresql_connection import SCHEMA, connect, translate_errors
from onhook.appdb.postgresql_schema import newest_version
from onhook.appdb.sqlite_file import open_writer
from onhook.lib.clock import SystemClock
from onhook.lib.errors import OnhookError, Unavailable, UsageError
from onhook.lib.migrations import load_migrations
from tests.appdb.conftest import CreateDatabase
from tests.delivery.destinations.broker_servers import free_port
from tests.postgresql_server import PASSWORD, PostgresqlServer

HOUR_US = 3_600 * 1_000_000

INTERNAL_TABLES = {"schema_version", "commit_count", "changes", "audit_triggers"}
TYPES = {"TEXT": "text", "INTEGER": "bigint", "BLOB": "bytea"}


async def test_postgresql_two_processes_share_one_database(create_database: CreateDatabase) -> None:
    """The walk of the short tests: a new schema, a change with its audit entry, a notification, and a lease."""
    url = create_database()
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(AppDb(PostgresqlDatabase(url))) for _ in range(2)]
        version = await second.version()
        waiting = asyncio.create_task(second.wait_for_change(version, 30))
        pbx = await first.add_pbx(name="Office", sn="3631A2128E66", secret="0123456789abcdef", now_us=HOUR_US)
        assert await waiting != version
        assert await second.pbxs() == [pbx]
        assert await second.pbx("oFFice") == pbx
        (entry,) = await second.audit.latest(10)
        assert entry.action == "add PBX Office and 1 more"
        assert entry.after["secrets"] == [{"label": "webhook", "text": "…"}]
        with pytest.raises(UsageError, match="already a PBX named"):
            await second.add_pbx(name="OFFICE", sn="3631A2128E67", secret="0123456789abcdef", now_us=HOUR_US)
        await check_lease_is_measured_by_the_server(first, second)


async def check_lease_is_measured_by_the_server(first: AppDb, second: AppDb) -> None:
    """However wrong the clock of a machine is; an owner that is overtaken can commit nothing."""
    now_us = SystemClock().microseconds()
    lease = await first.leases.acquire("destination:1", "a", now_us=now_us)
    assert lease is not None
    assert await second.leases.acquire("destination:1", "b", now_us=now_us + HOUR_US) is None
    assert await first.leases.renew("a", {"destination:1": lease.fence}, now_us=now_us - HOUR_US)
    assert await second.leases.acquire("destination:1", "b", now_us=now_us + HOUR_US) is None
    await second._database.write("UPDATE leases SET until = until - ?", (LEASE_MICROSECONDS,))
    next_lease = await second.leases.acquire("destination:1", "b", now_us=now_us - HOUR_US)
    assert next_lease is not None
    assert next_lease.fence > lease.fence
    with fenced(lease), pytest.raises(FencedOff):
        await first.saved_searches.add("Late", "/calls", author="Alice")
    assert await second.saved_searches.all() == []


@pytest.mark.slow
async def test_schema_is_equal_in_meaning_to_that_of_sqlite(create_database: CreateDatabase, tmp_path: Path) -> None:
    """The same version, tables, and columns in the same order, with the same types, limits and keys."""
    assert newest_version() == load_migrations("onhook.appdb", "sqlite")[-1].version
    with closing(open_writer(tmp_path / "onhook.db")) as connection:
        expected = {name: sqlite_columns(connection, name) for name in sqlite_tables(connection)}
    database = PostgresqlDatabase(create_database())
    rows = await database.rows(
        "SELECT table_name, column_name, data_type, is_nullable = 'NO' FROM information_schema.columns"
        " WHERE table_schema = ? ORDER BY table_name, ordinal_position",
        (SCHEMA,),
    )
    key_rows = await database.rows(
        "SELECT table_name, column_name FROM information_schema.key_column_usage JOIN"
        " information_schema.table_constraints USING (constraint_schema, constraint_name, table_name)"
        " WHERE constraint_type = 'PRIMARY KEY' AND constraint_schema = ?",
        (SCHEMA,),
    )
    await database.close()
    columns: dict[str, list[tuple[str, str, bool, bool]]] = {}
    for table, column, data_type, is_required in rows:
        if table not in INTERNAL_TABLES:
            is_key = (table, column) in key_rows
            columns.setdefault(table, []).append((column, data_type, is_required, is_key))
    assert columns == expected


def sqlite_tables(connection: sqlite3.Connection) -> list[str]:
    query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    return [name for (name,) in connection.execute(query)]


def sqlite_columns(connection: sqlite3.Connection, table: str) -> list[tuple[str, str, bool, bool]]:
    # SQLite does not report that a key is required.
    return [
        (name, TYPES[data_type], bool(is_required or key), bool(key))
        for _number, name, data_type, is_required, _default, key in connection.execute(f"PRAGMA table_info({table})")
    ]


@pytest.mark.slow
async def test_open_by_many_processes_at_once_migrates_once(create_database: CreateDatabase) -> None:
    url = create_database()
    databases = [PostgresqlDatabase(url) for _number in range(6)]
    await asyncio.gather(*(database.open() for database in databases))
    assert await databases[0].rows("SELECT version FROM schema_version") == [(newest_version(),)]
    for database in databases:
        await database.close()


@pytest.mark.slow
async def test_open_database_of_a_newer_onhook_is_refused(create_database: CreateDatabase) -> None:
    url = create_database()
    async with opened(url) as database:
        await database.write("UPDATE schema_version SET version = version + 1")
    with pytest.raises(OnhookError, match="written by a newer Onhook"):
        await PostgresqlDatabase(url).open()


@pytest.mark.slow
async def test_open_schema_of_another_program_is_refused(create_database: CreateDatabase) -> None:
    url = create_database()
    async with opened(url) as database:
        await database.write("DROP TABLE schema_version")
    with pytest.raises(UsageError, match="belongs to another program"):
        await PostgresqlDatabase(url).open()


@pytest.mark.parametrize(
    "url", ["", "onhook.db", "mysql://a:b@c/d", "postgresql://onhook:geheim@host", "postgresql://"], ids=repr
)
def test_invalid_address_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(UsageError, match="not the address of a PostgreSQL database") as caught:
        PostgresqlDatabase(url)
    assert "geheim" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "wrong_part", "reason"),
    [
        (PASSWORD, "geheim", "password authentication failed"),
        ("onhook:", "geheimer:", "password authentication failed"),
        ("/appdb", "/other_appdb", "does not exist"),
    ],
)
async def test_wrong_user_password_or_database_is_an_error_of_the_setting_and_not_shown(
    create_database: CreateDatabase, part: str, wrong_part: str, reason: str
) -> None:
    """No retry helps: it is not said that the server is unavailable."""
    url = create_database()
    assert part in url
    database = PostgresqlDatabase(url.replace(part, wrong_part))
    with pytest.raises(AccessRefused, match=rf"the setting `appdb` says: .*{reason}.*ONHOOK_APPDB") as caught:
        await database.open()
    assert PASSWORD not in str(caught.value)
    assert "geheim@" not in str(caught.value)
    await database.close()


@pytest.mark.slow
async def test_violated_constraint_shows_no_value(create_database: CreateDatabase) -> None:
    """The server's own message has the row."""
    async with opened(create_database()) as database:
        insert = "INSERT INTO mask_key VALUES (?, 'geheim')"
        with pytest.raises(OnhookError, match="mask_key") as caught:
            await database.write(insert, (2,))
    assert "geheim" not in str(caught.value)


async def test_server_that_refuses_connections_is_unavailable_with_the_reason_as_text() -> None:
    """Not as a number of the system."""
    database = PostgresqlDatabase(f"postgresql://onhook:secret@127.0.0.1:{free_port()}/onhook")
    with pytest.raises(Unavailable, match=r"cannot use the application database now: Connect call failed"):
        await database.open()
    await database.close()


@pytest.mark.slow
async def test_server_that_goes_away_is_unavailable_until_it_is_back(
    create_database: CreateDatabase, postgresql_server: PostgresqlServer
) -> None:
    """Calls fail, also inside a transaction; afterwards they work, and changes are notified again."""
    insert = "INSERT INTO saved_searches (name, path, author) VALUES (?, '/calls', '')"
    async with opened(create_database()) as database:
        version = await database.version()
        postgresql_server.stop()
        try:
            for call in (database.rows("SELECT 1"), database.write(insert, ("a",)), database.version()):
                with pytest.raises(Unavailable):
                    await call
        finally:
            postgresql_server.start()
        assert await database.version() == version
        waiting = asyncio.create_task(database.wait_for_change(version, 30))
        assert await database.write(insert, ("a",)) == 1
        assert await waiting != version


@pytest.mark.slow
async def test_writer_that_stands_still_loses_the_lock(create_database: CreateDatabase) -> None:
    """As a stopped process does: the server ends its transaction, and nothing of it is committed."""
    insert = "INSERT INTO saved_searches (name, path, author) VALUES ('a', '/calls', '')"
    url = create_database()
    async with opened(url) as database:
        still = await connect(url, call_seconds=5, transaction_seconds=0.5, timeout_seconds=30)
        await still.execute(f"{BEGIN_WRITE}; {insert}")
        assert await database.write(insert.replace("'a'", "'b'")) == 1
        with pytest.raises(Unavailable), translate_errors("still"):
            await still.execute("COMMIT")
        assert await database.rows("SELECT name FROM saved_searches") == [("b",)]


@pytest.mark.slow
async def test_overwrite_deleted_no_bytes_are_left_in_the_tables(
    postgresql_server: PostgresqlServer, create_database: CreateDatabase
) -> None:
    """Nor in the audit log, where the change was left out of it; and other processes may write afterwards."""
    url = create_database()
    async with AppDb(PostgresqlDatabase(url)) as appdb, AppDb(PostgresqlDatabase(url)) as other_appdb:
        await appdb.saved_searches.add("First", "/calls?q=030901820", author="Eve")
        await appdb.saved_searches.add("Second", "/calls?q=stays", author="Eve")
        assert find_in_tables(postgresql_server, url, b"030901820")
        rows = await appdb.erasures.find(lambda text: "030901820" in text, [])
        assert (len(rows.saved_searches), len(rows.audit)) == (1, 1)
        await appdb.erasures.erase([], rows)
        assert find_in_tables(postgresql_server, url, b"030901820")
        await appdb.erasures.overwrite_deleted()
        assert not find_in_tables(postgresql_server, url, b"030901820")
        await other_appdb.saved_searches.add("Third", "/calls", author="Eve")
        assert [search.name for search in await appdb.saved_searches.all()] == ["Second", "Third"]
        assert "add (erased)" in [entry.action for entry in await appdb.audit.latest(10)]


def find_in_tables(server: PostgresqlServer, url: str, text: bytes) -> list[str]:
    """Return the files of the tables of a database that have a text, once the server has written them."""
    server.query("CHECKPOINT")
    ((number,),) = server.query("SELECT oid FROM pg_database WHERE datname = %s", url.rpartition("/")[2])
    folder = server.folder / "data" / "base" / str(number)
    return [path.name for path in folder.iterdir() if text in path.read_bytes()]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresqlDatabase]:
    database = PostgresqlDatabase(url)
    try:
        await database.open()
        yield database
    finally:
        await database.close()
