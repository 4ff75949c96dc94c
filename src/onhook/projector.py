"""From the ledger to the store: each report read, each call put together, exactly once.

Laws: the store's position moves in the same transaction as the calls it stands for, so a projector that dies at any
moment goes on where it was. Reading anew gives the same calls. What cannot be read goes to the quarantine, and does not
hold up what follows.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call, to_reported_leg
from onhook.cdr.record import Call, Record
from onhook.ledger.contract import Ledger, RawEvent
from onhook.lib.errors import NotFound, OnhookError, Unavailable
from onhook.pbx.dialect import Dialects
from onhook.store.contract import CallKey, QuarantineEntry, Store, StoreBatch

BATCH_RAW_EVENTS_MAX = 10_000
"""Enough to make a transaction worth its price, few enough to stay within some 50 MB."""

POLL_SECONDS = 0.05
"""How long a call may wait to be seen; asking the ledger costs microseconds."""

RETRY_SECONDS = 1.0
"""The wait after the disk or the store said 'not now'."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

DeletionCheck = Callable[[Sequence[Record]], bool]
"""Whether the call with these legs may be forgotten."""

FactsLookup = Callable[[str], PbxFacts]
"""What we were told of the PBX with a serial number; the defaults for one that nobody declared."""


class _ParsedEvents(msgspec.Struct, frozen=True):
    """What a stretch of the ledger says, call by call, and what of it could not be read."""

    reported_legs: dict[CallKey, list[ReportedLeg]]
    quarantined: list[QuarantineEntry]


class DeletionResult(msgspec.Struct, frozen=True):
    """Calls that the store has no more, and the reports that speak of no call that stays."""

    calls: Sequence[CallKey]
    seqs: Sequence[int]


class _ParsedRange(msgspec.Struct, frozen=True):
    """Reports after a number up to another, understood."""

    after_seq: int
    last_seq: int
    parsed_events: _ParsedEvents


