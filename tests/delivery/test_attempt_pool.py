"""Concurrent attempts."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.delivery_rows import NewAttempt
from onhook.cdr.record import Record
from onhook.delivery.attempt_pool import LEFT_OUT_SECONDS, AttemptPool, AttemptSender
from onhook.delivery.destinations.contract import DeliveryResult, Notification, SendLimits, not_attempted
from onhook.delivery.endpoint_health import DOWN_AFTER_FAILURES, EndpointHealth, EndpointState
from onhook.delivery.metrics import AttemptMetrics
from onhook.delivery.notification_queues import NotificationQueues
from onhook.delivery.per_call_queue import PendingNotification, PerCallQueue
from onhook.delivery.rate_limit import RateLimit
from onhook.delivery.retry_queue import RetryQueue
from onhook.lib.clock import Clock, SystemClock
from tests.delivery.factories import NOW, SECOND, delivery_result, pending_notification
from tests.waiting import wait_until

ATTEMPTS_MAX = 3
LIMITS = SendLimits(attempts_max=ATTEMPTS_MAX)


class ControlledClient:
    """A destination whose attempts end when the test says so; a batch has the id of its first notification."""

    limits = SendLimits()

    def __init__(self) -> None:
        self.attempts: dict[str, asyncio.Future[DeliveryResult]] = {}
        self.tasks: set[asyncio.Task[Any] | None] = set()
        self.batches: list[list[str]] = []

    async def send(self, notifications: Sequence[Notification]) -> Sequence[DeliveryResult]:
        notification = notifications[0]
        self.batches.append([item.notification_id for item in notifications])
        self.tasks.add(asyncio.current_task())
        attempt: asyncio.Future[DeliveryResult] = asyncio.get_running_loop().create_future()
        self.attempts[notification.notification_id] = attempt
        try:
            return [await attempt] * len(notifications)
        finally:
            del self.attempts[notification.notification_id]

    async def end(self, notification_id: str, result: DeliveryResult | Exception) -> None:
        if isinstance(result, DeliveryResult):
            self.attempts[notification_id].set_result(result)
        else:
            self.attempts[notification_id].set_exception(result)
        await run_tasks()

    def format_payload(self, record: Record) -> bytes:
        raise AssertionError("a pool sends what was formatted before")

    def format_test_payload(self) -> bytes:
        raise AssertionError("a pool sends no tests")

    def format_sample_payload(self, now: datetime) -> bytes:
        raise AssertionError("a pool sends no samples")

    async def close(self) -> None:
        raise AssertionError("a pool does not own its client")


class MovedClock(SystemClock):
    """A clock that a test moves; in microseconds since 1970."""

    def __init__(self, now_us: int) -> None:
        self.now_us = now_us

    def microseconds(self) -> int:
        return self.now_us


class PoolHarness:
    """A pool with its queues; `results` are those that the callback received."""

    def __init__(
        self, retries: RetryQueue, limits: SendLimits = LIMITS, rate: float = 0, clock: Clock | None = None
    ) -> None:
        self.client = ControlledClient()
        self.is_all_read = True
        self.endpoint = EndpointState(EndpointHealth())
        self.queues = NotificationQueues(PerCallQueue(()), retries)
        self.metrics = AttemptMetrics()
        self.results: list[tuple[str, str]] = []
        self.wakes = 0
        self.pool = AttemptPool(
            limits=limits,
            rate_limit=RateLimit(rate),
            sender=AttemptSender(client=self.client, clock=clock or SystemClock(), metrics=self.metrics),
            queues=self.queues,
            endpoint=self.endpoint,
            on_result=self._on_result,
            wake=self._on_wake,
            is_all_read=lambda: self.is_all_read,
        )

    async def start(self, count: int) -> list[str]:
        """Start attempts with so many notifications of different calls; return the ids of those in progress."""
        for seq in range(1, count + 1):
            self.queues.calls.add(pending_notification(seq, ("SN", f"1.{seq}")))
        self.pool.start_attempts()
        await run_tasks()
        return list(self.client.attempts)

    def _on_result(self, notification: PendingNotification, result: DeliveryResult, attempt: NewAttempt) -> None:
        if not result.is_left_out:
            self.endpoint.record_result(result, attempt.attempted_at)
        self.results.append((notification.notification_id, result.outcome))

    def _on_wake(self) -> None:
        self.wakes += 1


async def run_tasks() -> None:
    """Let all other tasks run until they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[PoolHarness]:
    appdb = AppDb(tmp_path / "onhook.db")
    yield PoolHarness(RetryQueue(appdb.deliveries, 1))
    await appdb.close()


