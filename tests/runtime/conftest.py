"""Fixtures of the runtime's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.harness import Server, create_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Yield a server with a registered PBX, not started."""
    with create_server(tmp_path / "data") as new_server:
        new_server.add_pbx()
        yield new_server
