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

from onhook.appdb.appdb import Settings
from onhook.appdb.deliveries import TROUBLED_MAX, Settlement, Try
from onhook.appdb.destinations import Subscription
from onhook.cdr.record import Record
from onhook.cdr.record_filter import Filter
from onhook.delivery.commit_batch import Outcomes
from onhook.delivery.destinations.contract import Answer, Parcel, Sink
from onhook.delivery.endpoint_health import health_of
from onhook.delivery.metrics import Figures
from onhook.delivery.payloads import event_id
from onhook.delivery.per_call_queue import Owed, Turns
from onhook.delivery.record_reader import Reading
from onhook.delivery.retry_policy import BUSY_MAX, DEAD_SECONDS, heeded_seconds, wait_seconds
from onhook.delivery.retry_queue import Rows
from onhook.delivery.stream_reader import Track
from onhook.lib.clock import Clock
from onhook.lib.errors import Unavailable
from onhook.lib.timestamps import microseconds

PLACES = 8
"""Attempts under way at once: an application that takes 100 ms for each still gets 80 a second."""

AHEAD_MAX = 512
"""Events of one stream, read and not yet settled, before more are read: what is sent again after a crash, at most twice
as many; some megabyte."""

STRETCHES_AT_ONCE = 4
"""Read of one stream before the others, and the settling, have their turn."""

SETTLE_SECONDS = 0.2
SETTLE_OUTCOMES = 256
"""What was taken is noted so soon, or when so much has come together: a commit waits for the disk."""

IDLE_SETTLE_SECONDS = 5.0
"""A cursor that only moved past calls that are not wanted may be noted later."""

AGAIN_SECONDS = 1.0
"""The wait after the settings or the store said 'not now', and between two looks at calls that may be going on."""

IDLE_SECONDS_MAX = 30.0
"""A look without a reason, so that nothing depends on being woken."""

_SECOND = 1_000_000


class Means(msgspec.Struct, frozen=True, kw_only=True):
    """What every lane is handed. `chance` gives numbers from 0 to 1 for the jitter of waits."""

    reading: Reading
    settings: Settings
    clock: Clock
    chance: Callable[[], float] = Random().random  # noqa: S311 - spreads waits, hides nothing