async def test_attempt_pool_many_notifications_starts_the_allowed_attempts(harness: PoolHarness) -> None:
    assert await harness.start(9) == ["e1", "e2", "e3"]
    assert not harness.pool.is_idle
    harness.pool.start_attempts()
    await run_tasks()
    assert list(harness.client.attempts) == ["e1", "e2", "e3"]
    await harness.pool.close(0)


async def test_attempt_pool_ended_attempt_continues_in_its_task(harness: PoolHarness) -> None:
    """There is no task and, while many are ready, no wake-up per notification."""
    await harness.start(9)
    await harness.client.end("e2", delivery_result("accepted"))
    assert list(harness.client.attempts) == ["e1", "e3", "e4"]
    assert (harness.results, len(harness.client.tasks), harness.wakes) == ([("e2", "accepted")], ATTEMPTS_MAX, 0)
    await harness.pool.close(0)


async def test_attempt_pool_few_ready_notifications_wakes_the_worker(harness: PoolHarness) -> None:
    """So that it reads ahead before none is left."""
    await harness.start(ATTEMPTS_MAX + 2)
    await harness.client.end("e1", delivery_result("accepted"))
    assert (harness.wakes, harness.queues.ready_count) == (1, 1)
    await harness.pool.close(0)


async def test_attempt_pool_last_attempt_ended_is_idle(harness: PoolHarness) -> None:
    await harness.start(1)
    await harness.client.end("e1", delivery_result("accepted"))
    assert (harness.pool.is_idle, harness.metrics.attempts["accepted"]) == (True, 1)
    harness.pool.raise_error()


async def test_attempt_pool_batch_that_left_some_out_is_followed_by_a_wait(harness: PoolHarness) -> None:
    """What was left out is no attempt, and counts in no metric."""
    await harness.start(ATTEMPTS_MAX + 1)
    await harness.client.end("e1", not_attempted("the others follow"))
    assert list(harness.client.attempts) == ["e2", "e3"]
    assert 0 < harness.pool.seconds_until_allowed() <= LEFT_OUT_SECONDS
    assert sum(harness.metrics.attempts.values()) == 0
    await wait_until(lambda: harness.pool.seconds_until_allowed() == 0)
    harness.pool.start_attempts()
    await run_tasks()
    assert list(harness.client.attempts) == ["e2", "e3", "e4"]
    await harness.pool.close(0)


async def test_attempt_pool_endpoint_that_is_down_gets_one_attempt(harness: PoolHarness) -> None:
    harness.endpoint.health = EndpointHealth(failures=DOWN_AFTER_FAILURES)
    assert await harness.start(9) == ["e1"]
    await harness.pool.close(0)


async def test_attempt_pool_endpoint_that_went_down_ends_the_other_tasks(harness: PoolHarness) -> None:
    harness.endpoint.health = EndpointHealth(failures=DOWN_AFTER_FAILURES - 1)
    await harness.start(9)
    for notification_id in ("e1", "e2", "e3"):
        await harness.client.end(notification_id, delivery_result("unreachable"))
    assert (harness.pool.is_idle, harness.queues.ready_count) == (True, 6)


async def test_attempt_pool_disabled_destination_gets_no_further_attempt(harness: PoolHarness) -> None:
    await harness.start(9)
    for notification_id in ("e1", "e2", "e3"):
        await harness.client.end(notification_id, delivery_result("gone"))
    harness.pool.start_attempts()
    assert (harness.pool.is_idle, harness.queues.ready_count) == (True, 6)


