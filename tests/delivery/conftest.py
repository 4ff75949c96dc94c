"""Fixtures of the delivery tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onhook.delivery import dispatcher, endpoint_health, retry_policy
from onhook.delivery.dispatcher import DeliveryDispatcher
from onhook.delivery.worker import DestinationWorker
from tests.delivery.harness import (
    DeliveryHarness,
    DispatcherCycles,
    WebhookReceiver,
    WorkerCycles,
    open_delivery_harness,
)


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[DeliveryHarness]:
    async with open_delivery_harness(tmp_path) as harness:
        yield harness


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with WebhookReceiver().listen() as receiver:
        yield receiver


@pytest.fixture
def worker_cycles(monkeypatch: pytest.MonkeyPatch) -> WorkerCycles:
    cycles, wait_for_work = WorkerCycles(), DestinationWorker._wait_for_work

    async def count_and_wait(worker: DestinationWorker) -> None:
        cycles.end_cycle(worker)
        await wait_for_work(worker)

    monkeypatch.setattr(DestinationWorker, "_wait_for_work", count_and_wait)
    return cycles


@pytest.fixture
def dispatcher_cycles(monkeypatch: pytest.MonkeyPatch) -> DispatcherCycles:
    cycles, check_issues = DispatcherCycles(), DeliveryDispatcher._check_issues

    async def check_and_count(delivery_dispatcher: DeliveryDispatcher) -> None:
        await check_issues(delivery_dispatcher)
        cycles.end_cycle()

    monkeypatch.setattr(DeliveryDispatcher, "_check_issues", check_and_count)
    monkeypatch.setattr(dispatcher, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(dispatcher, "ISSUE_CHECK_SECONDS", 0.01)
    return cycles


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
