"""Restarts of a worker after an error."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from onhook.appdb.destination_spec import DestinationSpec
from onhook.config import Config
from onhook.delivery import worker_supervisor
from onhook.delivery.destinations.contract import DeliveryResult, DestinationClient, Notification
from onhook.delivery.destinations.opening import destination_opener
from onhook.delivery.metrics import AttemptMetrics
from onhook.delivery.record_reader import RecordReader
from onhook.delivery.worker import DeliveryDeps
from onhook.delivery.worker_supervisor import WorkerSupervisor
from onhook.lib.clock import SystemClock
from tests.delivery.harness import DeliveryHarness, WebhookReceiver, make_calls
from tests.waiting import wait_until


class FailingOpener:
    """Opens clients of which the first ones raise an error in each attempt."""

    def __init__(self, failure_count: int) -> None:
        self.failure_count = failure_count
        self.open_count = 0
        self._open_destination = destination_opener(Config())

    def open(self, spec: DestinationSpec, secrets: Sequence[str]) -> DestinationClient:
        client = self._open_destination(spec, secrets)
        self.open_count += 1
        if self.open_count <= self.failure_count:
            client.send = self._fail  # type: ignore[method-assign]
        return client

    async def _fail(self, notifications: Sequence[Notification]) -> Sequence[DeliveryResult]:
        raise ValueError("cannot sign")


@contextlib.asynccontextmanager
async def supervised(
    harness: DeliveryHarness, opener: FailingOpener, reports: list[Exception | None]
) -> AsyncIterator[WorkerSupervisor]:
    """Run a supervisor of destination 1; it adds to `reports`."""
    supervisor = WorkerSupervisor(
        1,
        deps=DeliveryDeps(
            record_reader=RecordReader(harness.store, harness.position_notifier),
            appdb=harness.appdb,
            clock=SystemClock(),
        ),
        open_destination=opener.open,
        metrics=AttemptMetrics(),
        report_error=reports.append,
    )
    task = asyncio.create_task(supervisor.run())
    try:
        yield supervisor
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_worker_supervisor_failing_attempts_report_no_success_in_between(
    harness: DeliveryHarness, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_supervisor, "RESTART_SECONDS_FIRST", 0.01)
    reports: list[Exception | None] = []
    await harness.add_destination("crm", receiver.url)
    await harness.put_calls(*make_calls(2))
    async with supervised(harness, FailingOpener(3), reports):
        await wait_until(lambda: len(receiver.accepted) == 2 and None in reports)
    assert [str(report) for report in reports[:4]] == ["cannot sign"] * 3 + ["None"]


async def test_worker_supervisor_idle_worker_reports_success(
    harness: DeliveryHarness, receiver: WebhookReceiver
) -> None:
    reports: list[Exception | None] = []
    await harness.add_destination("crm", receiver.url)
    async with supervised(harness, FailingOpener(0), reports):
        await wait_until(lambda: len(reports) > 0)
    assert set(reports) == {None}


async def test_worker_supervisor_removed_destination_ends(harness: DeliveryHarness) -> None:
    supervisor_reports: list[Exception | None] = []
    async with supervised(harness, FailingOpener(0), supervisor_reports) as supervisor:
        await asyncio.wait_for(supervisor.run(), 5)
    assert supervisor_reports == []
