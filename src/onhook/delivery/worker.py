"""Worker of one destination: reads matching records, makes the attempts, commits the results.

Invariants: a notification is done when the application accepted it or when it is a stored delivery; only then may a
cursor pass it. Of one call one notification is in progress at a time. A worker never waits for another one. However it
ends, committed results stay, notifications in progress stay pending, and the connections are closed.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from random import Random

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.delivery_rows import UNDELIVERED_MAX, DeliveryCommit, NewAttempt
from onhook.appdb.destinations import Destination
from onhook.cdr.record import Record
from onhook.cdr.record_filter import RecordFilter
from onhook.delivery.commit_batch import CommitBatch
from onhook.delivery.destinations.contract import DeliveryResult, DestinationClient, Notification
from onhook.delivery.endpoint_health import initial_health
from onhook.delivery.metrics import AttemptMetrics
from onhook.delivery.payloads import make_notification_id
from onhook.delivery.per_call_queue import PendingNotification, PerCallQueue
from onhook.delivery.record_reader import RecordReader
from onhook.delivery.retry_policy import DISABLE_AFTER_SECONDS, THROTTLES_MAX, clamp_retry_after, retry_delay_seconds
from onhook.delivery.retry_queue import RetryQueue
from onhook.delivery.stream_reader import StreamReader
from onhook.lib.clock import Clock
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _
from onhook.lib.timestamps import to_microseconds

CONCURRENT_ATTEMPTS_MAX = 8
"""Concurrent attempts: an application that takes 100 ms for each still receives 80 a second."""

READ_AHEAD_MAX = 512
"""Notifications of one stream that are read and not done, before more are read: after a crash at most twice as many are
repeated; some megabyte.
"""

BATCHES_PER_CYCLE = 4
"""Batches of one stream that are read before other streams and the commit have their turn."""

COMMIT_SECONDS = 0.2
COMMIT_RESULTS = 256
"""Results are committed this soon, or at this many: a commit waits for the disk."""

IDLE_COMMIT_SECONDS = 5.0
"""A cursor that only passed calls that do not match may be committed later."""

RECHECK_SECONDS = 1.0
"""Wait after an error of the application database or the store, and between two checks of calls that may continue."""

IDLE_SECONDS_MAX = 30.0
"""Interval of a check without a reason, so that nothing depends on a wake-up."""

_SECOND = 1_000_000


class DeliveryDeps(msgspec.Struct, frozen=True, kw_only=True):
    """Dependencies of each worker. `jitter` returns numbers from 0 to 1."""

    record_reader: RecordReader
    appdb: AppDb
    clock: Clock
    jitter: Callable[[], float] = Random().random  # noqa: S311 - spreads waits, hides nothing


class DestinationWorker:
    """Serves one destination until stopped, or until the destination is disabled."""

    def __init__(
        self, destination: Destination, client: DestinationClient, deps: DeliveryDeps, metrics: AttemptMetrics
    ) -> None:
        self._destination = destination
        self._client = client
        self._deps = deps
        self._metrics = metrics
        self._destination_id = destination.destination_id
        self._health = initial_health(
            _optional_microseconds(destination.failing_since), _optional_microseconds(destination.retry_after) or 0
        )
        self._committed_health = self._health
        self._commit_batch = CommitBatch(self._destination)
        self._call_queue = PerCallQueue(())
        self._retry_queue = RetryQueue(deps.appdb.deliveries, self._destination_id)
        self._known_notification_ids: set[str] = set()
        self._stream_readers: list[StreamReader] = []
        self._committed_cursors: dict[int, int] = {}
        self._pending_commit: DeliveryCommit | None = None
        self._committed_at = 0.0
        self._disable_reason = ""
        self._is_stopping = False
        self._needs_stream_reload = False
        self._attempt_error: BaseException | None = None
        self._attempt_tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    async def run(self, on_served: Callable[[], None] = lambda: None) -> None:
        """Serve, and call `on_served` when a round succeeded for the first time. Raises `Unavailable` where the
        application database or the store cannot be used now: run again later.
        """
        wake_task: asyncio.Task[None] | None = None
        try:
            await self._initialize()
            wake_task = asyncio.create_task(self._wake_on_new_records())
            while not (self._disable_reason or self._is_stopping):
                await self._run_cycle()
                on_served()
                await self._wait_for_work()
            if self._disable_reason:
                await asyncio.to_thread(self._deps.appdb.destinations.disable, self._destination, self._disable_reason)
        finally:
            if wake_task is not None:
                wake_task.cancel()
            await self._close()

    def stop(self) -> None:
        """Stop soon: attempts in progress are aborted, and their notifications stay pending."""
        self._is_stopping = True
        self._wake.set()

    def reload_streams(self) -> None:
        """Load the streams again: a replay was requested."""
        self._needs_stream_reload = True
        self._wake.set()

    async def _run_cycle(self) -> None:
        if self._needs_stream_reload:
            await self._load_streams()
        await self._retry_queue.load_due(self._deps.clock.microseconds())
        for stream_reader in self._active_stream_readers():
            await self._read_ahead(stream_reader)
        self._start_attempts()
        await self._commit_if_due()
        if self._is_caught_up:
            self._health = self._health.when_idle()

    # Pending notifications

    async def _initialize(self) -> None:
        deliveries = self._deps.appdb.deliveries
        self._call_queue = PerCallQueue(await asyncio.to_thread(deliveries.retrying_calls, self._destination_id))
        await self._retry_queue.refresh()
        await self._load_streams()
        for stream_reader in self._stream_readers:
            if stream_reader.is_live:
                notification_ids = await asyncio.to_thread(
                    deliveries.notification_ids_after, self._destination_id, stream_reader.ack_window.read_to
                )
                self._known_notification_ids = notification_ids
        # Without a commit nothing is sent: it would be sent again and again.
        await self._commit()

    async def _load_streams(self) -> None:
        """Load new streams: all at first, then requested replays."""
        self._needs_stream_reload = False
        known_stream_ids = {stream_reader.stream_id for stream_reader in self._stream_readers}
        for stream in await asyncio.to_thread(self._deps.appdb.destinations.streams, self._destination_id):
            if stream.stream_id not in known_stream_ids:
                cursor = await self._initial_cursor() if stream.cursor is None else stream.cursor
                self._stream_readers.append(StreamReader(stream, cursor, self._destination))

    async def _initial_cursor(self) -> int:
        """Return the number after which a destination with a start time begins."""
        store = self._deps.record_reader.store
        position = await store.position()
        # By the start time only: other conditions may match whole calls, and none of their legs.
        extent = await store.extent(RecordFilter(since=self._destination.filter.since))
        return position if extent.first_seq is None else extent.first_seq - 1

    def _active_stream_readers(self) -> list[StreamReader]:
        """Return the live stream, then the first unfinished replay."""
        replays = [
            stream_reader
            for stream_reader in self._stream_readers
            if not stream_reader.is_live and not stream_reader.is_finished
        ]
        return [stream_reader for stream_reader in self._stream_readers if stream_reader.is_live] + replays[:1]

    async def _read_ahead(self, stream_reader: StreamReader) -> None:
        """Read the next notifications of a stream within the limit, a few batches at a time, so that results of the
        last ones are committed meanwhile.
        """
        for _unused in range(BATCHES_PER_CYCLE):
            is_at_end = (
                stream_reader.is_at_end
                and stream_reader.ack_window.read_to >= self._deps.record_reader.position_source.position
            )
            if is_at_end or self._is_stopping or not self._can_read_more(stream_reader):
                return
            previous_read_to = stream_reader.ack_window.read_to
            batch = await stream_reader.read(self._deps.record_reader, self._deps.clock.now())
            for record in batch.records:
                self._enqueue(record, stream_reader)
            stream_reader.ack_window.read_to = batch.last_seq
            if stream_reader.is_at_end or stream_reader.ack_window.read_to == previous_read_to:
                return
        self._wake.set()

    def _can_read_more(self, stream_reader: StreamReader) -> bool:
        """Return whether more of a stream may be read; each stream has its own limit, so that a replay does not slow
        the live stream.
        """
        undelivered_count = (
            self._retry_queue.backlog.retrying + self._retry_queue.backlog.failed + len(self._commit_batch)
        )
        if self._health.is_down and self._call_queue.ready_count:
            return False
        return len(stream_reader.ack_window) < READ_AHEAD_MAX and undelivered_count < UNDELIVERED_MAX

    @property
    def _is_caught_up(self) -> bool:
        """Return whether no notification can be sent; failed ones need an operator."""
        is_idle = not (
            self._attempt_tasks or self._retry_queue or self._call_queue.ready_count or len(self._commit_batch)
        )
        return (
            is_idle
            and not self._retry_queue.backlog.retrying
            and all(stream_reader.is_at_end for stream_reader in self._stream_readers)
        )

    def _enqueue(self, record: Record, stream_reader: StreamReader) -> None:
        notification_id = make_notification_id(record)
        if stream_reader.is_live and notification_id in self._known_notification_ids:
            return  # it failed before the last start, ahead of one that was in progress then
        notification = PendingNotification(
            notification_id=notification_id,
            seq=record.seq,
            call=(record.sn, record.call_id),
            body=self._client.format_payload(record),
            pending_since=self._deps.clock.microseconds(),
            ack_window=stream_reader.ack_window,
            is_live=stream_reader.is_live,
        )
        stream_reader.ack_window.begin(notification.seq)
        if not self._call_queue.add(notification):
            self._hold_back(notification)

    def _hold_back(self, notification: PendingNotification) -> None:
        assert notification.ack_window is not None, "a stored delivery is never held back"
        self._commit_batch.add_held_back(notification)
        notification.ack_window.end(notification.seq)

    # Attempts

    def _start_attempts(self) -> None:
        """Start as many concurrent attempts as allowed."""
        while (notification := self._next_notification()) is not None:
            task = asyncio.create_task(self._run_attempts(notification))
            self._attempt_tasks.add(task)
            task.add_done_callback(self._on_attempts_done)

    def _next_notification(self, finishing_count: int = 0) -> PendingNotification | None:
        """Return the next notification; None where there is none, or where the limit is reached, not counting
        `finishing_count` attempts.
        """
        allowed = self._health.attempts_allowed(CONCURRENT_ATTEMPTS_MAX, self._deps.clock.microseconds())
        if len(self._attempt_tasks) - finishing_count >= allowed or self._disable_reason or self._is_stopping:
            return None
        # An endpoint that is down is tried with a notification that it has not rejected before: the first response
        # makes the deliveries due.
        retries_first = self._retry_queue and not (self._health.is_down and self._call_queue.ready_count)
        return self._retry_queue.pop() if retries_first else self._call_queue.pop()

    async def _run_attempts(self, notification: PendingNotification | None) -> None:
        """Make attempts one after the other, as long as there are notifications."""
        while notification is not None:
            await self._attempt(notification)
            notification = self._next_notification(finishing_count=1)
            is_first = len(self._commit_batch) == 1
            if (
                notification is None
                or is_first
                or self._call_queue.ready_count < CONCURRENT_ATTEMPTS_MAX
                or len(self._commit_batch) >= COMMIT_RESULTS
            ):
                self._wake.set()

    def _on_attempts_done(self, task: asyncio.Task[None]) -> None:
        self._attempt_tasks.discard(task)
        if not task.cancelled():
            self._attempt_error = self._attempt_error or task.exception()
            self._wake.set()

    async def _attempt(self, notification: PendingNotification) -> None:
        attempted_at, started_at = self._deps.clock.microseconds(), self._now()
        result = await self._client.send(Notification(notification.notification_id, notification.body, attempted_at))
        duration_seconds = self._now() - started_at
        self._metrics.record_attempt(result.outcome, duration_seconds)
        attempt = NewAttempt(
            attempted_at=attempted_at,
            duration_ms=round(duration_seconds * 1000),
            status=result.status,
            detail=result.detail,
            body=result.body,
        )
        self._handle_result(notification, result, attempt)

    def _handle_result(self, notification: PendingNotification, result: DeliveryResult, attempt: NewAttempt) -> None:
        """Decide what a result means for the notification and the endpoint."""
        now_us = self._deps.clock.microseconds()
        was_down = self._health.is_down
        self._health = self._health.with_result(result, now_us)
        if was_down and not self._health.is_down:
            self._commit_batch.retry_all_now()
        if result.outcome == "accepted":
            self._handle_accepted(notification, attempt)
        elif self._is_attempt_uncounted(notification, result):
            self._requeue(notification, result, attempt, now_us)
        else:
            self._handle_failed(notification, attempt, now_us)
        self._disable_if_dead(result, now_us)

    def _handle_accepted(self, notification: PendingNotification, attempt: NewAttempt) -> None:
        self._commit_batch.add_accepted(notification, attempt)
        if notification.ack_window is not None:
            notification.ack_window.end(notification.seq)
            self._call_queue.release_next(notification)

    def _is_attempt_uncounted(self, notification: PendingNotification, result: DeliveryResult) -> bool:
        """Return whether the attempt does not count against this notification."""
        if result.outcome == "throttled":
            return notification.busy_count + 1 < THROTTLES_MAX
        return result.outcome == "gone" or (self._health.is_down and notification.delivery_id is None)

    def _requeue(
        self, notification: PendingNotification, result: DeliveryResult, attempt: NewAttempt, now_us: int
    ) -> None:
        """Requeue the notification at the front; a stored delivery is retried when the application asked for it."""
        notification = msgspec.structs.replace(
            notification, busy_count=notification.busy_count + (result.outcome == "throttled")
        )
        if notification.delivery_id is None:
            self._commit_batch.count_failed_attempt()
            self._call_queue.requeue(notification)
        else:
            due_at = now_us + round(clamp_retry_after(result.retry_after_seconds or 0) * _SECOND)
            self._commit_batch.add_postponed(notification, due_at, attempt)

    def _handle_failed(self, notification: PendingNotification, attempt: NewAttempt, now_us: int) -> None:
        """Store a failed notification as a delivery, and those behind it too."""
        destination = self._destination
        delay_seconds = retry_delay_seconds(
            destination.retry_policy, destination.max_attempts, notification.attempts + 1, self._deps.jitter()
        )
        due_at = now_us if delay_seconds is None else now_us + round(delay_seconds * _SECOND)
        self._commit_batch.add_failed(notification, "failed" if delay_seconds is None else "retrying", due_at, attempt)
        if notification.ack_window is None:
            return
        notification.ack_window.end(notification.seq)
        later_notifications = self._call_queue.remove_followers(notification)
        if delay_seconds is not None or later_notifications:
            self._call_queue.blocked_calls.add(notification.call)
        for later_notification in later_notifications:
            self._hold_back(later_notification)

    def _disable_if_dead(self, result: DeliveryResult, now_us: int) -> None:
        failing_since = self._health.failing_since
        if result.outcome == "gone":
            self._disable_reason = _("the endpoint {result}: it wants no further notifications", result=result.detail)
        elif failing_since is not None and now_us - failing_since > DISABLE_AFTER_SECONDS * _SECOND:
            days = DISABLE_AFTER_SECONDS // 86_400
            self._disable_reason = _(
                "the endpoint accepted nothing for {days} days; last attempt: {result}", days=days, result=result.detail
            )

    # Commit

    async def _commit_if_due(self) -> None:
        """Commit when enough results are collected, or the first one has waited long enough."""
        elapsed_seconds = self._now() - self._committed_at
        is_due = len(self._commit_batch) >= COMMIT_RESULTS or elapsed_seconds >= self._commit_seconds
        if self._pending_commit is not None or (is_due and self._has_uncommitted):
            await self._commit()

    @property
    def _commit_seconds(self) -> float:
        return COMMIT_SECONDS if len(self._commit_batch) or self._has_health_changed else IDLE_COMMIT_SECONDS

    @property
    def _has_uncommitted(self) -> bool:
        has_changes = len(self._commit_batch) > 0 or self._has_health_changed
        return has_changes or any(
            stream_reader.is_finished
            or self._committed_cursors.get(stream_reader.stream_id) != stream_reader.ack_window.acknowledged_to
            for stream_reader in self._stream_readers
        )

    @property
    def _has_health_changed(self) -> bool:
        return self._health.failing_since != self._committed_health.failing_since

    async def _commit(self) -> None:
        """Commit all results. A failed commit is repeated before anything else. Raises `Unavailable`."""
        changes = self._pending_commit or self._build_commit()
        self._pending_commit = changes
        released_calls = await asyncio.to_thread(self._deps.appdb.deliveries.commit, changes)
        self._pending_commit = None
        self._committed_at = self._now()
        self._committed_cursors |= changes.cursors
        self._stream_readers = [
            stream_reader
            for stream_reader in self._stream_readers
            if stream_reader.stream_id not in changes.finished_replays
        ]
        # Not all replays are loaded at once.
        self._needs_stream_reload = self._needs_stream_reload or bool(changes.finished_replays)
        if changes.new_deliveries or changes.updates or changes.retry_all_now:
            self._call_queue.blocked_calls -= {
                call for call in released_calls if not self._commit_batch.has_retrying(call)
            }
            await self._retry_queue.refresh(changes.updates)

    def _build_commit(self) -> DeliveryCommit:
        cursors = {
            stream_reader.stream_id: stream_reader.ack_window.acknowledged_to for stream_reader in self._stream_readers
        }
        finished_replays = [
            stream_reader.stream_id for stream_reader in self._stream_readers if stream_reader.is_finished
        ]
        commit_batch, self._commit_batch = self._commit_batch, CommitBatch(self._destination)
        self._committed_health = self._health
        return commit_batch.build_commit(cursors, finished_replays, self._health, self._deps.clock.microseconds())

    async def _close(self) -> None:
        """Abort attempts in progress and commit the results; what cannot be committed is sent again."""
        for task in self._attempt_tasks:
            task.cancel()
        try:
            if self._attempt_tasks:
                await asyncio.wait(self._attempt_tasks)
            with contextlib.suppress(Unavailable):
                if self._pending_commit is not None:
                    await self._commit()
                if self._has_uncommitted:
                    await self._commit()
        finally:
            await self._client.close()

    # Waiting

    async def _wait_for_work(self) -> None:
        """Wait until there is work."""
        seconds = self._seconds_to_wait()
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._wake.wait()
        self._wake.clear()
        if self._attempt_error:
            raise self._attempt_error

    def _seconds_to_wait(self) -> float:
        now_us = self._deps.clock.microseconds()
        waits = [IDLE_SECONDS_MAX]
        if self._has_uncommitted:
            waits.append(self._committed_at + self._commit_seconds - self._now())
        if self._retry_queue.due_at is not None:
            waits.append((self._retry_queue.due_at - now_us) / _SECOND)
        if not self._attempt_tasks and (self._retry_queue or self._call_queue.ready_count):
            # Before the time that the application asked for there is no attempt; it may have passed since the last
            # check.
            waits.append((self._health.next_attempt_at - now_us) / _SECOND)
        if self._destination.notifies_of == "calls":
            waits.append(RECHECK_SECONDS)
        return min(waits)

    async def _wake_on_new_records(self) -> None:
        """Wake up for new records until no further ones are announced: then the process stops."""
        position_source = self._deps.record_reader.position_source
        while not position_source.is_closed:
            if await position_source.wait(position_source.position, IDLE_SECONDS_MAX):
                self._wake.set()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _optional_microseconds(time: datetime | None) -> int | None:
    return None if time is None else to_microseconds(time)
