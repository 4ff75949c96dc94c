"""From the ledger to the store: every raw event is parsed and every call assembled, exactly once.

Invariants: the store's position moves in the same transaction as the calls that it covers, so a projector that is
killed resumes where it was. Parsing again gives the same calls. An unreadable raw event goes to the quarantine and does
not delay the following ones; one of which a part is readable is there too, beside its calls.
"""

import asyncio
import logging
import shlex
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

import msgspec

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call, to_reported_leg
from onhook.cdr.identity import fold_sn
from onhook.cdr.merge import UNREGISTERED, WEBHOOK
from onhook.cdr.record import Call, Record
from onhook.ledger.contract import CounterKey, Ledger, RawEvent
from onhook.lib.errors import NotFound, OnhookError, ParseError, Unavailable
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime
from onhook.lib.transition_log import TransitionLog
from onhook.pbx.dialect import Dialects, PartlyParsedCalls
from onhook.pbx.text_encoding import recode_body
from onhook.store.contract import CallKey, QuarantineEntry, Store, StoreBatch

BATCH_RAW_EVENTS_MAX = 10_000
"""Large enough to amortise a transaction, small enough to stay within some 50 MB."""

WAIT_SECONDS_MAX = 1.0
"""Longest wait without a look at the ledger: the signal of another process may be lost."""

MOVED_CALLS_MAX = 1_000
"""Calls per transaction that get another serial number: some 20 ms, in which the projector waits."""

RETRY_SECONDS = 1.0
"""The wait after the disk or the store was unavailable."""

RemainingCalls = Callable[[Mapping[CallKey, Sequence[Record]]], Awaitable[Collection[CallKey]]]
"""Returns which of the calls with these legs must not be deleted."""

Facts = Mapping[str, PbxFacts]
"""Facts of PBXs by each of their serial numbers, folded (`fold_sn`)."""

FactsLookup = Callable[[], Awaitable[Facts]]
"""Returns the current facts of all registered PBXs."""


class LedgerMismatch(Unavailable):
    """The store was not made from this ledger as it is now. Nothing is lost until it is rebuilt."""


class _ParsedEvents(msgspec.Struct, frozen=True):
    """Parsed legs of raw events by call, and the entries that could not be parsed, in whole or in part."""

    reported_legs: dict[CallKey, list[ReportedLeg]]
    quarantined: list[QuarantineEntry]


class DeletionResult(msgspec.Struct, frozen=True):
    """Calls that the store has no longer, how many of them it had before, and the raw events that belong to no
    remaining call. `unregistered` are the counters of those among them whose sender is not registered.
    """

    calls: Sequence[CallKey]
    call_count: int
    seqs: Sequence[int]
    unregistered: Mapping[CounterKey, int]


class _ParsedRange(msgspec.Struct, frozen=True):
    """Parsed raw events after a number up to another, by the facts of that moment."""

    facts: Facts
    after_seq: int
    last_seq: int
    last_key: bytes
    parsed_events: _ParsedEvents


