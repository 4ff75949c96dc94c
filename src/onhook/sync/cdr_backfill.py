"""Back-fill from an archive: the calls that a PBX keeps itself, through the same door as everything else.

See the contract, `caretaker.Filling`. Laws: a call that was heard is the same report in the archive, and is kept once;
what cannot be read is kept too, and told; nothing is claimed that the archive does not reach over: it must begin before
a gap and have a call after it, for a file that nobody writes any more ends somewhere too.
"""

import asyncio
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from itertools import islice

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.cdr.coverage import CALL_SECONDS_MAX, Interval
from onhook.cdr.sync_types import AlarmKind
from onhook.lib.clock import Clock
from onhook.lib.errors import ParseError, Unavailable
from onhook.pbx.cdr_archive import Archive, KeptCall, Unread
from onhook.pbx.client import Facts, Window
from onhook.pbx.dialect import Dialect
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.receiver.verdict import Verdict
from onhook.sync.api_backfill import (
    BACKFILL,
    INGEST_ATTEMPTS_MAX,
    INGEST_BATCH_SIZE,
    INGEST_RETRY_SECONDS,
    RETRYABLE_VERDICTS,
    BackfillProgressCallback,
    BackfillTotals,
    CallLookup,
)

CDR_DELAY_SECONDS = 15
"""A call that ended less than this ago may have a CDR that is not written yet; it is left to the next time."""

ALARM_KINDS: Sequence[AlarmKind] = ("source",)

CdrEntry = KeptCall | Unread


class CdrSourceAccess:
    """See the contract, `caretaker.Asked`: an archive is always asked the same way."""

    kinds = ALARM_KINDS
    trouble: AlarmKind = "source"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.microseconds() / 1_000_000


class CdrBackfill:
    """See the module; holds nothing between two times. `stretches` tells what is known of the coverage."""

    def __init__(
        self,
        *,
        archive: Archive,
        accept: Ingestor,
        sender: RegisteredPbx,
        dialect: Dialect,
        known: CallLookup,
        stretches: Callable[[], Sequence[Interval]],
        clock: Clock,
    ) -> None:
        self._archive = archive
        self._accept = accept
        self._sender = sender
        self._dialect = dialect
        self._known = known
        self._stretches = stretches
        self._clock = clock

    async def facts(self) -> Facts:
        return Facts()

    async def count(self, window: Window, facts: Facts) -> int | None:
        return None

    async def fill(
        self, window: Window, facts: Facts, *, missed: Window, tell: BackfillProgressCallback
    ) -> BackfillTotals:
        """Missed is what ended while the PBX was heard; `missed` itself is about push channels that tell less."""
        totals, intervals = BackfillTotals(done_until=window.since), self._stretches()
        batches = _batches(self._archive(window))
        try:
            while batch := await asyncio.to_thread(next, batches, ()):
                totals = await self._taken(totals, batch, window, intervals)
                tell(totals)
        finally:
            with suppress(ValueError):  # where we are stopped, a thread still reads, and closes it when it is done
                batches.close()
        return _empty_reach_without_calls(totals, window)

    async def _taken(
        self, found: BackfillTotals, batch: Sequence[CdrEntry], window: Window, heard: Sequence[Interval]
    ) -> BackfillTotals:
        calls = [entry for entry in batch if isinstance(entry, KeptCall)]
        latest_end = self._clock.microseconds() / 1_000_000 - CDR_DELAY_SECONDS
        calls_in_window = [entry for entry in calls if _is_in_window(entry, window, latest_end)]
        lines = [entry.line.encode() for entry in batch if isinstance(entry, Unread) and entry.line]
        await self._keep(lines)
        return await self._kept(_add_reach(found, batch), calls_in_window, heard)

    async def _kept(
        self, found: BackfillTotals, calls: Sequence[KeptCall], heard: Sequence[Interval]
    ) -> BackfillTotals:
        """Keep those that are not here; what the door knows already is the same."""
        details_by_call = await asyncio.to_thread(lambda: [_parse(self._dialect, entry.body) for entry in calls])
        known_calls = {(leg.sn, leg.call_id) for leg in await self._known.legs(sorted(self._keys(details_by_call)))}
        verdicts = await self._keep([entry.body for entry in calls])
        new = changed = same = missed = 0
        for call, details, verdict in zip(calls, details_by_call, verdicts, strict=True):
            if verdict == "repeat":
                same += len(details)
            elif self._keys([details]) & known_calls:
                changed += len(details)
            else:
                new += len(details)
                missed += len(details) if _ended_while_connected(call, heard) else 0
        return msgspec.structs.replace(
            found,
            rows=found.rows + sum(map(len, details_by_call)),
            new=found.new + new,
            changed=found.changed + changed,
            same=found.same + same,
            missed=found.missed + missed,
        )

    def _keys(self, read: Sequence[Sequence[CallDetails]]) -> set[tuple[str, str]]:
        return {(self._sender.sn, leg.call_id) for details in read for leg in details}

    async def _keep(self, bodies: Sequence[bytes]) -> list[Verdict]:
        """Through the door, some at once; again where it is shut for now. Raises `Unavailable`."""
        verdicts: list[Verdict] = []
        for start in range(0, len(bodies), INGEST_BATCH_SIZE):
            verdicts += await self._keep_some(bodies[start : start + INGEST_BATCH_SIZE])
        return verdicts

    async def _keep_some(self, bodies: Sequence[bytes]) -> list[Verdict]:
        for _ in range(INGEST_ATTEMPTS_MAX):
            verdicts = list(await asyncio.gather(*(self._accept.keep(self._sender, body, BACKFILL) for body in bodies)))
            if not any(body in RETRYABLE_VERDICTS for body in verdicts):
                return verdicts
            # Those that were kept are repeats the next time: counted too low, never too high.
            await asyncio.sleep(INGEST_RETRY_SECONDS)
        raise Unavailable("the ledger cannot be written", todo="the back-fill goes on when it can")


