"""What in a ledger has a number: the calls that are stored, their raw events, and events that could not be parsed.

All events are read, because a store knows of each leg the latest event alone. An event is parsed where its bytes can
have the number, or the id of a call that has it.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.cdr.erasure import NumberPattern, next_label
from onhook.cdr.identity import CallKey
from onhook.ledger.contract import CONTROL_DIALECT, Ledger, RawEvent
from onhook.ledger.control_entries import Erased, ErasedCall, ErasedRows
from onhook.pbx.dialect import Dialects, LegDialect
from onhook.pbx.envelopes import is_compressed
from onhook.pbx.joined_legs import DIALECT as JOINED_DIALECT
from onhook.pbx.joined_legs import decode_joined
from onhook.projector.erasures import Erasures
from onhook.projector.event_parsing import Facts, read_event, with_own_dialects
from onhook.store.contract import Store

EVENTS_AT_ONCE = 5_000
"""Read and parsed in one go, in a thread: some tenths of a second."""

QUARANTINE_PAGE = 1_000

IDS_SEARCHED_MAX = 50
"""Ids of calls that are looked for in a body one after the other; with more of them each body is parsed, which takes as
long.
"""

KEYS_AT_ONCE = 500

ENTRY_BYTES = 256 * 1024
"""Of the calls of one control entry: those of one batch of the store."""

_ESCAPES = re.compile(rb"\\u(?:00(?:2[0-9a-f]|3[0-9]|a0)|20|30)|%(?:2[0-9a-f]|3[0-9]|c2|e2)", re.IGNORECASE)
"""Escapes of digits, and of what stands between those of a number: a body with one of them is parsed."""


class ErasurePlan(msgspec.Struct, frozen=True, kw_only=True):
    """Calls to erase a number from, and raw events to empty, among the entries up to `last_seq`. `recordings` are the
    names of the recordings of these calls with the serial numbers of their PBXs.
    """

    last_seq: int
    calls: tuple[ErasedCall, ...] = ()
    seqs: tuple[int, ...] = ()
    recordings: frozenset[tuple[str, str]] = frozenset()

    @property
    def event_count(self) -> int:
        """The number of raw events that are rewritten."""
        return len({*self.seqs, *(seq for call in self.calls for seq in call.seqs)})


class ErasurePlanner:
    """Reads a ledger by the facts of now, without what was erased before."""

    def __init__(
        self, *, ledger: Ledger, store: Store, dialects: Dialects, facts: Facts, erasures: Erasures, last_seq: int
    ) -> None:
        """`last_seq` is the position of the store."""
        self._ledger = ledger
        self._store = store
        self._dialects = with_own_dialects(dialects)
        self._leg_dialects = {name: dialect for name, dialect in dialects.items() if isinstance(dialect, LegDialect)}
        self._facts = facts
        self._erasures = erasures
        self._last_seq = last_seq

    async def plan(self, pattern: NumberPattern) -> ErasurePlan:
        """Find the calls of a number. Raises `Unavailable`."""
        quarantined = await self._quarantined_seqs()
        keys: dict[CallKey, set[int]] = {}
        seqs: set[int] = set()
        async for raw_events in self._pages():
            found_keys, found_seqs = await asyncio.to_thread(self._search, raw_events, pattern, quarantined)
            for key, joined_seqs in found_keys.items():
                keys.setdefault(key, set()).update(joined_seqs)
            seqs |= found_seqs
        stored_keys = await self._find_stored(keys)
        # A call that is stored under another id since its other legs have come.
        seqs.update(seq for key in keys.keys() - stored_keys for seq in keys[key])
        events: dict[CallKey, list[tuple[int, CallDetails]]] = {key: [] for key in sorted(stored_keys)}
        if events:
            async for raw_events in self._pages():
                found_legs = await asyncio.to_thread(self._collect, raw_events, events.keys())
                for seq, key, details in found_legs:
                    if seq in quarantined:
                        seqs.add(seq)
                    else:
                        events[key].append((seq, details))
        calls = tuple(_to_erased_call(key, found_events, pattern) for key, found_events in events.items())
        recordings = {
            (key[0], details.recording)
            for key, found_events in events.items()
            for _seq, details in found_events
            if details.recording
        }
        return ErasurePlan(
            last_seq=self._last_seq, calls=calls, seqs=tuple(sorted(seqs)), recordings=frozenset(recordings)
        )

    async def _quarantined_seqs(self) -> set[int]:
        """Return the numbers of events of which no part is a stored call."""
        seqs: set[int] = set()
        after_seq = 0
        while entries := await self._store.quarantine(QUARANTINE_PAGE, after_seq):
            after_seq = entries[-1].seq
            seqs.update(entry.seq for entry in entries)
        return set(await find_seqs_without_records(self._store, sorted(seqs)))

    async def _find_stored(self, keys: Collection[CallKey]) -> set[CallKey]:
        ordered, stored = sorted(keys), set[CallKey]()
        for start in range(0, len(ordered), KEYS_AT_ONCE):
            legs = await self._store.legs(ordered[start : start + KEYS_AT_ONCE])
            stored.update((leg.sn, leg.call_id) for leg in legs)
        return stored

    async def _pages(self) -> AsyncIterator[list[RawEvent]]:
        after_seq = 0
        while after_seq < self._last_seq and (raw_events := await self._ledger.read(after_seq, EVENTS_AT_ONCE)):
            after_seq = raw_events[-1].seq
            yield [
                raw_event
                for raw_event in raw_events
                if raw_event.seq <= self._last_seq and raw_event.dialect != CONTROL_DIALECT
            ]

    def _search(
        self, raw_events: Iterable[RawEvent], pattern: NumberPattern, quarantined: Collection[int]
    ) -> tuple[dict[CallKey, set[int]], set[int]]:
        """Return the calls that have the number with the joined events of theirs; and the events to empty: those that
        have it and are in the quarantine, and legs, of which the joined events have what stays.
        """
        keys: dict[CallKey, set[int]] = {}
        seqs: set[int] = set()
        for raw_event in raw_events:
            body = raw_event.body
            has_number = pattern.may_occur_in(body) and pattern.occurs_in(body.decode(errors="replace"))
            leg_dialect = self._leg_dialects.get(raw_event.dialect)
            if leg_dialect is not None:
                seqs.update([raw_event.seq] if has_number or _is_in_leg(leg_dialect, body, pattern) else [])
                continue
            is_joined = raw_event.dialect == JOINED_DIALECT
            if not has_number and not is_joined and not _may_be_escaped(raw_event.body):
                continue
            legs = self._read(raw_event)
            matching = {key for key, details in legs if pattern.is_in_call(details)}
            if is_joined and (matching or has_number):
                matching = {key for key, _details in legs}
                joined = decode_joined(body)
                seqs.update(joined.seqs, joined.replaced_seqs)
            if raw_event.seq in quarantined:
                seqs.update([raw_event.seq] if matching or has_number else [])
            else:
                for key in matching:
                    keys.setdefault(key, set()).update([raw_event.seq] if is_joined else [])
        return keys, seqs

    def _collect(
        self, raw_events: Iterable[RawEvent], keys: Collection[CallKey]
    ) -> list[tuple[int, CallKey, CallDetails]]:
        """Return the legs of these calls with the numbers of their events."""
        ids = [call_id.encode() for _sn, call_id in keys] if len(keys) <= IDS_SEARCHED_MAX else None
        return [
            (raw_event.seq, key, details)
            for raw_event in raw_events
            if ids is None
            or raw_event.dialect == JOINED_DIALECT
            or any(call_id in raw_event.body for call_id in ids)
            or _may_be_escaped(raw_event.body)
            for key, details in self._read(raw_event)
            if key in keys
        ]

    def _read(self, raw_event: RawEvent) -> list[tuple[CallKey, CallDetails]]:
        try:
            sn, details = read_event(raw_event, self._dialects, self._facts, trusts_sender=True)
        except Exception:  # noqa: BLE001 - it is in the quarantine, whatever its body does to its reader
            return []
        legs = self._erasures.apply(raw_event, sn, details, self._facts).details
        return [((sn, leg.call_id), leg) for leg in legs]


PlanErasure = Callable[[ErasurePlanner], Awaitable[Sequence[Erased]]]
"""Returns the control entries of an erasure; none where there is nothing to erase."""


async def find_seqs_without_records(store: Store, seqs: Iterable[int]) -> list[int]:
    """Return those of these raw events of which no part is a stored call."""
    return [seq for seq in seqs if all(record.seq != seq for record in await store.records_after(seq - 1, 1))]


def to_entries(plan: ErasurePlan, erasure_id: str, rows: ErasedRows = ErasedRows()) -> list[Erased]:  # noqa: B008 - frozen
    """Return the control entries of a plan, each of a size that a ledger takes; `rows` are in the first one."""
    parts: list[list[ErasedCall]] = [[]]
    part_bytes = 0
    for call in plan.calls:
        call_bytes = len(msgspec.json.encode(call))
        if parts[-1] and part_bytes + call_bytes > ENTRY_BYTES:
            parts.append([])
            part_bytes = 0
        parts[-1].append(call)
        part_bytes += call_bytes
    return [
        Erased(
            erasure_id=f"{erasure_id}.{number}",
            last_seq=plan.last_seq,
            calls=tuple(calls),
            seqs=() if number else plan.seqs,
            rows=ErasedRows() if number else rows,
        )
        for number, calls in enumerate(parts)
    ]


def _is_in_leg(dialect: LegDialect, body: bytes, pattern: NumberPattern) -> bool:
    """Return whether the document about a leg has a number, in whichever encoding."""
    try:
        return any(map(pattern.is_in_call, dialect.parse_legs([body])))
    except Exception:  # noqa: BLE001 - it is in the quarantine, whatever its body does to its reader
        return False


def _may_be_escaped(body: bytes) -> bool:
    return is_compressed(body) or _ESCAPES.search(body) is not None


def _to_erased_call(key: CallKey, events: Sequence[tuple[int, CallDetails]], pattern: NumberPattern) -> ErasedCall:
    legs = [details for _seq, details in events]
    return ErasedCall(
        sn=key[0],
        call_id=key[1],
        seqs=tuple(sorted({seq for seq, _details in events})),
        label=next_label(legs),
        digits_min=pattern.digits_min,
        kept_texts=tuple(sorted(pattern.find_kept(legs))),
    )