class Projector:
    """The only writer of the store. When it stalls and when it continues is logged, each once."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        store: Store,
        dialects: Dialects,
        get_facts: FactsLookup,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._dialects = dialects
        self._get_facts = get_facts
        self._lock = asyncio.Lock()
        self._read_ahead: asyncio.Task[_ParsedRange | None] | None = None
        self._is_ledger_checked = False
        self._stall_log = TransitionLog(
            logging.getLogger("projector"),
            begins="cannot write to the store: events wait in the ledger",
            ends="projection resumed",
        )

    async def run(self, on_position: Callable[[int], None]) -> None:
        """Follow the ledger until cancelled; call `on_position` with each new position.

        Retries while the store or the disk is unavailable; raises any other error: the service is started
        again, from the stored position.
        """
        try:
            while True:
                await self._follow(on_position)
        finally:
            await self._stop_reading_ahead()

    async def _follow(self, on_position: Callable[[int], None]) -> None:
        """Run one step; pause when nothing is new or the store is unavailable."""
        try:
            position = await self.step()
            self._stall_log.end()
            if position is None:
                await self._ledger.wait(await self._store.position(), WAIT_SECONDS_MAX)
        except Unavailable as error:
            self._stall_log.begin(error=str(error))
            await asyncio.sleep(RETRY_SECONDS)
            return
        if position is not None:
            on_position(position)

    async def catch_up(self, on_progress: Callable[[int], None] = lambda position: None) -> int:
        """Project all raw events that the ledger has now; return the store's position."""
        try:
            while (position := await self.step()) is not None:
                on_progress(position)
        finally:
            await self._stop_reading_ahead()
        return await self._store.position()

    async def step(self) -> int | None:
        """Read the next raw events and store their calls; return the last number, or None at the end.

        The next raw events are read while these are being stored.
        """
        async with self._lock:
            parsed_range = await self._take_range(await self._store.position())
            if parsed_range is None:
                return None
            if not self._is_ledger_checked:
                await check_ledger(self._ledger, self._store)
                self._is_ledger_checked = True
            self._read_ahead = asyncio.create_task(self._read_range(parsed_range.last_seq))
            await self._store_calls(
                parsed_range.parsed_events,
                parsed_range.facts,
                parsed_range.last_seq,
                (),
                position_key=parsed_range.last_key,
            )
            return parsed_range.last_seq

    async def retry(self, seqs: Sequence[int]) -> list[QuarantineEntry]:
        """Parse quarantined raw events again, as after an upgrade; return those that are still unreadable.

        Raises `NotFound` when the ledger has none of these numbers.
        """
        async with self._lock:
            raw_events = await self._ledger.get(seqs)
            if not raw_events:
                raise NotFound(
                    _("the ledger has no events with these numbers"),
                    hint=_("`onhook quarantine list` shows the numbers"),
                )
            facts = await self._get_facts()
            parsed_events = await asyncio.to_thread(self._parse, raw_events, facts)
            unparsed_seqs = {entry.seq for entry in parsed_events.quarantined}
            reparsed_seqs = [raw_event.seq for raw_event in raw_events if raw_event.seq not in unparsed_seqs]
            await self._store_calls(parsed_events, facts, await self._store.position(), reparsed_seqs)
            return parsed_events.quarantined

    async def find_seqs_without_records(self, entries: Sequence[QuarantineEntry]) -> list[int]:
        """Return the numbers of quarantined raw events of which no part is a stored call."""
        return [
            entry.seq
            for entry in entries
            if all(record.seq != entry.seq for record in await self._store.records_after(entry.seq - 1, 1))
        ]

    async def find_registered(self, seqs: Sequence[int]) -> list[int]:
        """Return those of these raw events, received from an unregistered sender, whose sender is registered now."""
        raw_events, facts = await self._ledger.get(seqs), await self._get_facts()
        return await asyncio.to_thread(lambda: [event.seq for event in raw_events if self._is_registered(event, facts)])

    async def finish_batch(self) -> None:
        """Return when no batch is being stored any more by facts that were read before this call."""
        async with self._lock:
            return

    async def move_calls(self, sn: str) -> int:
        """Move stored calls of a further serial number to the PBX that it belongs to; return how many there were, at
        most MOVED_CALLS_MAX.
        """
        async with self._lock:
            facts = await self._get_facts()
            pbx = facts.get(fold_sn(sn))
            if pbx is None or fold_sn(pbx.sn) == fold_sn(sn):
                return 0
            old_keys = await self._store.call_keys(sn, MOVED_CALLS_MAX)
            if old_keys:
                await self._move(old_keys, pbx.sn, facts)
            return len(old_keys)

    async def _move(self, old_keys: Sequence[CallKey], sn: str, facts: Facts) -> None:
        """Store these calls under another serial number, together with what is stored there already."""
        reported_legs: dict[CallKey, list[ReportedLeg]] = {(sn, call_id): [] for _sn, call_id in old_keys}
        stored_legs = await self._store.legs([*old_keys, *reported_legs])
        for leg in stored_legs:
            reported_legs[sn, leg.call_id].append(to_reported_leg(leg))
        calls = await asyncio.to_thread(_assemble_calls, _ParsedEvents(reported_legs, []), (), facts)
        position = await self._store.position()
        await self._store.put(
            StoreBatch(calls=calls, quarantined=(), reparsed_seqs=(), position=position, moved_keys=old_keys)
        )

    async def delete_calls(self, raw_events: Sequence[RawEvent], find_remaining: RemainingCalls) -> DeletionResult:
        """Delete from the store the calls of these raw events, except remaining ones, and their quarantine entries.

        The caller deletes the raw events afterwards. Raw events after the store's position are left alone.
        """
        async with self._lock:
            position = await self._store.position()
            raw_events = [raw_event for raw_event in raw_events if raw_event.seq <= position]
            parsed_events = await asyncio.to_thread(self._parse, raw_events, await self._get_facts())
            calls: dict[CallKey, list[Record]] = {}
            for leg in await self._store.legs(list(parsed_events.reported_legs)):
                calls.setdefault((leg.sn, leg.call_id), []).append(leg)
            remaining_keys = set(await find_remaining(calls))
            remaining_seqs = {
                reported_leg.seq for key in remaining_keys for reported_leg in parsed_events.reported_legs[key]
            }
            deleted_keys = [key for key in parsed_events.reported_legs if key not in remaining_keys]
            seqs = [raw_event.seq for raw_event in raw_events if raw_event.seq not in remaining_seqs]
            # All numbers: a raw event that is readable now may be in the quarantine from before an upgrade.
            await self._store.delete(deleted_keys, seqs)
            quarantined_seqs = {entry.seq for entry in parsed_events.quarantined}
            unregistered = self._count_unregistered(item for item in raw_events if item.seq in quarantined_seqs)
            return DeletionResult(deleted_keys, len(calls.keys() - remaining_keys), seqs, unregistered)

    def _count_unregistered(self, raw_events: Iterable[RawEvent]) -> Mapping[CounterKey, int]:
        """Return how many events the intake has counted under these keys: by both serial numbers."""
        return Counter(
            CounterKey(UNREGISTERED, self._dialects[raw_event.dialect].peek(raw_event.body).sn, raw_event.sn)
            for raw_event in raw_events
            if raw_event.via == UNREGISTERED and raw_event.dialect in self._dialects
        )

    async def _stop_reading_ahead(self) -> None:
        if self._read_ahead is not None:
            self._read_ahead.cancel()
            await asyncio.gather(self._read_ahead, return_exceptions=True)  # its error is that of the next read
            self._read_ahead = None

    async def _take_range(self, position: int) -> _ParsedRange | None:
        """Return the range that was read ahead if it begins here and the facts are the same; else read it now."""
        read_ahead, self._read_ahead = self._read_ahead, None
        if read_ahead is not None:
            await asyncio.wait([read_ahead])
            parsed_range = read_ahead.result()
            if (
                parsed_range is not None
                and parsed_range.after_seq == position
                and parsed_range.facts == await self._get_facts()
            ):
                return parsed_range
        return await self._read_range(position)

    async def _read_range(self, after_seq: int) -> _ParsedRange | None:
        raw_events = await self._ledger.read(after_seq, BATCH_RAW_EVENTS_MAX)
        if not raw_events:
            await check_ledger(self._ledger, self._store)
            return None
        facts = await self._get_facts()
        parsed_events = await asyncio.to_thread(self._parse, raw_events, facts)
        return _ParsedRange(facts, after_seq, raw_events[-1].seq, raw_events[-1].key, parsed_events)

    def _parse(self, raw_events: Iterable[RawEvent], facts: Facts) -> _ParsedEvents:
        parsed_events = _ParsedEvents({}, [])
        for raw_event in raw_events:
            try:
                sn, encoding = self._find_pbx(raw_event, facts)
                details = self._dialects[raw_event.dialect].parse(recode_body(raw_event.body, encoding))
            except Exception as error:  # noqa: BLE001 - whatever a body does to its reader, the next one is read
                parsed_events.quarantined.append(_to_quarantine_entry(raw_event, error))
                continue
            if isinstance(details, PartlyParsedCalls):
                parsed_events.quarantined.append(_create_quarantine_entry(raw_event, details.reason))
            received_at = to_datetime(raw_event.received_at)
            via = WEBHOOK if raw_event.via == UNREGISTERED else raw_event.via
            for leg_details in details:
                reported_leg = ReportedLeg(details=leg_details, seq=raw_event.seq, via=via, received_at=received_at)
                parsed_events.reported_legs.setdefault((sn, leg_details.call_id), []).append(reported_leg)
        return parsed_events

    def _is_registered(self, raw_event: RawEvent, facts: Facts) -> bool:
        try:
            self._find_pbx(raw_event, facts)
        except Exception:  # noqa: BLE001 - whatever a body does to its reader, its sender is unknown
            return False
        return True

    def _find_pbx(self, raw_event: RawEvent, facts: Facts) -> tuple[str, str]:
        """Return the serial number under which the calls of its sender are kept, and the encoding of its texts. Raises
        `ParseError` for a sender whose serial number is not one of the PBX whose secret it knows.
        """
        if raw_event.via == UNREGISTERED:
            sn = self._dialects[raw_event.dialect].peek(raw_event.body).sn
            _check_signer(raw_event, sn, facts)
        else:
            sn = raw_event.sn
        pbx = facts.get(fold_sn(sn))
        return (sn, "") if pbx is None else (pbx.sn or sn, pbx.encoding)

    async def _store_calls(
        self,
        parsed_events: _ParsedEvents,
        facts: Facts,
        position: int,
        reparsed_seqs: Sequence[int],
        *,
        position_key: bytes = b"",
    ) -> None:
        """Assemble the calls from their new and their stored legs, and store them."""
        stored_legs = await self._store.legs(list(parsed_events.reported_legs))
        calls = await asyncio.to_thread(_assemble_calls, parsed_events, stored_legs, facts)
        await self._store.put(
            StoreBatch(
                calls=calls,
                quarantined=parsed_events.quarantined,
                reparsed_seqs=reparsed_seqs,
                position=position,
                position_key=position_key,
            )
        )


