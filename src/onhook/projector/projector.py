"""The projector: the only writer of the store.

Invariants: the store's position moves in the same transaction as the calls that it covers, so a projector that is
killed resumes where it was. Parsing again gives the same calls. An unreadable raw event goes to the quarantine and does
not delay the following ones; one of which a part is readable is there too, beside its calls. What else changes calls is
a control entry of the ledger, and applied in its turn, so that each store made from one ledger has the same calls.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import msgspec

from onhook.cdr.erasure import NumberPattern
from onhook.cdr.identity import CallKey
from onhook.cdr.record import Record
from onhook.ledger.contract import CONTROL_DIALECT, CounterKey, Ledger, RawEvent, RewrittenContent
from onhook.ledger.control_entries import (
    ControlEntry,
    Erased,
    FactsChanged,
    FactsHistory,
    Forgotten,
    ForgottenCall,
    ReRead,
    decode_control,
    encode_control,
    read_control_entries,
)
from onhook.lib.clock import Clock
from onhook.lib.errors import NotFound, Unavailable
from onhook.lib.messages import _
from onhook.lib.task_reconciler import raise_if_cancelled
from onhook.lib.transition_log import TransitionLog
from onhook.pbx.dialect import Dialects
from onhook.projector.erasure_plan import ErasurePlan, ErasurePlanner, PlanErasure, find_seqs_without_records
from onhook.projector.erasures import Erasures
from onhook.projector.event_parsing import (
    Facts,
    ParsedEvents,
    assemble_calls_and_visits,
    count_unregistered,
    is_registered,
    parse_events,
    with_own_dialects,
)
from onhook.projector.event_rewriting import read_between
from onhook.projector.ledger_check import check_ledger
from onhook.projector.moved_calls import move_calls, rename_calls
from onhook.projector.replaced_calls import ReplacedCalls
from onhook.store.contract import QuarantineEntry, Store, StoreBatch

BATCH_RAW_EVENTS_MAX = 10_000
"""Large enough to amortise a transaction, small enough to stay within some 50 MB."""

WAIT_SECONDS_MAX = 30.0
"""Longest wait without a query of the ledger. Where the signal of another process is lost, the ledger notices it."""

RETRY_SECONDS = 1.0
"""The wait after the disk or the store was unavailable."""

CONTROL_TRIES_MAX = 20
"""Tries to append a control entry that others come before; each takes milliseconds."""

RemainingCalls = Callable[[Mapping[CallKey, Sequence[Record]]], Awaitable[Collection[CallKey]]]
"""Returns which of the calls with these legs must not be deleted."""


class ForgetResult(msgspec.Struct, frozen=True):
    """The number of the control entry that was appended, what it has deleted, and how many calls are gone that were
    stored before.
    """

    seq: int
    entry: Forgotten
    call_count: int


class _Range(msgspec.Struct, frozen=True):
    """The entries after a number up to another: parsed events, or one control entry."""

    after_seq: int
    last_seq: int
    last_key: bytes
    parsed_events: ParsedEvents
    control: ControlEntry | None = None


class Projector:
    """Follows a ledger into a store. When it stalls and when it continues is logged, each once. `on_erased` is called
    when a number was erased from the store: what was made of it before has the number.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        store: Store,
        dialects: Dialects,
        clock: Clock,
        on_erased: Callable[[], None] = lambda: None,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._dialects = with_own_dialects(dialects)
        self._replaced_calls = ReplacedCalls(ledger=ledger, store=store, dialects=self._dialects)
        self._erasures = Erasures()
        self._clock = clock
        self._on_erased = on_erased
        self._history: FactsHistory | None = None
        self._lock = asyncio.Lock()
        self._read_ahead: asyncio.Task[_Range | None] | None = None
        self._is_ledger_checked = False
        self._is_outdated = asyncio.Event()
        self._on_position: Callable[[int], None] = lambda _position: None
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
        self._on_position = on_position
        try:
            while True:
                await self._follow()
        finally:
            await self._stop_reading_ahead()

    async def _follow(self) -> None:
        """Run one step; wait where nothing is new or the store is unavailable."""
        try:
            position = await self.step()
            self._stall_log.end()
            if position is None:
                await self._ledger.wait(await self._store.position(), WAIT_SECONDS_MAX)
        except Unavailable as error:
            self._stall_log.begin(error=str(error))
            raise_if_cancelled()
            await asyncio.sleep(RETRY_SECONDS)

    async def catch_up(self, on_progress: Callable[[int], None] = lambda position: None) -> int:
        """Project all that the ledger has now; return the store's position."""
        try:
            while (position := await self.step()) is not None:
                on_progress(position)
        finally:
            await self._stop_reading_ahead()
        return await self._store.position()

    async def catch_up_to(self, seq: int) -> None:
        """Return when the store's position is this number at least. Raises `Unavailable` where the ledger ends before
        it.
        """
        while await self._store.position() < seq:
            if await self.step() is None and await self._store.position() < seq:
                raise Unavailable(_("the ledger has no entry {seq}", seq=seq), hint=_("`onhook doctor` checks it"))

    async def wait_until_outdated(self) -> None:
        """Return when the store is past an order to read all events again that it was not made by: a store that begins
        anew would have other calls.
        """
        await self._is_outdated.wait()

    async def step(self) -> int | None:
        """Read the next raw events and store their calls; return the last number, or None at the end.

        The next raw events are read while these are being stored.
        """
        async with self._lock:
            history = await self._get_history()
            entries = await self._take_range(await self._store.position(), history.facts)
            if entries is None:
                return None
            if not self._is_ledger_checked:
                await check_ledger(self._ledger, self._store)
                self._is_ledger_checked = True
            if entries.control is not None:
                await self._apply(entries, entries.control, history)
            else:
                self._read_ahead = asyncio.create_task(self._read_range(entries.last_seq, history.facts))
                await self._store_calls(entries.parsed_events, history.facts, entries)
        self._on_position(entries.last_seq)
        return entries.last_seq

    async def retry(self, seqs: Sequence[int]) -> list[QuarantineEntry]:
        """Have every store parse quarantined raw events again, as after an upgrade; return those that are still
        unreadable. Raises `NotFound` when the ledger has none of these numbers.
        """
        known_seqs = [event.seq for event in await self._ledger.get(seqs) if event.dialect != CONTROL_DIALECT]
        if not known_seqs:
            raise NotFound(
                _("the ledger has no events with these numbers"),
                hint=_("`onhook quarantine list` shows the numbers"),
            )
        await self.catch_up_to(await self.append(ReRead(seqs=tuple(known_seqs))))
        pages = [await self._store.quarantine(1, seq - 1) for seq in known_seqs]
        return [entry for seq, page in zip(known_seqs, pages, strict=True) for entry in page if entry.seq == seq]

    async def find_seqs_without_records(self, entries: Sequence[QuarantineEntry]) -> list[int]:
        """Return the numbers of quarantined raw events of which no part is a stored call."""
        return await find_seqs_without_records(self._store, [entry.seq for entry in entries])

    async def find_registered(self, seqs: Sequence[int]) -> list[int]:
        """Return those of these raw events, received from an unregistered sender, whose sender is registered now."""
        async with self._lock:
            facts = (await self._get_history()).facts
        raw_events = await self._ledger.get(seqs)
        return await asyncio.to_thread(
            lambda: [event.seq for event in raw_events if is_registered(event, self._dialects, facts)]
        )

    async def forget(self, raw_events: Sequence[RawEvent], find_remaining: RemainingCalls) -> ForgetResult | None:
        """Have every store delete the calls of these raw events, except remaining ones, and their quarantine entries;
        None where there is nothing to delete. The caller deletes the raw events afterwards. Raw events after the
        store's position are left alone.
        """
        for _try in range(CONTROL_TRIES_MAX):
            last_control_seq = await self._ledger.last_control_seq()
            await self.catch_up_to(last_control_seq)
            plan, stored_keys = await self._plan(raw_events, find_remaining)
            if not plan.seqs:
                return None
            seq = await self._append_after(plan, last_control_seq)
            if seq:
                await self.catch_up_to(seq)
                settled = await self.settle(seq, plan)
                return ForgetResult(
                    seq, settled, len(stored_keys & {(call.sn, call.call_id) for call in settled.calls})
                )
        raise _too_many_changes()

    async def settle(self, seq: int, entry: Forgotten) -> Forgotten:
        """Return what was deleted of the entry with this number, which was applied: a call that got a newer event in
        time has stayed, with its events. The ledger's entry says the same from now on, because the newer event may be
        deleted before another store is made.
        """
        async with self._lock:
            facts = (await self._get_history()).facts
        settled = await self._without_stayed(seq, entry, facts)
        if settled != entry:
            await self._ledger.rewrite({seq: RewrittenContent(CONTROL_DIALECT, encode_control(settled))})
        return settled

    async def _without_stayed(self, seq: int, entry: Forgotten, facts: Facts) -> Forgotten:
        newer_events = await read_between(self._ledger, entry.last_seq, seq)
        newer = await self._parse(newer_events, facts, trusts_senders=True)
        # Its serial number may be joined to another one by then.
        stayed_ids = {call_id for _sn, call_id in newer.reported_legs}
        stayed_seqs = {seq for call in entry.calls if call.call_id in stayed_ids for seq in call.seqs}
        return msgspec.structs.replace(
            entry,
            calls=tuple(call for call in entry.calls if call.call_id not in stayed_ids),
            seqs=tuple(seq for seq in entry.seqs if seq not in stayed_seqs),
        )

    async def _parse(
        self, raw_events: Sequence[RawEvent], facts: Facts, *, trusts_senders: bool = False
    ) -> ParsedEvents:
        """Parse events; `trusts_senders` finds out which calls they belong to, whichever were registered when."""
        return await asyncio.to_thread(
            parse_events, raw_events, self._dialects, facts, erasures=self._erasures, trusts_senders=trusts_senders
        )

    async def erase(self, plan_entry: PlanErasure) -> Sequence[tuple[int, Erased]]:
        """Have every store erase what is planned for all that the ledger has, anew where another control entry came
        first; return the entries with their numbers. Raises `Unavailable`.
        """
        for _try in range(CONTROL_TRIES_MAX):
            last_control_seq = await self._ledger.last_control_seq()
            await self.catch_up_to(await self._ledger.last_seq())
            erased_entries = await plan_entry(await self._create_planner())
            bodies = [encode_control(erased) for erased in erased_entries]
            if not bodies:
                return []
            last_seq = await self._ledger.append_control(
                bodies, last_control_seq=last_control_seq, now_us=self._clock.microseconds()
            )
            if last_seq:
                await self.catch_up_to(last_seq)
                return list(zip(range(last_seq - len(bodies) + 1, last_seq + 1), erased_entries, strict=True))
        raise _too_many_changes()

    async def plan_erasure(self, pattern: NumberPattern) -> ErasurePlan:
        """Return what has a number in the entries up to the store's position."""
        return await (await self._create_planner()).plan(pattern)

    async def _create_planner(self) -> ErasurePlanner:
        async with self._lock:
            facts, last_seq = (await self._get_history()).facts, await self._store.position()
        return ErasurePlanner(
            ledger=self._ledger,
            store=self._store,
            dialects=self._dialects,
            facts=facts,
            erasures=self._erasures,
            last_seq=last_seq,
        )

    async def count_unregistered(self, raw_events: Sequence[RawEvent]) -> Mapping[CounterKey, int]:
        """Return how many of these events the intake has counted as those of unregistered senders, who still are."""
        async with self._lock:
            facts = (await self._get_history()).facts
        return await asyncio.to_thread(
            lambda: count_unregistered(
                (event for event in raw_events if not is_registered(event, self._dialects, facts)), self._dialects
            )
        )

    async def _plan(
        self, raw_events: Sequence[RawEvent], find_remaining: RemainingCalls
    ) -> tuple[Forgotten, set[CallKey]]:
        """Return what to delete, and which of its calls are stored now."""
        async with self._lock:
            facts, position = (await self._get_history()).facts, await self._store.position()
            raw_events = [event for event in raw_events if event.seq <= position and event.dialect != CONTROL_DIALECT]
            parsed_events = await self._parse(raw_events, facts, trusts_senders=True)
            legs: dict[CallKey, list[Record]] = {}
            for leg in await self._store.legs(list(parsed_events.reported_legs)):
                legs.setdefault((leg.sn, leg.call_id), []).append(leg)
        remaining_keys = set(await find_remaining(legs))
        seqs_of = {
            key: {reported_leg.seq for reported_leg in reported_legs} | parsed_events.source_seqs.get(key, set())
            for key, reported_legs in parsed_events.reported_legs.items()
        }
        remaining_seqs = {seq for key in remaining_keys for seq in seqs_of[key]}
        plan = Forgotten(
            last_seq=position,
            calls=tuple(
                ForgottenCall(sn, call_id, tuple(sorted(seqs - remaining_seqs)))
                for (sn, call_id), seqs in seqs_of.items()
                if (sn, call_id) not in remaining_keys
            ),
            # All numbers: a raw event that is readable now may be in the quarantine from before an upgrade.
            seqs=tuple(event.seq for event in raw_events if event.seq not in remaining_seqs),
        )
        return plan, set(legs)

    async def append(self, entry: ControlEntry) -> int:
        """Append a control entry, whatever others come before it; return its number."""
        for _try in range(CONTROL_TRIES_MAX):
            if seq := await self._append_after(entry, await self._ledger.last_control_seq()):
                return seq
        raise _too_many_changes()

    async def _append_after(self, entry: ControlEntry, last_control_seq: int) -> int:
        return await self._ledger.append_control(
            [encode_control(entry)], last_control_seq=last_control_seq, now_us=self._clock.microseconds()
        )

    # Control entries

    async def _get_history(self) -> FactsHistory:
        """Return the facts as of the store's position."""
        if self._history is None:
            position = await self._store.position()
            entries = [(raw_event.seq, entry) async for raw_event, entry in read_control_entries(self._ledger)]
            re_read_seqs = [seq for seq, entry in entries if isinstance(entry, ReRead) and not entry.seqs]
            # A store that begins anew is made by the last one.
            re_read_seq = await self._store.re_read_seq() if position else max(re_read_seqs, default=0)
            if any(re_read_seq < seq <= position for seq in re_read_seqs):
                self._is_outdated.set()
            self._history = FactsHistory(re_read_seq)
            self._history.load([(seq, entry) for seq, entry in entries if isinstance(entry, FactsChanged)], position)
            for seq, entry in entries:
                # Before their turn: a store that begins anew never has what is erased later.
                if isinstance(entry, Erased):
                    self._erasures.add(seq, entry)
        return self._history

    async def _apply(self, entries: _Range, control: ControlEntry, history: FactsHistory) -> None:
        """Apply a control entry, and move the store's position past it."""
        if isinstance(control, FactsChanged):
            history.advance(entries.last_seq, control)
            for sn in control.sns:
                await move_calls(self._store, sn, history.facts)
            await rename_calls(self._store, control.sn, history.facts)
            await self._store_calls(ParsedEvents({}, []), history.facts, entries)
        elif isinstance(control, ReRead):
            await self._read_again(control.seqs, history.facts, entries)
            if not control.seqs and entries.last_seq > history.re_read_seq:
                self._is_outdated.set()
        elif isinstance(control, Erased):
            await self._erase(control, history.facts, entries)
        else:
            await self._forget(control, history.facts, entries)

    async def _read_again(self, seqs: Sequence[int], facts: Facts, entries: _Range) -> None:
        raw_events = await self._ledger.get(seqs)
        parsed_events = await self._parse(raw_events, facts)
        unparsed_seqs = {entry.seq for entry in parsed_events.quarantined}
        reparsed_seqs = [raw_event.seq for raw_event in raw_events if raw_event.seq not in unparsed_seqs]
        await self._store_calls(parsed_events, facts, entries, reparsed_seqs)

    async def _erase(self, control: Erased, facts: Facts, entries: _Range) -> None:
        """Read the events of the calls of an entry again, without what it erases, also those that came before it and
        after its plan. A call that was deleted meanwhile does not come back.
        """
        self._erasures.add(entries.last_seq, control)
        listed_legs = {(seq, call.call_id) for call in control.calls for seq in call.seqs}
        listed_seqs = sorted({seq for seq, _call_id in listed_legs})
        parsed_events = await self._parse(await self._ledger.get(listed_seqs), facts, trusts_senders=True)
        reported_legs = {
            key: own_legs
            for key, legs in parsed_events.reported_legs.items()
            if (own_legs := [leg for leg in legs if (leg.seq, key[1]) in listed_legs])
        }
        newer = await self._parse(await read_between(self._ledger, control.last_seq, entries.last_seq), facts)
        for key, legs in reported_legs.items():
            legs[:] = newer.without_replaced(key, legs)
        for key in reported_legs.keys() & newer.reported_legs.keys():
            reported_legs[key] += [leg for leg in newer.reported_legs[key] if (leg.seq, key[1]) not in listed_legs]
        stored_keys = {(leg.sn, leg.call_id) for leg in await self._store.legs(list(reported_legs))}
        stored = ParsedEvents({key: legs for key, legs in reported_legs.items() if legs and key in stored_keys}, [])
        calls, visits = await asyncio.to_thread(assemble_calls_and_visits, stored, (), facts)
        newer_seqs = {leg.seq for legs in reported_legs.values() for leg in legs}
        batch = self._batch(entries, reparsed_seqs=sorted({*control.seqs, *listed_seqs, *newer_seqs}))
        await self._store.put(msgspec.structs.replace(batch, calls=calls, call_visits=visits))
        self._on_erased()

    async def _forget(self, control: Forgotten, facts: Facts, entries: _Range) -> None:
        """Delete the calls of an entry, but those that have a newer event than it knew."""
        settled = await self._without_stayed(entries.last_seq, control, facts)
        await self._store.put(
            self._batch(
                entries,
                reparsed_seqs=settled.seqs,
                removed_keys=[(call.sn, call.call_id) for call in settled.calls],
            )
        )

    # Events

    async def _stop_reading_ahead(self) -> None:
        if self._read_ahead is not None:
            self._read_ahead.cancel()
            await asyncio.gather(self._read_ahead, return_exceptions=True)  # its error is that of the next read
            self._read_ahead = None

    async def _take_range(self, position: int, facts: Facts) -> _Range | None:
        """Return the range that was read ahead if it begins here; else read it now."""
        read_ahead, self._read_ahead = self._read_ahead, None
        if read_ahead is not None:
            await asyncio.wait([read_ahead])
            entries = read_ahead.result()
            if entries is not None and entries.after_seq == position:
                return entries
        return await self._read_range(position, facts)

    async def _read_range(self, after_seq: int, facts: Facts) -> _Range | None:
        """Read up to the next control entry, or that alone."""
        raw_events = await self._ledger.read(after_seq, BATCH_RAW_EVENTS_MAX)
        if not raw_events:
            await check_ledger(self._ledger, self._store)
            return None
        first = raw_events[0]
        if first.dialect == CONTROL_DIALECT:
            return _Range(after_seq, first.seq, first.key, ParsedEvents({}, []), decode_control(first))
        controls = (index for index, event in enumerate(raw_events) if event.dialect == CONTROL_DIALECT)
        raw_events = raw_events[: next(controls, None)]
        parsed_events = await self._parse(raw_events, facts)
        return _Range(after_seq, raw_events[-1].seq, raw_events[-1].key, parsed_events)

    async def _store_calls(
        self, parsed_events: ParsedEvents, facts: Facts, entries: _Range, reparsed_seqs: Sequence[int] = ()
    ) -> None:
        """Assemble the calls from their new and their stored legs, and store them."""
        stored_legs, removed_keys = await self._replaced_calls.load_stored(parsed_events, facts)
        calls, visits = await asyncio.to_thread(assemble_calls_and_visits, parsed_events, stored_legs, facts)
        batch = self._batch(entries, reparsed_seqs=reparsed_seqs, removed_keys=removed_keys)
        await self._store.put(
            msgspec.structs.replace(batch, calls=calls, call_visits=visits, quarantined=parsed_events.quarantined)
        )

    def _batch(
        self, entries: _Range, *, reparsed_seqs: Sequence[int] = (), removed_keys: Sequence[CallKey] = ()
    ) -> StoreBatch:
        """Return a batch that moves the position to the end of a range."""
        assert self._history is not None, "it is loaded before a range is read"
        return StoreBatch(
            calls=(),
            quarantined=(),
            reparsed_seqs=reparsed_seqs,
            position=entries.last_seq,
            position_key=entries.last_key,
            re_read_seq=self._history.re_read_seq,
            removed_keys=removed_keys,
        )


def _too_many_changes() -> Unavailable:
    return Unavailable(
        _("the ledger is being changed by others all the time"), hint=_("try again when fewer settings are changed")
    )
