"""Sender of the office's events: signed, each over a new connection, retried like a PBX does.

This module paces, posts and counts, and calls the observer. `office` and `fault_injection` decide what is sent.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from itertools import takewhile
from random import Random

import aiohttp
import msgspec

from onhook.cdr.call_details import UTC_OFFSET, CallDetails
from onhook.cdr.utc_offset import get_zone, offset_in_zone
from onhook.lib.clock import Clock
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.lib.signing import SIGNATURE_HEADER, sign
from onhook.pbx.freeswitch.writing import format_event
from onhook.simulator.fault_injection import EventFaultInjector, SimulatedEvent, corrupt_body
from onhook.simulator.file_writer import FileWriter
from onhook.simulator.line_writer import LineWriter
from onhook.simulator.observer import SimulationObserver
from onhook.simulator.office_plan import (
    DEMO_EVENTS_PER_SECOND,
    DOCUMENT_FORMATS,
    UTC_FORMATS,
    SimulationPlan,
    SimulationResult,
    create_office,
    find_dialect,
    is_file_url,
    is_line_url,
)
from onhook.simulator.results import NO_RESPONSE, WRITTEN, SimulationRecorder

PROGRESS_SECONDS = 0.1
"""Interval of progress reports: as often as an eye can follow."""

SimulationProgressCallback = Callable[[SimulationResult], None]

_CallStream = tuple[Iterator[list[CallDetails]], float | None]
"""Calls, and the rate of their events per second; None is without pause."""


async def simulate(
    plan: SimulationPlan,
    clock: Clock,
    on_progress: SimulationProgressCallback | None = None,
    observer: SimulationObserver | None = None,
) -> SimulationResult:
    """Send the events of a plan and return the result. `on_progress` receives the result so far, and at the end.

    The URL is optional with an `observer`. Without a `count` the simulation runs until it is cancelled; then
    `on_progress` has the result. Raises `UsageError` for an invalid plan, before anything is sent.
    """
    if not plan.url and observer is None:
        raise UsageError(
            _("the simulated calls have no receiver"), hint=_("name a receiver with --to, or an address with --pbx-api")
        )
    streams = _build_streams(plan, clock)
    with SimulationRecorder(plan) as recorder:
        try:
            async with _open_post(plan, clock) as post:
                sender = _EventSender(plan, post, recorder, on_progress, observer)
                await _send_all(plan, streams, recorder, sender, observer)
        finally:
            if on_progress:
                on_progress(recorder.result())
        return recorder.result()


_Post = Callable[[bytes], Awaitable[str]]
"""Sends one body; returns the status of the response, `WRITTEN` or `NO_RESPONSE`."""


class _EventSender:
    """Posts events from the PBX to the receiver."""

    def __init__(
        self,
        plan: SimulationPlan,
        post: _Post,
        recorder: SimulationRecorder,
        on_progress: SimulationProgressCallback | None,
        observer: SimulationObserver | None,
    ) -> None:
        self._plan = plan
        self._post = post
        self._recorder = recorder
        self._on_progress = on_progress
        self._observer = observer
        self._dialect = find_dialect(plan)
        self._progress_reported_at = time.monotonic()

    def notify_observer(self, event: SimulatedEvent) -> None:
        """Call the observer, which never waits."""
        if self._observer is not None:
            self._observer.record_sent(event.details, self._body(event) if "malformed" in event.faults else b"")
            self._report_progress()

    async def send(self, event: SimulatedEvent) -> None:
        """Post what reports one event until it is acknowledged or all attempts are used up."""
        results = [await self._post_until_acknowledged(body) for body in self._bodies(event)]
        self._recorder.record_outcome(event, is_acknowledged=all(results))
        self._report_progress()

    async def _post_until_acknowledged(self, body: bytes) -> bool:
        """Post a body; return whether it was acknowledged in one of the attempts."""
        for attempts_left in reversed(range(self._plan.max_attempts)):
            status = await self._post(body)
            self._recorder.record_response(status)
            if status.startswith("2") or status == WRITTEN:
                return True
            if attempts_left:
                await asyncio.sleep(self._plan.retry_seconds)
        return False

    def _bodies(self, event: SimulatedEvent) -> list[bytes]:
        """Return what the PBX sends: an event; of a FreeSWITCH a document for each telephone that takes part."""
        encoding = DOCUMENT_FORMATS.get(self._plan.payload_format)
        if encoding is None or not event.call:
            return [self._body(event)]
        call = [self._with_offset(details) for details in event.call]
        bodies = format_event(self._with_offset(event.details), call, self._plan.sn, encoding)
        return [self._corrupt(body, event) for body in bodies]

    def _with_offset(self, details: CallDetails) -> CallDetails:
        """Return details with the offset of the office from UTC, where the PBX writes UTC."""
        if self._plan.payload_format not in UTC_FORMATS:
            return details
        offset = offset_in_zone(datetime.fromisoformat(details.time_start), get_zone(self._plan.zone))
        return msgspec.structs.replace(details, extra={**details.extra, UTC_OFFSET: round(offset.total_seconds())})

    def _body(self, event: SimulatedEvent) -> bytes:
        details = self._with_offset(event.details)
        return self._corrupt(self._dialect.format(details, self._plan.sn, self._plan.payload_format), event)

    def _corrupt(self, body: bytes, event: SimulatedEvent) -> bytes:
        """Return the body of an event, damaged where it is malformed: a repeat has the same bytes."""
        if "malformed" not in event.faults:
            return body
        return corrupt_body(body, Random(self._recorder.compute_record_id(event)))

    def _report_progress(self) -> None:
        if self._on_progress and time.monotonic() - self._progress_reported_at >= PROGRESS_SECONDS:
            self._on_progress(self._recorder.result())
            self._progress_reported_at = time.monotonic()


class _RateLimiter:
    """Starts calls so that their events have a rate; None is without pause.

    The events of a call are sent together and the time until the next call varies, but the rate holds over time.
    """

    def __init__(self, events_per_second: float | None, seed: int) -> None:
        self._events_per_second = events_per_second
        self._rng = Random(f"{seed}/pace")
        self._next_at = time.monotonic()

    async def wait(self, previous_events: int) -> None:
        """Wait for the time of the next call, `previous_events` events after the last one."""
        if self._events_per_second is not None:
            self._next_at += previous_events / self._events_per_second * self._rng.uniform(0.5, 1.5)
        await asyncio.sleep(max(0.0, self._next_at - time.monotonic()))


async def _send_all(
    plan: SimulationPlan,
    streams: list[_CallStream],
    recorder: SimulationRecorder,
    sender: _EventSender,
    observer: SimulationObserver | None,
) -> None:
    """Send all events. A short queue holds them until a connection is free, so that memory stays bounded with a slow
    receiver.
    """
    queue: asyncio.Queue[SimulatedEvent | None] = asyncio.Queue(plan.connections)
    try:
        async with asyncio.TaskGroup() as group:
            for _unused in range(plan.connections):
                group.create_task(_run_sender(queue, sender))
            async for event in _generate_events(plan, streams, observer):
                recorder.record_event(event)
                if "lost" in event.faults:
                    continue
                sender.notify_observer(event)
                if plan.url:
                    await queue.put(event)
            for _unused in range(plan.connections):
                await queue.put(None)
    except ExceptionGroup as error_group:
        # The first error is the cause of the others.
        raise error_group.exceptions[0] from None


async def _run_sender(queue: asyncio.Queue[SimulatedEvent | None], sender: _EventSender) -> None:
    while (event := await queue.get()) is not None:
        await sender.send(event)


async def _generate_events(
    plan: SimulationPlan, streams: list[_CallStream], observer: SimulationObserver | None
) -> AsyncIterator[SimulatedEvent]:
    """Yield all events at their time, with their faults."""
    fault_injector = EventFaultInjector(plan.faults, plan.seed)
    events_left = plan.count if plan.count is not None else sys.maxsize
    for calls, rate in streams:
        rate_limiter = _RateLimiter(rate, plan.seed)
        previous_events = 0
        while events_left:
            await rate_limiter.wait(previous_events)
            legs = next(calls, [])[:events_left]
            if not legs:
                break
            for details in legs:
                if observer is not None:
                    observer.record_made(details)
                for event in fault_injector.inject(details, tuple(legs)):
                    yield event
            previous_events = len(legs)
            events_left -= previous_events
    for event in fault_injector.drain():
        yield event


def _build_streams(plan: SimulationPlan, clock: Clock) -> list[_CallStream]:
    """Return the streams of calls, one after the other, each with its rate."""
    office = create_office(plan)
    live_calls = (call.legs for call in office.live_calls(_current_times(clock)))
    if plan.start is None:
        past_calls = (call.legs for call in office.latest(clock.now(), plan.history_calls))
        return [(past_calls, None), (live_calls, plan.rate)]
    now = clock.now()
    calls = takewhile(lambda call: call.ended_at <= now, office.calls_since(plan.start))
    history_stream: _CallStream = ((call.legs for call in calls), plan.rate)
    return (
        [history_stream, (live_calls, plan.rate or DEMO_EVENTS_PER_SECOND)] if plan.continues_live else [history_stream]
    )


def _current_times(clock: Clock) -> Iterator[datetime]:
    while True:
        yield clock.now()


@asynccontextmanager
async def _open_post(plan: SimulationPlan, clock: Clock) -> AsyncIterator[_Post]:
    """Yield what sends one body: by webhook, as a line, or as a file. Raises `UsageError`."""
    if is_file_url(plan.url):
        yield FileWriter(plan.url, clock).post
        return
    if is_line_url(plan.url):
        async with LineWriter(plan.url, plan.timeout_seconds) as line_writer:
            yield line_writer.post
        return
    connector = aiohttp.TCPConnector(force_close=True, limit=plan.connections)
    timeout = aiohttp.ClientTimeout(total=plan.timeout_seconds)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield partial(_post_webhook, plan, session)


async def _post_webhook(plan: SimulationPlan, session: aiohttp.ClientSession, body: bytes) -> str:
    """Return the response's status, or `NO_RESPONSE`."""
    headers = {"Content-Type": "application/json"}
    if plan.secret:
        headers[SIGNATURE_HEADER] = sign(plan.secret, body)
    try:
        async with session.post(plan.url, data=body, headers=headers, allow_redirects=False) as response:
            return str(response.status)
    except (aiohttp.ClientError, TimeoutError):
        return NO_RESPONSE
