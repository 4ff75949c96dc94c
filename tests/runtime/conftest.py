"""Fixtures of the runtime's tests."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop

from onhook.config import Config
from onhook.ops.instance_lock import prepare_directory
from tests.ledger.jetstream_server import SERVER, JetStreamServer
from tests.postgresql_server import PROGRAMS, PostgresqlServer, run_postgresql
from tests.runtime.harness import Server, create_server

LOOPS: Mapping[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
IN_BOTH_LOOPS = ("test_http_server.py", "test_proxy_relay.py")
"""Modules about connections themselves, which the two event loops handle in different ways; production uses uvloop."""


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run each test of some modules in both event loops."""
    return LOOPS if item.path.name in IN_BOTH_LOOPS else {"asyncio": LOOPS["asyncio"]}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Yield a server with a registered PBX, not started."""
    with create_server(tmp_path / "data") as new_server:
        new_server.add_pbx()
        yield new_server


@pytest.fixture(scope="module")
def postgresql_server() -> Iterator[PostgresqlServer]:
    if not PROGRAMS:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with run_postgresql() as server:
        yield server


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JetStreamServer]:
    if not SERVER:
        pytest.skip("nats-server is not installed")
    server = JetStreamServer(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.process.stop()


@pytest.fixture
def shared_config(
    postgresql_server: PostgresqlServer, nats_server: JetStreamServer, request: pytest.FixtureRequest, tmp_path: Path
) -> Config:
    """Return the configuration of a machine with an empty database on a server; there are no streams yet."""
    name = f"cluster_{abs(hash(request.node.name)) % 10**12}"
    postgresql_server.query(f"CREATE DATABASE {name}")
    config = Config(
        data=tmp_path / "data",
        appdb=postgresql_server.database_url(name),
        ledger=nats_server.checked_url(name),
    )
    prepare_directory(config)
    return config
