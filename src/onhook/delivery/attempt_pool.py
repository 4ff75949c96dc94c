"""Concurrent attempts of one destination.

Invariants: no more attempts run at a time than the health of the endpoint allows, nor more than may be sent again after
a crash, with the results that are not committed. Of one call one notification is in
progress at a time, so a batch has no two of one call. Under load there is neither a task nor a wake-up per
notification: a task that has a result goes on with the next batch. An endpoint that is down is tried with one
notification at a time.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from onhook.appdb.delivery_rows import NewAttempt
from onhook.delivery.commit_batch import UNCOMMITTED_MAX
from onhook.delivery.destinations.contract import DeliveryResult, DestinationClient, Notification, SendLimits
from onhook.delivery.endpoint_health import EndpointState
from onhook.delivery.external_ids import ExternalIdCache
from onhook.delivery.metrics import AttemptMetrics
from onhook.delivery.notification_queues import NotificationQueues
from onhook.delivery.per_call_queue import PendingNotification
from onhook.delivery.rate_limit import RateLimit
from onhook.lib.clock import Clock

UNCOMMITTED_BATCHES_MAX = 2
"""One that is sent while the results of the one before are committed: receivers of batches recognise repeats."""

LEFT_OUT_SECONDS = 0.2
"""Wait after a batch of which some were left out, so that what is refused is not sent in a tight loop."""

_SECOND = 1_000_000

ResultCallback = Callable[[PendingNotification, DeliveryResult, NewAttempt], None]
"""Receives a notification and the result of an attempt, before the next attempt begins."""


class AttemptSender(msgspec.Struct, frozen=True, kw_only=True):
    """Makes attempts and measures them. `external_ids` are those of the destination, where it has such."""

    client: DestinationClient
    clock: Clock
    metrics: AttemptMetrics
    external_ids: ExternalIdCache | None = None

    async def send(self, batch: Sequence[PendingNotification]) -> Sequence[tuple[DeliveryResult, NewAttempt]]:
        """Make one attempt with a batch; return a result for each notification, in order."""
        time = asyncio.get_running_loop().time
        external_ids = [await self._find_external_id(notification) for notification in batch]
        attempted_at, started_at = self.clock.microseconds(), time()
        results = await self.client.send(
            [
                Notification(notification.notification_id, notification.body, attempted_at, external_id=external_id)
                for notification, external_id in zip(batch, external_ids, strict=True)
            ]
        )
        duration_seconds = time() - started_at
        self._keep_external_ids(batch, results)
        for result in results:
            if not result.is_left_out:
                self.metrics.record_attempt(result.outcome, duration_seconds)
        self._record_lags(batch, results)
        return [(result, _new_attempt(result, attempted_at, duration_seconds)) for result in results]

    def _record_lags(self, batch: Sequence[PendingNotification], results: Sequence[DeliveryResult]) -> None:
        now_us = self.clock.microseconds()
        for notification, result in zip(batch, results, strict=True):
            if result.outcome == "accepted" and notification.lag_since:
                self.metrics.record_lag((now_us - notification.lag_since) / _SECOND)

    async def _find_external_id(self, notification: PendingNotification) -> str:
        return "" if self.external_ids is None else await self.external_ids.find(notification.call)

    def _keep_external_ids(self, batch: Sequence[PendingNotification], results: Sequence[DeliveryResult]) -> None:
        for notification, result in zip(batch, results, strict=True):
            if result.external_id and self.external_ids is not None:
                self.external_ids.add(notification.call, result.external_id)


class AttemptPool:
    """Tasks that make the attempts. Calls `wake` when few notifications are left, or an attempt ended with an error."""

    def __init__(
        self,
        *,
        limits: SendLimits,
        sender: AttemptSender,
        queues: NotificationQueues,
        endpoint: EndpointState,
        on_result: ResultCallback,
        wake: Callable[[], None],
        uncommitted_count: Callable[[], int] = lambda: 0,
        rate_limit: RateLimit | None = None,
        is_all_read: Callable[[], bool] = lambda: True,
    ) -> None:
        self._limits = limits
        self._uncommitted_max = max(UNCOMMITTED_MAX, limits.batch_count * UNCOMMITTED_BATCHES_MAX)
        self._rate_limit = rate_limit or RateLimit(0)
        self._uncommitted_count = uncommitted_count
        self._is_all_read = is_all_read
        self._sender = sender
        self._queues = queues
        self._endpoint = endpoint
        self._on_result = on_result
        self._wake = wake
        self._tasks: dict[asyncio.Task[None], None] = {}  # in the order of their start
        self._in_progress_count = 0
        self._left_out_until = 0.0
        self._has_result = False
        self._is_closing = False
        self._error: BaseException | None = None

    @property
    def is_idle(self) -> bool:
        """Return whether no attempt is in progress."""
        return not self._tasks

    @property
    def has_succeeded(self) -> bool:
        """Return whether attempts have had results, or none is in progress; False after an error."""
        return self._error is None and (self._has_result or self.is_idle)

    def start_attempts(self) -> None:
        """Start as many attempts as allowed."""
        while batch := self._next_batch():
            task = asyncio.create_task(self._run_attempts(batch))
            self._tasks[task] = None
            task.add_done_callback(self._on_task_done)

    def seconds_until_allowed(self) -> float:
        """Return the wait that the rate limit, or a batch that is not full, requires before the next attempt."""
        return max(self._rate_limit.wait_seconds(asyncio.get_running_loop().time()), self._seconds_until_batch())

    def raise_error(self) -> None:
        """Raise the error of an attempt that ended with an error instead of a result."""
        if self._error is not None:
            raise self._error

    async def close(self, seconds: float) -> None:
        """Start no attempt any more, and let those in progress end; abort those that have not ended after some seconds,
        whose notifications stay pending.
        """
        self._is_closing = True
        try:
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=seconds)
        finally:
            await self._abort()

    async def _abort(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _next_batch(self, finishing_count: int = 0) -> Sequence[PendingNotification]:
        """Return the notifications to send next; none where there are none, where a limit is reached, not counting
        `finishing_count` attempts, or after `close`.
        """
        if self._is_closing or self._seconds_until_batch() > 0:
            return ()
        if self._limits.batch_age_seconds and finishing_count:
            return ()  # the worker reads first, so that batches are large
        allowed = self._endpoint.attempts_allowed(self._limits.attempts_max, self._sender.clock.microseconds())
        if len(self._tasks) - finishing_count >= allowed:
            return ()
        batch = self._pop_batch(self._count_allowed())
        self._in_progress_count += len(batch)
        self._rate_limit.count(len(batch))
        return batch

    def _seconds_until_batch(self) -> float:
        """Return how long the next batch waits: after one that left some out, or for more notifications."""
        left_out_seconds = self._left_out_until - asyncio.get_running_loop().time()
        if left_out_seconds > 0:
            return left_out_seconds
        oldest_pending_since = self._queues.calls.oldest_pending_since
        if not self._limits.batch_age_seconds or oldest_pending_since is None or self._endpoint.health.is_down:
            return 0.0
        is_full = self._queues.ready_count >= self._limits.batch_count or len(self._queues.retries) > 0
        age_seconds = (self._sender.clock.microseconds() - oldest_pending_since) / _SECOND
        if is_full or not self._is_all_read() or age_seconds < 0:  # the clock was set back
            return 0.0
        return max(0.0, self._limits.batch_age_seconds - age_seconds)

    def _count_allowed(self) -> float:
        """Return how many notifications the next batch may have."""
        uncommitted_count = self._in_progress_count + self._uncommitted_count()
        return min(
            1 if self._endpoint.health.is_down else self._limits.batch_count,
            self._uncommitted_max - uncommitted_count,
            self._rate_limit.available(asyncio.get_running_loop().time()),
        )

    def _pop_batch(self, count_max: float) -> Sequence[PendingNotification]:
        batch: list[PendingNotification] = []
        bytes_left = self._limits.batch_bytes
        while len(batch) < count_max and bytes_left > 0:
            notification = self._queues.pop(is_down=self._endpoint.health.is_down)
            if notification is None:
                break
            batch.append(notification)
            bytes_left -= len(notification.body)
        return batch

    async def _run_attempts(self, batch: Sequence[PendingNotification]) -> None:
        """Make attempts one after the other, as long as there are notifications."""
        while batch:
            results = await self._sender.send(batch)
            self._has_result = True
            self._in_progress_count -= len(batch)
            if any(result.is_left_out for result, _attempt in results):
                self._left_out_until = asyncio.get_running_loop().time() + LEFT_OUT_SECONDS
            for notification, (result, attempt) in zip(batch, results, strict=True):
                self._on_result(notification, result, attempt)
            batch = self._next_batch(finishing_count=1)
            if not batch or self._queues.calls.ready_count < self._limits.attempts_max * self._limits.batch_count:
                self._wake()

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled():
            error = task.exception()  # read also after the first error, or asyncio logs it as never retrieved
            self._error = self._error or error
            self._wake()


def _new_attempt(result: DeliveryResult, attempted_at: int, duration_seconds: float) -> NewAttempt:
    return NewAttempt(
        attempted_at=attempted_at,
        duration_ms=round(duration_seconds * 1000),
        status=result.status,
        detail=result.detail,
        body=result.body,
    )