class Projector:
    """The only writer of the store.

    `on_error` is told the error when it cannot go on for now, and None when it can again.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        store: Store,
        dialects: Dialects,
        get_facts: FactsLookup,
        on_error: Callable[[Unavailable | None], None] = lambda _: None,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._dialects = dialects
        self._get_facts = get_facts
        self._lock = asyncio.Lock()
        self._read_ahead: asyncio.Task[_ParsedRange | None] | None = None
        self._on_error = on_error
        self._is_failing = False

    async def run(self, on_position: Callable[[int], None]) -> None:
        """Follow the ledger for ever; tells `announce` each new position. Ends by cancellation only.

        A store or disk that is not available is tried again; any other error is raised: going on would be wrong.
        """
        try:
            while True:
                await self._follow(on_position)
        finally:
            if self._read_ahead is not None:
                self._read_ahead.cancel()
                await asyncio.wait([self._read_ahead])

    async def _follow(self, on_position: Callable[[int], None]) -> None:
        """One step, or a pause where there is nothing to do or nothing can be done."""
        try:
            position = await self.step()
        except Unavailable as error:
            self._report_error(error)
            await asyncio.sleep(RETRY_SECONDS)
            return
        self._report_error(None)
        if position is None:
            await asyncio.sleep(POLL_SECONDS)
        else:
            on_position(position)

    def _report_error(self, error: Unavailable | None) -> None:
        """Tell when trouble begins and when it ends, not each time in between."""
        if (error is not None) is not self._is_failing:
            self._is_failing = error is not None
            self._on_error(error)

    async def catch_up(self, on_progress: Callable[[int], None] = lambda position: None) -> int:
        """Read all that is in the ledger now; returns the store's position."""
        while (position := await self.step()) is not None:
            on_progress(position)
        return await self._store.position()

    async def step(self) -> int | None:
        """Read the next stretch of the ledger and put it into the store; its last number, or None at the end.

        While the store keeps one stretch, the next one is being read.
        """
        async with self._lock:
            parsed_range = await self._take_range(await self._store.position())
            if parsed_range is None:
                return None
            self._read_ahead = asyncio.create_task(self._read_range(parsed_range.last_seq))
            await self._store_calls(parsed_range.parsed_events, parsed_range.last_seq, reparsed_seqs=())
            return parsed_range.last_seq

    async def retry(self, seqs: Sequence[int]) -> list[QuarantineEntry]:
        """Read reports of the quarantine again, as after an upgrade; returns those that still cannot be read.

        Raises `NotFound` when the ledger has none of these numbers.
        """
        async with self._lock:
            raw_events = await self._ledger.get(seqs)
            if not raw_events:
                raise NotFound("the ledger has no report with these numbers", hint="see `onhook quarantine list`")
            parsed_events = await asyncio.to_thread(self._parse, raw_events)
            unparsed_seqs = {entry.seq for entry in parsed_events.quarantined}
            reparsed_seqs = [raw_event.seq for raw_event in raw_events if raw_event.seq not in unparsed_seqs]
            await self._store_calls(parsed_events, await self._store.position(), reparsed_seqs)
            return parsed_events.quarantined

    async def delete_calls(self, raw_events: Sequence[RawEvent], may_delete: DeletionCheck) -> DeletionResult:
        """Take from the store the calls that these reports speak of and that may go; what could not be read goes too.

        The reports themselves are the caller's to delete, afterwards; what the store does not stand for yet is left.
        """
        async with self._lock:
            position = await self._store.position()
            raw_events = [raw_event for raw_event in raw_events if raw_event.seq <= position]
            parsed_events = await asyncio.to_thread(self._parse, raw_events)
            calls: dict[CallKey, list[Record]] = {}
            for leg in await self._store.legs(list(parsed_events.reported_legs)):
                calls.setdefault((leg.sn, leg.call_id), []).append(leg)
            remaining_keys = {key for key, legs in calls.items() if not may_delete(legs)}
            remaining_seqs = {
                reported_leg.seq for key in remaining_keys for reported_leg in parsed_events.reported_legs[key]
            }
            deleted_keys = [key for key in parsed_events.reported_legs if key not in remaining_keys]
            seqs = [raw_event.seq for raw_event in raw_events if raw_event.seq not in remaining_seqs]
            # All of them: what can be read now may stand in the quarantine from before an upgrade.
            await self._store.delete(deleted_keys, seqs)
            return DeletionResult(deleted_keys, seqs)

    async def _take_range(self, position: int) -> _ParsedRange | None:
        """The stretch that was read ahead, if it is this one; else it is read now."""
        read_ahead, self._read_ahead = self._read_ahead, None
        if read_ahead is not None:
            await asyncio.wait([read_ahead])
            parsed_range = read_ahead.result()
            if parsed_range is not None and parsed_range.after_seq == position:
                return parsed_range
        return await self._read_range(position)

    async def _read_range(self, after_seq: int) -> _ParsedRange | None:
        raw_events = await self._ledger.read(after_seq, BATCH_RAW_EVENTS_MAX)
        if not raw_events:
            await self._check_end(after_seq)
            return None
        return _ParsedRange(after_seq, raw_events[-1].seq, await asyncio.to_thread(self._parse, raw_events))

    async def _check_end(self, position: int) -> None:
        """A store that stands for more than the ledger has would skip the next reports: it thinks it knows them."""
        last_seq = await self._ledger.last_seq()
        if last_seq < position:
            raise Unavailable(
                f"the store ({position}) is ahead of the ledger ({last_seq}), as after an older ledger was put back",
                hint="keep a copy of calls.duckdb if it has calls that the ledger lacks, then `onhook rebuild`",
            )

    def _parse(self, raw_events: Iterable[RawEvent]) -> _ParsedEvents:
        parsed_events = _ParsedEvents({}, [])
        for raw_event in raw_events:
            try:
                details = self._dialects[raw_event.dialect].parse(raw_event.body)
            except Exception as error:  # noqa: BLE001 - whatever a body does to its reader, the next one is read
                parsed_events.quarantined.append(_to_quarantine_entry(raw_event, error))
                continue
            received_at = _EPOCH + timedelta(microseconds=raw_event.received_at)
            for leg_details in details:
                reported_leg = ReportedLeg(
                    details=leg_details, seq=raw_event.seq, via=raw_event.via, received_at=received_at
                )
                parsed_events.reported_legs.setdefault((raw_event.sn, leg_details.call_id), []).append(reported_leg)
        return parsed_events

    async def _store_calls(self, parsed_events: _ParsedEvents, position: int, reparsed_seqs: Sequence[int]) -> None:
        """Put together the calls that were spoken of with what was known of them before, and keep them."""
        stored_legs = await self._store.legs(list(parsed_events.reported_legs))
        facts = {sn: self._get_facts(sn) for sn in {sn for sn, _ in parsed_events.reported_legs}}
        calls = await asyncio.to_thread(_assemble_calls, parsed_events, stored_legs, facts)
        await self._store.put(
            StoreBatch(
                calls=calls, quarantined=parsed_events.quarantined, reparsed_seqs=reparsed_seqs, position=position
            )
        )


def _assemble_calls(
    parsed_events: _ParsedEvents, stored_legs: Sequence[Record], facts: Mapping[str, PbxFacts]
) -> list[Call]:
    for record in stored_legs:
        parsed_events.reported_legs[record.sn, record.call_id].append(to_reported_leg(record))
    return [
        assemble_call(sn, reported_legs, facts[sn]) for (sn, _), reported_legs in parsed_events.reported_legs.items()
    ]


def _to_quarantine_entry(raw_event: RawEvent, error: Exception) -> QuarantineEntry:
    if isinstance(error, OnhookError):
        reason = str(error)
    elif isinstance(error, KeyError) and error.args == (raw_event.dialect,):
        reason = f"no dialect here is called {raw_event.dialect!r}: upgrade, or look at how it came here"
    else:
        reason = f"reading it failed ({type(error).__name__}: {error}): keep it and report this"
    return QuarantineEntry(
        seq=raw_event.seq,
        sn=raw_event.sn,
        via=raw_event.via,
        received_at=_EPOCH + timedelta(microseconds=raw_event.received_at),
        reason=reason,
    )
