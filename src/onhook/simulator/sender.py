"""Posts the office's reports as a PBX does: signed, a new connection for each, tried again when not answered well.

The shell of the room: it paces, posts and counts, and tells the PBX's other face. What is sent is decided by `office`
and `faults`.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from itertools import takewhile
from random import Random

import aiohttp

from onhook.cdr.call_details import CallDetails
from onhook.lib.clock import Clock
from onhook.lib.errors import UsageError
from onhook.lib.signing import SIGNATURE_HEADER, sign
from onhook.pbx.dialect import Dialect
from onhook.pbx.yeastar.payload import Yeastar
from onhook.simulator.fault_injection import Mischief, Sending, garbled
from onhook.simulator.observer import Face
from onhook.simulator.office_plan import DEMO_REPORTS_PER_SECOND, SimulationPlan, SimulationResult, office_of
from onhook.simulator.results import NO_ANSWER, Books

PROGRESS_SECONDS = 0.1
"""How often progress is told: as often as an eye can follow."""

Progress = Callable[[SimulationResult], None]

_Stream = tuple[Iterator[list[CallDetails]], float | None]
"""Calls, and how many of their reports a second; None is at once."""


async def simulate(
    plan: SimulationPlan, clock: Clock, progress: Progress | None = None, face: Face | None = None
) -> SimulationResult:
    """Send what the plan asks for, and tell what came of it. `progress` hears it meanwhile, and last when it ends.

    With a `face` that is told too, and posting may be left out. Without a `count` it goes on until it is cancelled;
    then `progress` has the result. Raises `UsageError` for a plan that cannot be meant so, before anything is sent.
    """
    if not plan.url and face is None:
        raise UsageError("nobody is told of the calls", todo="name a receiver with --to, or an address with --exchange")
    streams = _streams(plan, clock)
    with Books(plan) as books:
        try:
            async with _session(plan) as session:
                await _send_all(plan, streams, books, _Line(plan, session, books, progress, face), face)
        finally:
            if progress:
                progress(books.result())
        return books.result()


class _Line:
    """The way from the PBX to the receiver."""

    def __init__(
        self,
        plan: SimulationPlan,
        session: aiohttp.ClientSession,
        books: Books,
        progress: Progress | None,
        face: Face | None,
    ) -> None:
        self._plan = plan
        self._session = session
        self._books = books
        self._progress = progress
        self._face = face
        self._dialect: Dialect = Yeastar()
        self._told_at = time.monotonic()

    def tell_face(self, sending: Sending) -> None:
        """Tell the PBX's other face, which never keeps us waiting."""
        if self._face is not None:
            self._face.sent(sending.details, self._body(sending) if "malformed" in sending.faults else b"")
            self._tell()

    async def send(self, sending: Sending) -> None:
        """Post one report until it is acknowledged or all tries are used up."""
        body = self._body(sending)
        for left in reversed(range(self._plan.tries)):
            answer = await self._post(body)
            self._books.answered(answer)
            if answer.startswith("2") or not left:
                self._books.settled(sending, is_acknowledged=answer.startswith("2"))
                break
            await asyncio.sleep(self._plan.pause_seconds)
        self._tell()

    def _body(self, sending: Sending) -> bytes:
        body = self._dialect.write(sending.details, self._plan.sn, self._plan.profile)
        # A repeat of a malformed report is malformed in the same way: it is the same bytes again.
        return garbled(body, Random(self._books.name_of(sending))) if "malformed" in sending.faults else body

    async def _post(self, body: bytes) -> str:
        """The answer's status, or `NO_ANSWER`."""
        headers = {"Content-Type": "application/json"}
        if self._plan.secret:
            headers[SIGNATURE_HEADER] = sign(self._plan.secret, body)
        try:
            async with self._session.post(self._plan.url, data=body, headers=headers, allow_redirects=False) as answer:
                return str(answer.status)
        except (aiohttp.ClientError, TimeoutError):
            return NO_ANSWER

    def _tell(self) -> None:
        if self._progress and time.monotonic() - self._told_at >= PROGRESS_SECONDS:
            self._progress(self._books.result())
            self._told_at = time.monotonic()


class _Pace:
    """Lets calls begin so often that their reports come at a rate; None is at once.

    A call's reports go out together and the time until the next call varies, but the rate holds over time.
    """

    def __init__(self, reports_per_second: float | None, seed: int) -> None:
        self._reports_per_second = reports_per_second
        self._rng = Random(f"{seed}/pace")
        self._due = time.monotonic()

    async def wait(self, reports_before: int) -> None:
        """Until the next call's turn, so many reports after the last one's."""
        if self._reports_per_second is not None:
            self._due += reports_before / self._reports_per_second * self._rng.uniform(0.5, 1.5)
        await asyncio.sleep(max(0.0, self._due - time.monotonic()))


async def _send_all(plan: SimulationPlan, streams: list[_Stream], books: Books, line: _Line, face: Face | None) -> None:
    """Reports wait in a short queue for a connection, so that memory stays bounded however slow the receiver is."""
    queue: asyncio.Queue[Sending | None] = asyncio.Queue(plan.connections)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(plan.connections):
                group.create_task(_work(queue, line))
            async for sending in _sendings(plan, streams, face):
                books.made(sending)
                if "lost" in sending.faults:
                    continue
                line.tell_face(sending)
                if plan.url:
                    await queue.put(sending)
            for _ in range(plan.connections):
                await queue.put(None)
    except ExceptionGroup as group_of_errors:
        # Whichever went wrong first is what a person needs; the others followed from it.
        raise group_of_errors.exceptions[0] from None


async def _work(queue: asyncio.Queue[Sending | None], line: _Line) -> None:
    while (sending := await queue.get()) is not None:
        await line.send(sending)


async def _sendings(plan: SimulationPlan, streams: list[_Stream], face: Face | None) -> AsyncIterator[Sending]:
    """All reports at their time, after the faults befell them."""
    mischief = Mischief(plan.faults, plan.seed)
    left = plan.count if plan.count is not None else sys.maxsize
    for calls, rate in streams:
        pace = _Pace(rate, plan.seed)
        before = 0
        while left:
            await pace.wait(before)
            legs = next(calls, [])[:left]
            if not legs:
                break
            for details in legs:
                if face is not None:
                    face.made(details)
                for sending in mischief.pass_on(details):
                    yield sending
            before = len(legs)
            left -= before
    for sending in mischief.rest():
        yield sending


def _streams(plan: SimulationPlan, clock: Clock) -> list[_Stream]:
    """The streams of calls, one after the other, each with its rate."""
    office = office_of(plan)
    live = (call.legs for call in office.calls_ending(_moments(clock)))
    if plan.start is None:
        past = (call.legs for call in office.latest(clock.now(), plan.history_calls))
        return [(past, None), (live, plan.rate)]
    calls = office.calls_since(plan.start)
    if plan.count is None:
        now = clock.now()
        calls = takewhile(lambda call: call.ended_at <= now, calls)
    history: _Stream = ((call.legs for call in calls), plan.rate)
    return [history, (live, plan.rate or DEMO_REPORTS_PER_SECOND)] if plan.goes_on else [history]


def _moments(clock: Clock) -> Iterator[datetime]:
    while True:
        yield clock.now()


def _session(plan: SimulationPlan) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(force_close=True, limit=plan.connections)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=plan.timeout_seconds))
