"""The intake's tests run on the loop that it has in life."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import uvloop

from tests.receiver.harness import ReceiverHarness, open_receiver


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[ReceiverHarness]:
    """An intake on the loopback, its ledger on disk."""
    async with open_receiver(tmp_path / "ledger.db") as opened_receiver:
        yield opened_receiver
