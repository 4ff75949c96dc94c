"""Fixtures of the delivery tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onhook.delivery import endpoint_health, retry_policy
from tests.delivery.harness import DeliveryHarness, WebhookReceiver, open_delivery_harness


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[DeliveryHarness]:
    async with open_delivery_harness(tmp_path) as harness:
        yield harness


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with WebhookReceiver().listen() as receiver:
        yield receiver


@pytest.fixture
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the nine waits of the retry policy and the waits of an endpoint that is down to hundredths
    of a second.
    """
    monkeypatch.setattr(retry_policy, "DAYS_DELAYS_SECONDS", (0.02,) * 9)
    monkeypatch.setattr(retry_policy, "ORIGINAL_DELAY_SECONDS", 0.02)
    monkeypatch.setattr(endpoint_health, "PROBE_SECONDS_FIRST", 1)
    monkeypatch.setattr(endpoint_health, "PROBE_SECONDS_MAX", 1)
    monkeypatch.setattr(endpoint_health, "_SECOND", 50_000)
