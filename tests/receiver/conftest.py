"""The intake's tests run on the loop that it has in life."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import uvloop

from tests.receiver.harness import OpenDoor, open_door


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[OpenDoor]:
    """An intake on the loopback, its ledger on disk."""
    async with open_door(tmp_path / "ledger.db") as one:
        yield one