class Lane:
    """Serves one subscription until it is told to stop, or the application is given up."""

    def __init__(self, subscription: Subscription, sink: Sink, means: Means, figures: Figures) -> None:
        self._subscription = subscription
        self._sink = sink
        self._means = means
        self._figures = figures
        self._id = subscription.subscription_id
        self._health = health_of(_microseconds(subscription.failing_since), _microseconds(subscription.not_before) or 0)
        self._settled_health = self._health
        self._outcomes = Outcomes(self._subscription)
        self._turns = Turns(())
        self._rows = Rows(means.settings.deliveries, self._id)
        self._rows_ahead: set[str] = set()
        self._tracks: list[Track] = []
        self._settled: dict[int, int] = {}
        self._unsettled: Settlement | None = None
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
        listening: asyncio.Task[None] | None = None
        try:
            await self._begin()
            listening = asyncio.create_task(self._listen())
            while not (self._given_up or self._is_stopping):
                await self._serve_once()
                tell_served()
                await self._pause()
            if self._given_up:
                await asyncio.to_thread(self._means.settings.subscriptions.disable, self._subscription, self._given_up)
        finally:
            if listening is not None:
                listening.cancel()
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
        for track in self._tracks_in_turn():
            await self._read_on(track)
        self._start()
        await self._settle_in_time()
        if self._owes_nothing:
            self._health = self._health.at_rest()

    # -- what is owed

    async def _begin(self) -> None:
        deliveries = self._means.settings.deliveries
        self._turns = Turns(await asyncio.to_thread(deliveries.waiting_calls, self._id))
        await self._rows.look()
        await self._take_streams()
        for track in self._tracks:
            if track.is_live:
                behind = await asyncio.to_thread(deliveries.event_ids_behind, self._id, track.window.read_to)
                self._rows_ahead = behind
        # Where nothing can be noted nothing is sent: it would be sent again and again.
        await self._settle()

    async def _take_streams(self) -> None:
        """Take those in that we do not have: all at first, then replays that were asked for."""
        self._lacks_streams = False
        known = {track.stream_id for track in self._tracks}
        for stream in await asyncio.to_thread(self._means.settings.subscriptions.streams, self._id):
            if stream.stream_id not in known:
                cursor = await self._first_number() if stream.cursor is None else stream.cursor
                self._tracks.append(Track(stream, cursor, self._subscription))

    async def _first_number(self) -> int:
        """The number behind which begins what a subscription for the past means."""
        store = self._means.reading.store
        position = await store.position()
        # By the beginning alone: what else is asked for may be true of whole calls, and of none of their legs.
        extent = await store.extent(Filter(since=self._subscription.where.since))
        return position if extent.first_seq is None else extent.first_seq - 1

    def _tracks_in_turn(self) -> list[Track]:
        """What is new first; then the first replay that is to do."""
        replays = [track for track in self._tracks if not track.is_live and not track.has_ended]
        return [track for track in self._tracks if track.is_live] + replays[:1]

    async def _read_on(self, track: Track) -> None:
        """Take in the next events of a stream, as long as there is room for them; a few stretches at once, so that what
        came of the last ones is settled meanwhile."""
        for _ in range(STRETCHES_AT_ONCE):
            is_at_end = track.is_read_up and track.window.read_to >= self._means.reading.news.position
            if is_at_end or self._is_stopping or not self._has_room(track):
                return
            before = track.window.read_to
            stretch = await track.read(self._means.reading, self._means.clock.now())
            for record in stretch.records:
                self._owe(record, track)
            track.window.read_to = stretch.last
            if track.is_read_up or track.window.read_to == before:
                return
        self._wake.set()

    def _has_room(self, track: Track) -> bool:
        """Whether more of a stream may be read; each has room of its own, so that a replay takes none from the news."""
        rows = self._rows.backlog.waiting + self._rows.backlog.parked + len(self._outcomes)
        if self._health.is_down and self._turns.ready:
            return False
        return len(track.window) < AHEAD_MAX and rows < TROUBLED_MAX

    @property
    def _owes_nothing(self) -> bool:
        """Whether there is nothing that the application could take; what is parked is a person's."""
        is_idle = not (self._under_way or self._rows or self._turns.ready or len(self._outcomes))
        return is_idle and not self._rows.backlog.waiting and all(track.is_read_up for track in self._tracks)

    def _owe(self, record: Record, track: Track) -> None:
        name = event_id(record)
        if track.is_live and name in self._rows_ahead:
            return  # it failed before the last start, ahead of something that was under way then
        owed = Owed(
            event_id=name,
            seq=record.seq,
            call=(record.sn, record.call_id),
            body=self._sink.pack(record),
            owed_at=self._means.clock.microseconds(),
            window=track.window,
            is_live=track.is_live,
        )
        track.window.begin(owed.seq)
        if not self._turns.offer(owed):
            self._hold(owed)

    def _hold(self, owed: Owed) -> None:
        assert owed.window is not None, "what is a row already is not held back"
        self._outcomes.held(owed)
        owed.window.end(owed.seq)

    # -- attempts

    def _start(self) -> None:
        """Have as many attempts under way as there may be."""
        while (owed := self._next()) is not None:
            task = asyncio.create_task(self._work(owed))
            self._under_way.add(task)
            task.add_done_callback(self._ended)

    def _next(self, ending: int = 0) -> Owed | None:
        """The event whose turn it is; None where there is none, or no place for one more beside those not `ending`."""
        places = self._health.places(PLACES, self._means.clock.microseconds())
        if len(self._under_way) - ending >= places or self._given_up or self._is_stopping:
            return None
        # One that is down is asked for what it has not refused before: the first answer lets the rows go.
        rows_first = self._rows and not (self._health.is_down and self._turns.ready)
        return self._rows.take() if rows_first else self._turns.take()

    async def _work(self, owed: Owed | None) -> None:
        """Make attempt after attempt, as long as there is one to make."""
        while owed is not None:
            await self._attempt(owed)
            owed = self._next(ending=1)
            is_first = len(self._outcomes) == 1
            if owed is None or is_first or self._turns.ready < PLACES or len(self._outcomes) >= SETTLE_OUTCOMES:
                self._wake.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            self._broken = self._broken or task.exception()
            self._wake.set()

    async def _attempt(self, owed: Owed) -> None:
        at, began = self._means.clock.microseconds(), self._now()
        answer = await self._sink.send(Parcel(owed.event_id, owed.body, at))
        took = self._now() - began
        self._figures.note(answer.verdict, took)
        attempt = Try(at=at, milliseconds=round(took * 1000), status=answer.status, said=answer.said, body=answer.body)
        self._judge(owed, answer, attempt)

    def _judge(self, owed: Owed, answer: Answer, attempt: Try) -> None:
        """Decide what becomes of an event, and of the application."""
        at = self._means.clock.microseconds()
        was_down = self._health.is_down
        self._health = self._health.after(answer, at)
        if was_down and not self._health.is_down:
            self._outcomes.hasten()
        if answer.verdict == "taken":
            self._taken(owed, attempt)
        elif self._is_spared(owed, answer):
            self._spare(owed, answer, attempt, at)
        else:
            self._failed(owed, attempt, at)
        self._give_up_if_dead(answer, at)

    def _taken(self, owed: Owed, attempt: Try) -> None:
        self._outcomes.taken(owed, attempt)
        if owed.window is not None:
            owed.window.end(owed.seq)
            self._turns.went_through(owed)

    def _is_spared(self, owed: Owed, answer: Answer) -> bool:
        """Whether the attempt says nothing against this event."""
        if answer.verdict == "busy":
            return owed.busy + 1 < BUSY_MAX
        return answer.verdict == "gone" or (self._health.is_down and owed.delivery_id is None)

    def _spare(self, owed: Owed, answer: Answer, attempt: Try, at: int) -> None:
        """It is the next one again, with no row; a row is tried again when the application asked for it."""
        owed = msgspec.structs.replace(owed, busy=owed.busy + (answer.verdict == "busy"))
        if owed.delivery_id is None:
            self._outcomes.missed()
            self._turns.put_back(owed)
        else:
            later = at + round(heeded_seconds(answer.retry_after_seconds or 0) * _SECOND)
            self._outcomes.postponed(owed, later, attempt)

    def _failed(self, owed: Owed, attempt: Try, at: int) -> None:
        """It becomes a row, or stays one, and those behind it become rows too."""
        wish = self._subscription
        wait = wait_seconds(wish.plan, wish.tries, owed.attempts + 1, self._means.chance())
        due_at = at if wait is None else at + round(wait * _SECOND)
        self._outcomes.failed(owed, "parked" if wait is None else "waiting", due_at, attempt)
        if owed.window is None:
            return
        owed.window.end(owed.seq)
        behind = self._turns.failed(owed)
        if wait is not None or behind:
            self._turns.troubled.add(owed.call)
        for one in behind:
            self._hold(one)

    def _give_up_if_dead(self, answer: Answer, at: int) -> None:
        since = self._health.failing_since
        if answer.verdict == "gone":
            self._given_up = f"the application {answer.said}: it wants no more events"
        elif since is not None and at - since > DEAD_SECONDS * _SECOND:
            self._given_up = f"the application took nothing for {DEAD_SECONDS // 86_400} days; last it {answer.said}"

    # -- settling

    async def _settle_in_time(self) -> None:
        """Settle when enough has come together, or the first of it has waited long enough."""
        waited = self._now() - self._settled_at
        is_due = len(self._outcomes) >= SETTLE_OUTCOMES or waited >= self._settle_seconds
        if self._unsettled is not None or (is_due and self._has_unsettled):
            await self._settle()

    @property
    def _settle_seconds(self) -> float:
        return SETTLE_SECONDS if len(self._outcomes) or self._fares_otherwise else IDLE_SETTLE_SECONDS

    @property
    def _has_unsettled(self) -> bool:
        has_news = len(self._outcomes) > 0 or self._fares_otherwise
        return has_news or any(
            track.has_ended or self._settled.get(track.stream_id) != track.window.settled_to for track in self._tracks
        )

    @property
    def _fares_otherwise(self) -> bool:
        return self._health.failing_since != self._settled_health.failing_since

    async def _settle(self) -> None:
        """Note all that has ended. What cannot be noted now is kept and noted first. Raises `Unavailable`."""
        one = self._unsettled or self._settlement()
        self._unsettled = one
        freed = await asyncio.to_thread(self._means.settings.deliveries.settle, one)
        self._unsettled = None
        self._settled_at = self._now()
        self._settled |= one.cursors
        self._tracks = [track for track in self._tracks if track.stream_id not in one.ended]
        # Not all replays are taken in at once.
        self._lacks_streams = self._lacks_streams or bool(one.ended)
        if one.troubles or one.retried or one.hastens:
            self._turns.troubled -= {call for call in freed if not self._outcomes.still_hold(call)}
            await self._rows.look(one.retried)

    def _settlement(self) -> Settlement:
        cursors = {track.stream_id: track.window.settled_to for track in self._tracks}
        ended = [track.stream_id for track in self._tracks if track.has_ended]
        outcomes, self._outcomes = self._outcomes, Outcomes(self._subscription)
        self._settled_health = self._health
        return outcomes.settlement(cursors, ended, self._health, self._means.clock.microseconds())

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
        at = self._means.clock.microseconds()
        waits = [IDLE_SECONDS_MAX]
        if self._has_unsettled:
            waits.append(self._settled_at + self._settle_seconds - self._now())
        if self._rows.due_at is not None:
            waits.append((self._rows.due_at - at) / _SECOND)
        if not self._under_way and (self._rows or self._turns.ready):
            # The application is not to be asked before then; which may have come since we last looked.
            waits.append((self._health.not_before - at) / _SECOND)
        if self._subscription.per == "call":
            waits.append(AGAIN_SECONDS)
        return min(waits)

    async def _listen(self) -> None:
        """Wake for what is new, until there is no more news: then the house closes."""
        news = self._means.reading.news
        while not news.is_closed:
            if await news.wait(news.position, IDLE_SECONDS_MAX):
                self._wake.set()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _microseconds(at: datetime | None) -> int | None:
    return None if at is None else microseconds(at)