async def test_attempt_pool_error_of_an_attempt_is_raised_to_the_worker(harness: PoolHarness) -> None:
    await harness.start(2)
    await harness.client.end("e1", ValueError("cannot sign"))
    assert harness.wakes == 1
    with pytest.raises(ValueError, match="cannot sign"):
        harness.pool.raise_error()
    await harness.pool.close(0)


async def test_attempt_pool_aborted_attempts_give_no_results(harness: PoolHarness) -> None:
    """Their notifications stay pending; it is no error."""
    await harness.start(2)
    await harness.pool.close(0)
    assert (harness.pool.is_idle, harness.results, harness.wakes) == (True, [], 0)
    harness.pool.raise_error()


async def test_attempt_pool_closing_waits_for_the_attempts_in_progress(harness: PoolHarness) -> None:
    """And begins no other one."""
    await harness.start(9)
    closing = asyncio.create_task(harness.pool.close(60))
    for notification_id in ("e1", "e2", "e3"):
        assert not closing.done()
        await harness.client.end(notification_id, delivery_result("accepted"))
    await closing
    assert harness.results == [("e1", "accepted"), ("e2", "accepted"), ("e3", "accepted")]
    assert (harness.pool.is_idle, harness.queues.ready_count) == (True, 6)


async def test_attempt_pool_cancelled_closing_aborts_the_attempts(harness: PoolHarness) -> None:
    """An overdue worker is cancelled once more."""
    await harness.start(2)
    closing = asyncio.create_task(harness.pool.close(60))
    await run_tasks()
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert (harness.pool.is_idle, harness.results) == (True, [])


@pytest.mark.parametrize(
    ("result", "has_succeeded"),
    [(None, False), (delivery_result("rejected"), True), (ValueError("cannot sign"), False)],
)
async def test_attempt_pool_has_succeeded_needs_a_result(
    harness: PoolHarness, result: DeliveryResult | Exception | None, has_succeeded: bool
) -> None:
    """Or nothing to attempt."""
    assert harness.pool.has_succeeded
    await harness.start(2)
    if result is not None:
        await harness.client.end("e1", result)
    assert harness.pool.has_succeeded is has_succeeded
    await harness.pool.close(0)
    assert harness.pool.has_succeeded is not isinstance(result, Exception)


async def test_attempt_sender_result_is_measured(harness: PoolHarness) -> None:
    sender = AttemptSender(client=harness.client, clock=SystemClock(), metrics=harness.metrics)
    sending = asyncio.create_task(sender.send([pending_notification(1)]))
    await run_tasks()
    rejection = DeliveryResult(outcome="rejected", detail="answered 500", status=500, body=b"no")
    await harness.client.end("e1", rejection)
    ((result, attempt),) = await sending
    assert result is rejection
    assert (attempt.status, attempt.detail, attempt.body) == (500, "answered 500", b"no")
    assert attempt.duration_ms < harness.metrics.durations.total_seconds * 1_000 + 1
    assert harness.metrics.attempts["rejected"] == 1


@pytest.fixture
async def retries(tmp_path: Path) -> AsyncIterator[RetryQueue]:
    async with AppDb(tmp_path / "onhook.db") as appdb:
        yield RetryQueue(appdb.deliveries, 1)


async def test_attempt_pool_batch_is_what_is_ready(retries: RetryQueue) -> None:
    """No notification waits for a batch to fill, and none is larger than its limit."""
    harness = PoolHarness(retries, SendLimits(attempts_max=1, batch_count=3))
    await harness.start(5)
    assert harness.client.batches == [["e1", "e2", "e3"]]
    await harness.client.end("e1", delivery_result("accepted"))
    assert harness.client.batches[1:] == [["e4", "e5"]]
    await harness.client.end("e4", delivery_result("accepted"))
    assert harness.results == [(f"e{seq}", "accepted") for seq in range(1, 6)]
    assert (harness.metrics.attempts["accepted"], harness.pool.is_idle) == (5, True)