async def check_ledger(ledger: Ledger, store: Store) -> None:
    """Check that the store was made from this ledger: it would skip the next raw events of another one. Raises
    `LedgerMismatch` if its position is past the ledger's end, or the raw event there is another one.
    """
    # In this order: the ledger only grows, so that the store is never found ahead of it by chance.
    position, position_key = await store.position(), await store.position_key()
    last_seq = await ledger.last_seq()
    hint = _("keep a copy of calls.duckdb if it has calls that the ledger lacks, then run `onhook rebuild`")
    if last_seq < position:
        raise LedgerMismatch(
            _(
                "the store ({position}) is ahead of the ledger ({last_seq}), as after an older ledger was restored",
                position=position,
                last_seq=last_seq,
            ),
            hint=hint,
        )
    # While calls are stored, the key may be that of the next position.
    is_settled = bool(position_key) and await store.position() == position
    if is_settled and any(raw_event.key != position_key for raw_event in await ledger.get([position])):
        raise LedgerMismatch(
            _(
                "the store was made from another ledger, or this one has lost events: event {position} differs, and the"
                " ledger ends at event {last_seq}",
                position=position,
                last_seq=last_seq,
            ),
            hint=hint,
        )


def _assemble_calls(parsed_events: _ParsedEvents, stored_legs: Sequence[Record], facts: Facts) -> list[Call]:
    for record in stored_legs:
        parsed_events.reported_legs[record.sn, record.call_id].append(to_reported_leg(record))
    return [
        assemble_call(sn, reported_legs, facts.get(fold_sn(sn)) or PbxFacts())
        for (sn, _call_id), reported_legs in parsed_events.reported_legs.items()
    ]


