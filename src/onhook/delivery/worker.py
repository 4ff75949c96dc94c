"""One subscription, being served: reads what it wants, makes the attempts, settles what came of them.

Laws: an event is settled when the application took it or when it is a row; only then may a cursor pass it. Of one call
one event is under way at a time. Nothing here waits for another lane. However it ends, what was settled is settled,
what was under way is owed still, and the connections are closed.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from random import Random

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.deliveries import UNDELIVERED_MAX, DeliveryCommit, NewAttempt
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
from onhook.lib.timestamps import to_microseconds

CONCURRENT_ATTEMPTS_MAX = 8
"""Attempts under way at once: an application that takes 100 ms for each still gets 80 a second."""

READ_AHEAD_MAX = 512
"""Events of one stream, read and not yet settled, before more are read: what is sent again after a crash, at most twice
as many; some megabyte."""

BATCHES_PER_CYCLE = 4
"""Read of one stream before the others, and the settling, have their turn."""

COMMIT_SECONDS = 0.2
COMMIT_RESULTS = 256
"""What was taken is noted so soon, or when so much has come together: a commit waits for the disk."""

IDLE_COMMIT_SECONDS = 5.0
"""A cursor that only moved past calls that are not wanted may be noted later."""

RECHECK_SECONDS = 1.0
"""The wait after the settings or the store said 'not now', and between two looks at calls that may be going on."""

IDLE_SECONDS_MAX = 30.0
"""A look without a reason, so that nothing depends on being woken."""

_SECOND = 1_000_000


class DeliveryDeps(msgspec.Struct, frozen=True, kw_only=True):
    """What every lane is handed. `chance` gives numbers from 0 to 1 for the jitter of waits."""

    reading: RecordReader
    settings: AppDb
    clock: Clock
    chance: Callable[[], float] = Random().random  # noqa: S311 - spreads waits, hides nothing


class DestinationWorker:
    """Serves one subscription until it is told to stop, or the application is given up."""

    def __init__(
        self, subscription: Destination, sink: DestinationClient, means: DeliveryDeps, figures: AttemptMetrics
    ) -> None:
        self._subscription = subscription
        self._sink = sink
        self._means = means
        self._figures = figures
        self._id = subscription.subscription_id
        self._health = initial_health(
            _optional_microseconds(subscription.failing_since), _optional_microseconds(subscription.not_before) or 0
        )
        self._settled_health = self._health
        self._outcomes = CommitBatch(self._subscription)
        self._turns = PerCallQueue(())
        self._rows = RetryQueue(means.settings.deliveries, self._id)
        self._rows_ahead: set[str] = set()
        self._tracks: list[StreamReader] = []
        self._settled: dict[int, int] = {}
        self._unsettled: DeliveryCommit | None = None
        self._settled_at = 0.0
        self._given_up = ""
        self._is_stopping = False
        self._lacks_streams = False
        self._broken: BaseException | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    async def run(self, tell_served: Callable[[], None] = lambda: None) -> None:
        """Serve, and tell when all has gone well once. Raises `Unavailable` where the settings or the store cannot be
        used now: begin again later."""
        wake_task: asyncio.Task[None] | None = None
        try:
            await self._begin()
            wake_task = asyncio.create_task(self._listen())
            while not (self._given_up or self._is_stopping):
                await self._serve_once()
                tell_served()
                await self._pause()
            if self._given_up:
                await asyncio.to_thread(self._means.settings.subscriptions.disable, self._subscription, self._given_up)
        finally:
            if wake_task is not None:
                wake_task.cancel()
            await self._end()

    def stop(self) -> None:
        """Come to an end soon: what is under way is broken off, and owed still."""
        self._is_stopping = True
        self._wake.set()

    def look_for_replays(self) -> None:
        """Somebody has asked for one."""
        self._lacks_streams = True
        self._wake.set()

    async def _serve_once(self) -> None:
        if self._lacks_streams:
            await self._take_streams()
        await self._rows.take_up(self._means.clock.microseconds())
        for stream_reader in self._tracks_in_turn():
            await self._read_on(stream_reader)
        self._start()
        await self._settle_in_time()
        if self._owes_nothing:
            self._health = self._health.at_rest()

    # -- what is owed

    async def _begin(self) -> None:
        deliveries = self._means.settings.deliveries
        self._turns = PerCallQueue(await asyncio.to_thread(deliveries.waiting_calls, self._id))
        await self._rows.look()
        await self._take_streams()
        for stream_reader in self._tracks:
            if stream_reader.is_live:
                notification_ids = await asyncio.to_thread(
                    deliveries.event_ids_behind, self._id, stream_reader.window.read_to
                )
                self._rows_ahead = notification_ids
        # Where nothing can be noted nothing is sent: it would be sent again and again.
        await self._settle()

    async def _take_streams(self) -> None:
        """Take those in that we do not have: all at first, then replays that were asked for."""
        self._lacks_streams = False
        known_stream_ids = {stream_reader.stream_id for stream_reader in self._tracks}
        for stream in await asyncio.to_thread(self._means.settings.subscriptions.streams, self._id):
            if stream.stream_id not in known_stream_ids:
                cursor = await self._first_number() if stream.cursor is None else stream.cursor
                self._tracks.append(StreamReader(stream, cursor, self._subscription))

    async def _first_number(self) -> int:
        """The number behind which begins what a subscription for the past means."""
        store = self._means.reading.store
        position = await store.position()
        # By the beginning alone: what else is asked for may be true of whole calls, and of none of their legs.
        extent = await store.extent(RecordFilter(since=self._subscription.where.since))
        return position if extent.first_seq is None else extent.first_seq - 1

    def _tracks_in_turn(self) -> list[StreamReader]:
        """What is new first; then the first replay that is to do."""
        replays = [
            stream_reader for stream_reader in self._tracks if not stream_reader.is_live and not stream_reader.has_ended
        ]
        return [stream_reader for stream_reader in self._tracks if stream_reader.is_live] + replays[:1]

    async def _read_on(self, track: StreamReader) -> None:
        """Take in the next events of a stream, as long as there is room for them; a few stretches at once, so that what
        came of the last ones is settled meanwhile."""
        for _ in range(BATCHES_PER_CYCLE):
            is_at_end = track.is_read_up and track.window.read_to >= self._means.reading.news.position
            if is_at_end or self._is_stopping or not self._has_room(track):
                return
            previous_read_to = track.window.read_to
            batch = await track.read(self._means.reading, self._means.clock.now())
            for record in batch.records:
                self._owe(record, track)
            track.window.read_to = batch.last
            if track.is_read_up or track.window.read_to == previous_read_to:
                return
        self._wake.set()

    def _has_room(self, track: StreamReader) -> bool:
        """Whether more of a stream may be read; each has room of its own, so that a replay takes none from the news."""
        undelivered_count = self._rows.backlog.waiting + self._rows.backlog.parked + len(self._outcomes)
        if self._health.is_down and self._turns.ready:
            return False
        return len(track.window) < READ_AHEAD_MAX and undelivered_count < UNDELIVERED_MAX

    @property
    def _owes_nothing(self) -> bool:
        """Whether there is nothing that the application could take; what is parked is a person's."""
        is_idle = not (self._under_way or self._rows or self._turns.ready or len(self._outcomes))
        return (
            is_idle
            and not self._rows.backlog.waiting
            and all(stream_reader.is_read_up for stream_reader in self._tracks)
        )

    def _owe(self, record: Record, track: StreamReader) -> None:
        notification_id = make_notification_id(record)
        if track.is_live and notification_id in self._rows_ahead:
            return  # it failed before the last start, ahead of something that was under way then
        notification = PendingNotification(
            event_id=notification_id,
            seq=record.seq,
            call=(record.sn, record.call_id),
            body=self._sink.pack(record),
            owed_at=self._means.clock.microseconds(),
            window=track.window,
            is_live=track.is_live,
        )
        track.window.begin(notification.seq)
        if not self._turns.offer(notification):
            self._hold(notification)

    def _hold(self, owed: PendingNotification) -> None:
        assert owed.window is not None, "what is a row already is not held back"
        self._outcomes.held(owed)
        owed.window.end(owed.seq)

    # -- attempts

    def _start(self) -> None:
        """Have as many attempts under way as there may be."""
        while (notification := self._next()) is not None:
            task = asyncio.create_task(self._work(notification))
            self._under_way.add(task)
            task.add_done_callback(self._ended)

    def _next(self, ending: int = 0) -> PendingNotification | None:
        """The event whose turn it is; None where there is none, or no place for one more beside those not `ending`."""
        allowed = self._health.places(CONCURRENT_ATTEMPTS_MAX, self._means.clock.microseconds())
        if len(self._under_way) - ending >= allowed or self._given_up or self._is_stopping:
            return None
        # One that is down is asked for what it has not refused before: the first answer lets the rows go.
        retries_first = self._rows and not (self._health.is_down and self._turns.ready)
        return self._rows.take() if retries_first else self._turns.take()

    async def _work(self, owed: PendingNotification | None) -> None:
        """Make attempt after attempt, as long as there is one to make."""
        while owed is not None:
            await self._attempt(owed)
            owed = self._next(ending=1)
            is_first = len(self._outcomes) == 1
            if (
                owed is None
                or is_first
                or self._turns.ready < CONCURRENT_ATTEMPTS_MAX
                or len(self._outcomes) >= COMMIT_RESULTS
            ):
                self._wake.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            self._broken = self._broken or task.exception()
            self._wake.set()

    async def _attempt(self, owed: PendingNotification) -> None:
        attempted_at, started_at = self._means.clock.microseconds(), self._now()
        result = await self._sink.send(Notification(owed.event_id, owed.body, attempted_at))
        duration_seconds = self._now() - started_at
        self._figures.note(result.verdict, duration_seconds)
        attempt = NewAttempt(
            at=attempted_at,
            milliseconds=round(duration_seconds * 1000),
            status=result.status,
            said=result.said,
            body=result.body,
        )
        self._judge(owed, result, attempt)

    def _judge(self, owed: PendingNotification, answer: DeliveryResult, attempt: NewAttempt) -> None:
        """Decide what becomes of an event, and of the application."""
        now_us = self._means.clock.microseconds()
        was_down = self._health.is_down
        self._health = self._health.after(answer, now_us)
        if was_down and not self._health.is_down:
            self._outcomes.hasten()
        if answer.verdict == "taken":
            self._taken(owed, attempt)
        elif self._is_spared(owed, answer):
            self._spare(owed, answer, attempt, now_us)
        else:
            self._failed(owed, attempt, now_us)
        self._give_up_if_dead(answer, now_us)

    def _taken(self, owed: PendingNotification, attempt: NewAttempt) -> None:
        self._outcomes.taken(owed, attempt)
        if owed.window is not None:
            owed.window.end(owed.seq)
            self._turns.went_through(owed)

    def _is_spared(self, owed: PendingNotification, answer: DeliveryResult) -> bool:
        """Whether the attempt says nothing against this event."""
        if answer.verdict == "busy":
            return owed.busy + 1 < THROTTLES_MAX
        return answer.verdict == "gone" or (self._health.is_down and owed.delivery_id is None)

    def _spare(self, owed: PendingNotification, answer: DeliveryResult, attempt: NewAttempt, at: int) -> None:
        """It is the next one again, with no row; a row is tried again when the application asked for it."""
        owed = msgspec.structs.replace(owed, busy=owed.busy + (answer.verdict == "busy"))
        if owed.delivery_id is None:
            self._outcomes.missed()
            self._turns.put_back(owed)
        else:
            due_at = at + round(clamp_retry_after(answer.retry_after_seconds or 0) * _SECOND)
            self._outcomes.postponed(owed, due_at, attempt)

    def _failed(self, owed: PendingNotification, attempt: NewAttempt, at: int) -> None:
        """It becomes a row, or stays one, and those behind it become rows too."""
        destination = self._subscription
        delay_seconds = retry_delay_seconds(
            destination.plan, destination.tries, owed.attempts + 1, self._means.chance()
        )
        due_at = at if delay_seconds is None else at + round(delay_seconds * _SECOND)
        self._outcomes.failed(owed, "parked" if delay_seconds is None else "waiting", due_at, attempt)
        if owed.window is None:
            return
        owed.window.end(owed.seq)
        later_notifications = self._turns.failed(owed)
        if delay_seconds is not None or later_notifications:
            self._turns.troubled.add(owed.call)
        for later_notification in later_notifications:
            self._hold(later_notification)

    def _give_up_if_dead(self, answer: DeliveryResult, at: int) -> None:
        failing_since = self._health.failing_since
        if answer.verdict == "gone":
            self._given_up = f"the application {answer.said}: it wants no more events"
        elif failing_since is not None and at - failing_since > DISABLE_AFTER_SECONDS * _SECOND:
            self._given_up = (
                f"the application took nothing for {DISABLE_AFTER_SECONDS // 86_400} days; last it {answer.said}"
            )

    # -- settling

    async def _settle_in_time(self) -> None:
        """Settle when enough has come together, or the first of it has waited long enough."""
        elapsed_seconds = self._now() - self._settled_at
        is_due = len(self._outcomes) >= COMMIT_RESULTS or elapsed_seconds >= self._settle_seconds
        if self._unsettled is not None or (is_due and self._has_unsettled):
            await self._settle()

    @property
    def _settle_seconds(self) -> float:
        return COMMIT_SECONDS if len(self._outcomes) or self._fares_otherwise else IDLE_COMMIT_SECONDS

    @property
    def _has_unsettled(self) -> bool:
        has_changes = len(self._outcomes) > 0 or self._fares_otherwise
        return has_changes or any(
            stream_reader.has_ended or self._settled.get(stream_reader.stream_id) != stream_reader.window.settled_to
            for stream_reader in self._tracks
        )

    @property
    def _fares_otherwise(self) -> bool:
        return self._health.failing_since != self._settled_health.failing_since

    async def _settle(self) -> None:
        """Note all that has ended. What cannot be noted now is kept and noted first. Raises `Unavailable`."""
        changes = self._unsettled or self._settlement()
        self._unsettled = changes
        released_calls = await asyncio.to_thread(self._means.settings.deliveries.settle, changes)
        self._unsettled = None
        self._settled_at = self._now()
        self._settled |= changes.cursors
        self._tracks = [stream_reader for stream_reader in self._tracks if stream_reader.stream_id not in changes.ended]
        # Not all replays are taken in at once.
        self._lacks_streams = self._lacks_streams or bool(changes.ended)
        if changes.troubles or changes.retried or changes.hastens:
            self._turns.troubled -= {call for call in released_calls if not self._outcomes.still_hold(call)}
            await self._rows.look(changes.retried)

    def _settlement(self) -> DeliveryCommit:
        cursors = {stream_reader.stream_id: stream_reader.window.settled_to for stream_reader in self._tracks}
        finished_replays = [stream_reader.stream_id for stream_reader in self._tracks if stream_reader.has_ended]
        commit_batch, self._outcomes = self._outcomes, CommitBatch(self._subscription)
        self._settled_health = self._health
        return commit_batch.settlement(cursors, finished_replays, self._health, self._means.clock.microseconds())

    async def _end(self) -> None:
        """Stop what is under way, and note what has ended; what cannot be noted is sent again."""
        for task in self._under_way:
            task.cancel()
        try:
            if self._under_way:
                await asyncio.wait(self._under_way)
            with contextlib.suppress(Unavailable):
                if self._unsettled is not None:
                    await self._settle()
                if self._has_unsettled:
                    await self._settle()
        finally:
            await self._sink.close()

    # -- waiting

    async def _pause(self) -> None:
        """Wait until there is something to do."""
        seconds = self._seconds_to_wait()
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._wake.wait()
        self._wake.clear()
        if self._broken:
            raise self._broken

    def _seconds_to_wait(self) -> float:
        now_us = self._means.clock.microseconds()
        waits = [IDLE_SECONDS_MAX]
        if self._has_unsettled:
            waits.append(self._settled_at + self._settle_seconds - self._now())
        if self._rows.due_at is not None:
            waits.append((self._rows.due_at - now_us) / _SECOND)
        if not self._under_way and (self._rows or self._turns.ready):
            # The application is not to be asked before then; which may have come since we last looked.
            waits.append((self._health.not_before - now_us) / _SECOND)
        if self._subscription.per == "call":
            waits.append(RECHECK_SECONDS)
        return min(waits)

    async def _listen(self) -> None:
        """Wake for what is new, until there is no more news: then the house closes."""
        position_source = self._means.reading.news
        while not position_source.is_closed:
            if await position_source.wait(position_source.position, IDLE_SECONDS_MAX):
                self._wake.set()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _optional_microseconds(at: datetime | None) -> int | None:
    return None if at is None else to_microseconds(at)