def _parse(dialect: Dialect, body: bytes) -> Sequence[CallDetails]:
    """Nothing where it cannot be read: it is kept all the same, and the projector says why."""
    try:
        return dialect.read(body)
    except ParseError:
        return ()


def _batches(kept: Iterator[CdrEntry]) -> Generator[Sequence[CdrEntry], None, None]:
    while batch := tuple(islice(kept, INGEST_BATCH_SIZE)):
        yield batch


def _is_in_window(call: KeptCall, window: Window, settled_at: float) -> bool:
    """One whose id tells no time is kept once, whatever was asked for."""
    if call.began is None or call.ended is None:
        return True
    return window.since <= call.began.timestamp() < window.until and call.ended.timestamp() <= settled_at


def _ended_while_connected(call: KeptCall, heard: Sequence[Interval]) -> bool:
    """Whether it ended while the PBX was heard, or in a time that was taken for complete."""
    ended_at = call.ended
    return ended_at is not None and any(
        interval.since <= ended_at < interval.until for interval in heard if interval.state != "gap"
    )


def _add_reach(found: BackfillTotals, batch: Sequence[CdrEntry]) -> BackfillTotals:
    """With how far it reaches, in calls that tell, and how many lines could not be read."""
    timed_calls = [
        entry for entry in batch if isinstance(entry, KeptCall) and entry.began is not None and entry.ended is not None
    ]
    unparsed_count = sum(isinstance(entry, Unread) for entry in batch)
    start_times = [round(entry.began.timestamp()) for entry in timed_calls if entry.began is not None]
    end_times = [round(entry.ended.timestamp()) for entry in timed_calls if entry.ended is not None]
    since, until = found.reach_since, found.reach_until
    return msgspec.structs.replace(
        found,
        unreadable=found.unreadable + unparsed_count,
        reach_since=min(start_times, default=since) if since is None else min([since, *start_times]),
        reach_until=max(end_times, default=until) if until is None else max([until, *end_times]),
        done_until=max([found.done_until, *(entry - CALL_SECONDS_MAX for entry in start_times)]),
    )


def _empty_reach_without_calls(found: BackfillTotals, window: Window) -> BackfillTotals:
    """An archive without a call proves nothing."""
    if found.reach_until is None:
        return msgspec.structs.replace(found, reach_since=window.since, reach_until=window.since)
    return found