def _check_signer(raw_event: RawEvent, sn: str, facts: Facts) -> None:
    """Check that an event of this serial number, which was not registered when it arrived, is of the PBX that has the
    number now: a secret of that PBX signs it, and it was not removed before. Raises `ParseError`.
    """
    owner, signer = facts.get(fold_sn(sn)), facts.get(fold_sn(raw_event.sn))
    signer_name = raw_event.sn if signer is None or not signer.name else signer.name
    add_hint = _(
        "`onhook pbx change {pbx} --add-sn {sn}` if it is that PBX", pbx=shlex.quote(signer_name), sn=shlex.quote(sn)
    )
    if owner is None:
        raise ParseError(
            _(
                "the serial number {sn} is not registered, and a secret of {name} signs the event",
                sn=repr(sn),
                name=signer_name,
            ),
            hint=add_hint,
        )
    owner_name = owner.name or owner.sn
    signer_sns = {raw_event.sn, raw_event.sn if signer is None else signer.sn}
    if not any(map(owner.is_signed_by, signer_sns)):
        raise ParseError(
            _(
                "the serial number {sn} belongs to the PBX {owner}, and a secret of {name} signs the event",
                sn=repr(sn),
                owner=repr(owner_name),
                name=signer_name,
            ),
            hint=_("find out which of them sent it: a PBX signs with its own secret alone"),
        )
    if not owner.accepts(sn, raw_event.received_at):
        raise ParseError(
            _("the serial number {sn} was removed from the PBX {owner}", sn=repr(sn), owner=repr(owner_name)),
            hint=add_hint,
        )


def _to_quarantine_entry(raw_event: RawEvent, error: Exception) -> QuarantineEntry:
    if isinstance(error, OnhookError):
        reason = str(error)
    elif isinstance(error, KeyError) and error.args == (raw_event.dialect,):
        reason = _(
            "unknown dialect {dialect!r}: upgrade Onhook, or check how this event was imported",
            dialect=raw_event.dialect,
        )
    else:
        reason = _(
            "parsing failed ({kind}: {error}): keep this event and report the error",
            kind=type(error).__name__,
            error=error,
        )
    return _create_quarantine_entry(raw_event, reason)


def _create_quarantine_entry(raw_event: RawEvent, reason: str) -> QuarantineEntry:
    return QuarantineEntry(
        seq=raw_event.seq,
        sn=raw_event.sn,
        via=raw_event.via,
        received_at=to_datetime(raw_event.received_at),
        reason=reason,
    )
