"""A house for each test of the exchange."""

from collections.abc import AsyncIterator

import pytest

from tests.pbx_api.harness import PbxApiHarness, open_pbx_api_harness


@pytest.fixture
async def harness() -> AsyncIterator[PbxApiHarness]:
    """A running exchange without a call."""
    async with open_pbx_api_harness() as opened_harness:
        yield opened_harness
