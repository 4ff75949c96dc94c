"""Fixtures of the receiver's tests, on the event loop of production."""

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
    """Yield a receiver on the loopback, with its ledger on disk."""
    async with open_receiver(tmp_path / "ledger.db") as opened_receiver:
        yield opened_receiver
