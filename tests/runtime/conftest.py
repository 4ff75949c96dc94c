"""A house for each test of the hall."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.harness import House, house_in


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house in which a PBX is declared; not started."""
    with house_in(tmp_path / "house") as one:
        one.add_pbx()
        yield one
