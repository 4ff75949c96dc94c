"""What tests of the delivery share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onhook.delivery import health, schedule
from tests.delivery.houses import Application, House, open_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
        yield opened


@pytest.fixture
async def application() -> AsyncIterator[Application]:
    async with Application().listening() as listening:
        yield listening


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan with its nine waits and the probes, each a few hundredths of a second."""
    monkeypatch.setattr(schedule, "DAYS_SECONDS", (0.02,) * 9)
    monkeypatch.setattr(schedule, "ORIGINAL_SECONDS", 0.02)
    monkeypatch.setattr(health, "PROBE_SECONDS_FIRST", 1)
    monkeypatch.setattr(health, "PROBE_SECONDS_MAX", 1)
    monkeypatch.setattr(health, "_SECOND", 50_000)
