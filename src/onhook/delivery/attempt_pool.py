"""Concurrent attempts of one destination.

Invariants: no more attempts run at a time than the health of the endpoint allows, nor more than may be sent again after
a crash, with the results that are not committed. Of one call one notification is in
progress at a time. Under load there is neither a task nor a wake-up per notification: a task that has a result goes on
with the next notification.
"""

import asyncio
from collections.abc import Callable

import msgspec

from onhook.appdb.delivery_rows import NewAttempt
from onhook.delivery.commit_batch import UNCOMMITTED_MAX
from onhook.delivery.destinations.contract import DeliveryResult, DestinationClient, Notification
from onhook.delivery.endpoint_health import EndpointState
from onhook.delivery.metrics import AttemptMetrics
from onhook.delivery.notification_queues import NotificationQueues
from onhook.delivery.per_call_queue import PendingNotification
from onhook.lib.clock import Clock

ResultCallback = Callable[[PendingNotification, DeliveryResult, NewAttempt], None]
"""Receives a notification and the result of an attempt, before the next attempt begins."""


class AttemptSender(msgspec.Struct, frozen=True, kw_only=True):
    """Makes attempts and measures them."""

    client: DestinationClient
    clock: Clock
    metrics: AttemptMetrics

    async def send(self, notification: PendingNotification) -> tuple[DeliveryResult, NewAttempt]:
        """Make one attempt."""
        time = asyncio.get_running_loop().time
        attempted_at, started_at = self.clock.microseconds(), time()
        result = await self.client.send(Notification(notification.notification_id, notification.body, attempted_at))
        duration_seconds = time() - started_at
        self.metrics.record_attempt(result.outcome, duration_seconds)
        return result, _new_attempt(result, attempted_at, duration_seconds)


class AttemptPool:
    """Tasks that make the attempts. Calls `wake` when few notifications are left, or an attempt ended with an error."""

    def __init__(
        self,
        *,
        attempts_max: int,
        sender: AttemptSender,
        queues: NotificationQueues,
        endpoint: EndpointState,
        on_result: ResultCallback,
        wake: Callable[[], None],
        uncommitted_count: Callable[[], int] = lambda: 0,
    ) -> None:
        self._attempts_max = attempts_max
        self._uncommitted_count = uncommitted_count
        self._sender = sender
        self._queues = queues
        self._endpoint = endpoint
        self._on_result = on_result
        self._wake = wake
        self._tasks: dict[asyncio.Task[None], None] = {}  # in the order of their start
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
        while (notification := self._next_notification()) is not None:
            task = asyncio.create_task(self._run_attempts(notification))
            self._tasks[task] = None
            task.add_done_callback(self._on_task_done)

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

    def _next_notification(self, finishing_count: int = 0) -> PendingNotification | None:
        """Return the next notification; None where there is none, where the limit is reached, not counting
        `finishing_count` attempts, or after `close`.
        """
        if self._is_closing:
            return None
        allowed = self._endpoint.attempts_allowed(self._attempts_max, self._sender.clock.microseconds())
        in_progress = len(self._tasks) - finishing_count
        if in_progress >= allowed or in_progress + self._uncommitted_count() >= UNCOMMITTED_MAX:
            return None
        return self._queues.pop(is_down=self._endpoint.health.is_down)

    async def _run_attempts(self, notification: PendingNotification | None) -> None:
        """Make attempts one after the other, as long as there are notifications."""
        while notification is not None:
            result, attempt = await self._sender.send(notification)
            self._has_result = True
            self._on_result(notification, result, attempt)
            notification = self._next_notification(finishing_count=1)
            if notification is None or self._queues.calls.ready_count < self._attempts_max:
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
