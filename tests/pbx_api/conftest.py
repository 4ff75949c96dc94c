"""Fixtures of the PBX API's tests."""

from collections.abc import AsyncIterator

import pytest

from tests.pbx_api.harness import PbxApiHarness, open_pbx_api_harness


@pytest.fixture
async def harness() -> AsyncIterator[PbxApiHarness]:
    """Yield a running PBX API without calls."""
    async with open_pbx_api_harness() as opened_harness:
        yield opened_harness
