"""Contract tests of the store on DuckDB."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from onhook.store.contract import Store
from onhook.store.duckdb import open_store
from tests.store.contract import OpenStoreFixture, StoreContract
from tests.store.contract_exports import ExportContract
from tests.store.contract_order import OrderContract
from tests.store.contract_queues import QueueContract
from tests.store.contract_reports import ReportContract


class TestDuckDbStore(StoreContract, ExportContract, ReportContract, QueueContract, OrderContract):
    """All contract tests."""

    @pytest.fixture
    def stores(self, tmp_path: Path) -> OpenStoreFixture:
        numbers = count()

        @asynccontextmanager
        async def opened() -> AsyncIterator[Store]:
            store = await open_store(tmp_path / f"calls-{next(numbers)}.duckdb")
            try:
                yield store
            finally:
                await store.close()

        return opened
