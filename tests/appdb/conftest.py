"""Fixtures of the tests of the application database: its engines."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from onhook.appdb import access_tokens, api_clients, sessions
from onhook.appdb import appdb as appdb_module
from onhook.appdb.contract import CALL_SECONDS_MAX
from onhook.appdb.postgresql import PostgresqlDatabase
from tests.postgresql_server import PROGRAMS, PostgresqlServer, run_postgresql

CreateDatabase = Callable[[], str]
"""Creates an empty database of PostgreSQL; returns its address, with the password."""


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    if not PROGRAMS:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with run_postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def create_database(postgresql_server: PostgresqlServer) -> CreateDatabase:
    numbers = count(1)

    def create() -> str:
        name = f"appdb{next(numbers)}"
        postgresql_server.query(f"CREATE DATABASE {name}")
        return postgresql_server.database_url(name)

    return create


@pytest.fixture(scope="session")
def copy_database(postgresql_server: PostgresqlServer, create_database: CreateDatabase) -> CreateDatabase:
    """Create databases that have the schema already, which is faster."""
    template_url = create_database()
    with ThreadPoolExecutor(1) as executor:  # an event loop may run here
        executor.submit(asyncio.run, _open_and_close(template_url)).result()
    template = template_url.rpartition("/")[2]
    numbers = count(1)

    def create() -> str:
        name = f"{template}_{next(numbers)}"
        postgresql_server.query(f"CREATE DATABASE {name} TEMPLATE {template}")
        return postgresql_server.database_url(name)

    return create


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
async def each_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """Run the test with each engine: a path stands for a database of its own."""
    databases: list[PostgresqlDatabase] = []
    if request.param == "postgresql":
        create_database: CreateDatabase = request.getfixturevalue("copy_database")
        urls: dict[Path, str] = {}

        def open_database(path: Path) -> PostgresqlDatabase:
            if path not in urls:
                urls[path] = create_database()
            databases.append(PostgresqlDatabase(urls[path]))
            return databases[-1]

        monkeypatch.setattr(appdb_module, "SqliteDatabase", open_database)
        for module in (access_tokens, api_clients, sessions):
            # On a busy machine a server takes longer than a file, and a time of use that is late is left out.
            monkeypatch.setattr(module, "LAST_USED_SECONDS", CALL_SECONDS_MAX)
    yield str(request.param)
    for database in databases:
        await database.close()


@pytest.fixture
def sqlite_file(each_engine: str) -> None:
    """Leave the test out for other engines: it reads or damages the file, or writes very many rows."""
    if each_engine != "sqlite":
        pytest.skip("a test of the file of SQLite")


async def _open_and_close(url: str) -> None:
    database = PostgresqlDatabase(url)
    await database.open()
    await database.close()