async def test_attempt_pool_batch_ends_at_its_bytes(retries: RetryQueue) -> None:
    body_bytes = len(pending_notification(1).body)
    harness = PoolHarness(retries, SendLimits(attempts_max=1, batch_count=9, batch_bytes=body_bytes + 1))
    await harness.start(5)
    assert harness.client.batches == [["e1", "e2"]]
    await harness.pool.close(0)


async def test_attempt_pool_endpoint_is_down_sends_one_notification(retries: RetryQueue) -> None:
    harness = PoolHarness(retries, SendLimits(attempts_max=1, batch_count=9))
    harness.endpoint.health = EndpointHealth(failures=DOWN_AFTER_FAILURES)
    await harness.start(5)
    assert harness.client.batches == [["e1"]]
    await harness.pool.close(0)


async def test_attempt_pool_two_batches_are_uncommitted_at_most(retries: RetryQueue) -> None:
    harness = PoolHarness(retries, SendLimits(attempts_max=8, batch_count=100))
    await harness.start(1000)
    assert [len(batch) for batch in harness.client.batches] == [100, 100]
    await harness.pool.close(0)


async def test_attempt_pool_rate_limit_reached_starts_no_attempt(retries: RetryQueue) -> None:
    """Until its time has passed; the worker waits for as long."""
    harness = PoolHarness(retries, SendLimits(attempts_max=8, batch_count=8), rate=30)
    assert harness.pool.seconds_until_allowed() == 0
    await harness.start(9)
    assert harness.client.batches == [["e1", "e2", "e3"]]
    assert 0 < harness.pool.seconds_until_allowed() <= 0.1
    await harness.pool.close(0)


AGED_LIMITS = SendLimits(attempts_max=1, batch_count=3, batch_age_seconds=60)


async def test_attempt_pool_batch_waits_until_its_oldest_notification_is_old(retries: RetryQueue) -> None:
    clock = MovedClock(NOW + 20 * SECOND)
    harness = PoolHarness(retries, AGED_LIMITS, clock=clock)
    assert await harness.start(2) == []
    assert harness.pool.seconds_until_allowed() == 40
    clock.now_us += 40 * SECOND
    harness.pool.start_attempts()
    await run_tasks()
    assert harness.client.batches == [["e1", "e2"]]
    await harness.pool.close(0)


async def test_attempt_pool_full_batch_waits_for_no_age(retries: RetryQueue) -> None:
    """And what is left waits again."""
    harness = PoolHarness(retries, AGED_LIMITS, clock=MovedClock(NOW))
    await harness.start(5)
    await harness.client.end("e1", delivery_result("accepted"))
    harness.pool.start_attempts()
    await run_tasks()
    assert (harness.client.batches, harness.pool.seconds_until_allowed()) == ([["e1", "e2", "e3"]], 60)


async def test_attempt_pool_batch_waits_for_no_age_while_more_can_be_read(retries: RetryQueue) -> None:
    """Each batch begins after the worker has read, so that it is as large as possible."""
    harness = PoolHarness(retries, AGED_LIMITS, clock=MovedClock(NOW))
    harness.is_all_read = False
    assert await harness.start(4) == ["e1"]
    await harness.client.end("e1", delivery_result("accepted"))
    assert harness.client.batches == [["e1", "e2", "e3"]]
    harness.pool.start_attempts()
    await run_tasks()
    assert harness.client.batches[1:] == [["e4"]]
    await harness.pool.close(0)


async def test_attempt_pool_batch_waits_for_no_age_at_a_down_endpoint_or_after_the_clock_was_set_back(
    retries: RetryQueue,
) -> None:
    harness = PoolHarness(retries, AGED_LIMITS, clock=MovedClock(NOW - SECOND))
    assert await harness.start(1) == ["e1"]
    await harness.pool.close(0)
    harness = PoolHarness(retries, AGED_LIMITS, clock=MovedClock(NOW))
    harness.endpoint.health = EndpointHealth(failures=DOWN_AFTER_FAILURES)
    assert await harness.start(1) == ["e1"]
    await harness.pool.close(0)
