"""Fixtures of the tests of the ledger: its engines."""

from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest

from onhook.ledger.jetstream import JetStreamLedger
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


@pytest.fixture
async def ledger(jetstream_server: JetStreamServer, stream_name: str) -> AsyncIterator[JetStreamLedger]:
    ledger = await jetstream_server.create_ledger(stream_name)
    yield ledger
    await ledger.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[JetStreamServer]:
    server = JetStreamServer(tmp_path)
    server.start()
    yield server
    server.process.stop()
