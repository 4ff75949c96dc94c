"""A store with two calls, and a runner of SQL on it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onhook.lib.clock import SystemClock
from onhook.store.duckdb import DuckDbStore, open_store
from onhook.store.sql.runner import SqlProcessRunner
from tests.factories import call, record
from tests.store.contract import batch
from tests.store.sql.attacks import SECRET


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DuckDbStore]:
    """Yield an open store, beside a file with a secret."""
    (tmp_path / "secret.csv").write_text(f"{SECRET}\n")
    opened = await open_store(tmp_path / "calls.duckdb")
    await opened.put(batch(call(record()), call(record(status="BUSY", talk_duration=0))))
    yield opened
    await opened.close()


@pytest.fixture
async def runner(store: DuckDbStore, tmp_path: Path) -> AsyncIterator[SqlProcessRunner]:  # noqa: ARG001 - its file
    """Yield a runner on the open store."""
    opened = SqlProcessRunner(tmp_path / "calls.duckdb", tmp_path / "sql", SystemClock())
    yield opened
    await opened.close()
