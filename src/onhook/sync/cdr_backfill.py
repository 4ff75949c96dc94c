"""Back-fill from a CDR source: calls of the PBX's own CDR file or table, passed to `receiver.ingest`.

See the contract, `sync.contract.BackfillSource`. Invariants: a call that was received live has the same event in the
CDR source and is stored once. Lines that cannot be parsed are stored too, and reported. Coverage is claimed only as far
as the source reaches: it must begin before a gap and have a call after it, because a file that is no longer written
ends somewhere too.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import suppress
from itertools import islice

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.cdr.coverage import CALL_SECONDS_MAX, Interval
from onhook.cdr.sync_types import AlarmKind
from onhook.lib.clock import Clock
from onhook.lib.errors import ParseError
from onhook.pbx.cdr_archive import ArchivedCall, CdrArchive, UnparsedLine
from onhook.pbx.client import SystemFacts, TimeWindow
from onhook.pbx.dialect import Dialect
from onhook.pbx.text_encoding import unescape_bytes
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.receiver.verdict import Verdict
from onhook.sync.contract import BACKFILL, BackfillProgressCallback, BackfillTotals, CallLookup
from onhook.sync.ingest_retry import BACKFILL_ATTEMPTS_MAX, INGEST_BATCH_SIZE, ingest_with_retry

CDR_DELAY_SECONDS = 15
"""A call that ended less than this ago may have a CDR that is not written yet; the next run fetches it."""

ALARM_KINDS: Sequence[AlarmKind] = ("source",)

CdrEntry = ArchivedCall | UnparsedLine


class CdrSourceAccess:
    """See the contract, `sync.contract.PbxAccess`. Access to a CDR source never changes."""

    alarm_kinds = ALARM_KINDS
    error_kind: AlarmKind = "source"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.microseconds() / 1_000_000


class CdrBackfill:
    """Back-fill from a CDR source, without state between two runs. `load_intervals` returns the coverage."""

    def __init__(
        self,
        *,
        archive: CdrArchive,
        ingestor: Ingestor,
        sender: RegisteredPbx,
        dialect: Dialect,
        call_lookup: CallLookup,
        load_intervals: Callable[[], Awaitable[Sequence[Interval]]],
        clock: Clock,
    ) -> None:
        self._archive = archive
        self._ingestor = ingestor
        self._sender = sender
        self._dialect = dialect
        self._call_lookup = call_lookup
        self._load_intervals = load_intervals
        self._clock = clock

    async def get_facts(self) -> SystemFacts:
        return SystemFacts()

    async def count_records(self, window: TimeWindow, facts: SystemFacts) -> int | None:
        return None

    async def backfill(
        self,
        window: TimeWindow,
        facts: SystemFacts,
        *,
        missed_window: TimeWindow,
        on_progress: BackfillProgressCallback,
    ) -> BackfillTotals:
        """Back-fill a window. Calls that ended while the PBX was connected count as missed; `missed_window` is not
        used, it is for push channels.
        """
        totals, intervals = BackfillTotals(done_until=window.since), await self._load_intervals()
        batches = _batches(await self._archive(window))
        try:
            while batch := await asyncio.to_thread(next, batches, ()):
                totals = await self._process_batch(totals, batch, window, intervals)
                await on_progress(totals)
        finally:
            with suppress(ValueError):  # When cancelled, a thread still reads, and closes the source when it is done.
                batches.close()
        return _empty_reach_without_calls(totals, window)

    async def _process_batch(
        self, totals: BackfillTotals, batch: Sequence[CdrEntry], window: TimeWindow, intervals: Sequence[Interval]
    ) -> BackfillTotals:
        calls = [entry for entry in batch if isinstance(entry, ArchivedCall)]
        latest_end = self._clock.microseconds() / 1_000_000 - CDR_DELAY_SECONDS
        calls_in_window = [entry for entry in calls if _is_in_window(entry, window, latest_end)]
        lines = [unescape_bytes(entry.line) for entry in batch if isinstance(entry, UnparsedLine) and entry.line]
        await self._ingest(lines)
        return await self._ingest_calls(_add_reach(totals, batch), calls_in_window, intervals)

    async def _ingest_calls(
        self, totals: BackfillTotals, calls: Sequence[ArchivedCall], intervals: Sequence[Interval]
    ) -> BackfillTotals:
        """Store the calls that are new; the ledger detects duplicates."""
        details_by_call = await asyncio.to_thread(lambda: [_parse(self._dialect, entry.body) for entry in calls])
        known_calls = {
            (leg.sn, leg.call_id) for leg in await self._call_lookup.find_legs(sorted(self._keys(details_by_call)))
        }
        verdicts = await self._ingest([entry.body for entry in calls])
        new = changed = same = missed = 0
        for call, details, verdict in zip(calls, details_by_call, verdicts, strict=True):
            if verdict in ("duplicate", "deleted"):
                same += len(details)
            elif self._keys([details]) & known_calls:
                changed += len(details)
            else:
                new += len(details)
                missed += len(details) if _ended_while_connected(call, intervals) else 0
        return msgspec.structs.replace(
            totals,
            rows=totals.rows + sum(map(len, details_by_call)),
            new=totals.new + new,
            changed=totals.changed + changed,
            same=totals.same + same,
            missed=totals.missed + missed,
        )

    def _keys(self, details_by_call: Sequence[Sequence[CallDetails]]) -> set[tuple[str, str]]:
        return {(self._sender.sn, leg.call_id) for details in details_by_call for leg in details}

    async def _ingest(self, bodies: Sequence[bytes]) -> list[Verdict]:
        """Ingest bodies; retry while the ledger cannot be written. Raises `Unavailable`."""

        def ingest(body: bytes) -> Awaitable[Verdict]:
            return self._ingestor.ingest(self._sender, body, BACKFILL)

        return await ingest_with_retry(ingest, bodies, attempts_max=BACKFILL_ATTEMPTS_MAX)


def _parse(dialect: Dialect, body: bytes) -> Sequence[CallDetails]:
    """Return the parsed call, or nothing when it cannot be parsed: it is stored nevertheless, and the projector reports
    why.
    """
    try:
        return dialect.parse(body)
    except ParseError:
        return ()


def _batches(entries: Iterator[CdrEntry]) -> Generator[Sequence[CdrEntry], None, None]:
    while batch := tuple(islice(entries, INGEST_BATCH_SIZE)):
        yield batch


def _is_in_window(call: ArchivedCall, window: TimeWindow, latest_end: float) -> bool:
    """Return whether a call is in the window. A call without a time in its id is stored once, whatever the window."""
    if call.began_at is None or call.ended_at is None:
        return True
    return window.since <= call.began_at.timestamp() < window.until and call.ended_at.timestamp() <= latest_end


def _ended_while_connected(call: ArchivedCall, intervals: Sequence[Interval]) -> bool:
    """Return whether the call ended while the PBX was connected, or in a time that was claimed complete."""
    ended_at = call.ended_at
    return ended_at is not None and any(
        interval.since <= ended_at < interval.until for interval in intervals if interval.state != "gap"
    )


def _add_reach(totals: BackfillTotals, batch: Sequence[CdrEntry]) -> BackfillTotals:
    """Return the totals with the range of the batch, and the number of lines that could not be parsed."""
    timed_calls = [
        entry
        for entry in batch
        if isinstance(entry, ArchivedCall) and entry.began_at is not None and entry.ended_at is not None
    ]
    unparsed_count = sum(isinstance(entry, UnparsedLine) for entry in batch)
    start_times = [round(entry.began_at.timestamp()) for entry in timed_calls if entry.began_at is not None]
    end_times = [round(entry.ended_at.timestamp()) for entry in timed_calls if entry.ended_at is not None]
    since, until = totals.reach_since, totals.reach_until
    return msgspec.structs.replace(
        totals,
        unreadable=totals.unreadable + unparsed_count,
        reach_since=min(start_times, default=since) if since is None else min([since, *start_times]),
        reach_until=max(end_times, default=until) if until is None else max([until, *end_times]),
        done_until=max([totals.done_until, *(start_time - CALL_SECONDS_MAX for start_time in start_times)]),
    )


def _empty_reach_without_calls(totals: BackfillTotals, window: TimeWindow) -> BackfillTotals:
    """Return the totals without a range when there is no call, because such a source proves nothing."""
    if totals.reach_until is None:
        return msgspec.structs.replace(totals, reach_since=window.since, reach_until=window.since)
    return totals
