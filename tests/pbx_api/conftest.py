"""A house for each test of the exchange."""

from collections.abc import AsyncIterator

import pytest

from tests.pbx_api.harness import House, running_house


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A running exchange without a call."""
    async with running_house() as running:
        yield running
