"""Fixtures of the tests of the ledger: its engines."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.ledger.jetstream_server import SERVER, JetStreamServer

STREAM_NUMBERS = count(1)


@pytest.fixture(scope="session")
def jetstream_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JetStreamServer]:
    if not SERVER:
        pytest.skip("nats-server is not installed")
    # Without an fsync for each message, as in the tests of PostgreSQL: these tests lose no power.
    server = JetStreamServer(tmp_path_factory.mktemp("nats"), sync_interval="1m")
    server.start()
    yield server
    server.process.stop()


@pytest.fixture
def stream_name() -> str:
    """Return the name of a ledger that no other test uses."""
    return f"LEDGER{next(STREAM_NUMBERS)}"
