"""Fixtures of the runtime's tests."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop

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
