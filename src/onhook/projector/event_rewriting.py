"""Rewriting of the raw events from which a number is erased, so that a rebuild makes the same calls of them.

Invariants: an event is read by the facts of the moment at which the projector reads it: those of its entry where an
entry lists it, else those of its own number. What was rewritten is not rewritten again, so that an interrupted run goes
on.
"""

import asyncio
from collections.abc import Iterator, Sequence

from onhook.ledger.contract import CONTROL_DIALECT, Ledger, RawEvent, RewrittenContent
from onhook.ledger.control_entries import (
    Erased,
    FactsChanged,
    FactsHistory,
    encode_control,
    read_control_entries,
)
from onhook.pbx.dialect import Dialects, LegDialect
from onhook.pbx.erased import DIALECT, format_erased
from onhook.projector.erasures import Erasures, reduce_entry
from onhook.projector.event_parsing import Facts, read_event, with_own_dialects
from onhook.store.contract import Store

EVENTS_AT_ONCE = 5_000
"""Read and parsed in one go, in a thread: some tenths of a second."""


class EventRewriter:
    """Rewrites events of one ledger. `load` comes first, and again where there may be new control entries."""

    def __init__(self, ledger: Ledger, store: Store, dialects: Dialects) -> None:
        self._ledger = ledger
        self._store = store
        self._dialects = with_own_dialects(dialects)
        # Of the others, such as deletions of calls, nothing is kept: there are more of them each day.
        self._controls: list[tuple[int, Erased | FactsChanged]] = []
        self._loaded_to = 0
        self._times: dict[int, int] = {}
        self._erasures = Erasures()
        self._re_read_seq = 0

    @property
    def entries(self) -> dict[int, Erased]:
        """Return the erasures of the ledger by their numbers, in order."""
        return {seq: entry for seq, entry in self._controls if isinstance(entry, Erased)}

    def entered_at(self, seq: int) -> int:
        """Return when the erasure with this number was entered (microseconds since 1970, UTC)."""
        return self._times[seq]

    async def load(self) -> None:
        """Read the control entries that are new."""
        self._re_read_seq = await self._store.re_read_seq()
        async for raw_event, entry in read_control_entries(self._ledger, self._loaded_to):
            self._loaded_to = raw_event.seq
            if isinstance(entry, Erased | FactsChanged):
                self._controls.append((raw_event.seq, entry))
            if isinstance(entry, Erased):
                self._times[raw_event.seq] = raw_event.received_at
                self._erasures.add(raw_event.seq, entry)

    async def rewrite_listed(self, seq: int, entry: Erased) -> int:
        """Rewrite the events that the entry with this number lists; return how many. Raises `Unavailable`."""
        facts = self._facts_at(seq)
        seqs = sorted({*entry.seqs, *(event_seq for call in entry.calls for event_seq in call.seqs)})
        count = 0
        for start in range(0, len(seqs), EVENTS_AT_ONCE):
            raw_events = await self._ledger.get(seqs[start : start + EVENTS_AT_ONCE])
            count += await self._rewrite(raw_events, facts, is_listed=True)
        return count + await self._rewrite_between(entry.last_seq, seq, facts)

    async def _rewrite_between(self, after_seq: int, end_seq: int, facts: Facts) -> int:
        """Rewrite the events that came after the plan of an entry and before it, which reads them again too."""
        between = await read_between(self._ledger, after_seq, end_seq)
        return await self._rewrite(between, facts, is_listed=False)

    async def rewrite_later(self, end_seq: int) -> int:
        """Rewrite events of calls with an erasure that arrived after it, up to a number; return how many. The caller
        notes the number as the ledger's `erasure_position` once the files are clean.
        """
        after_seq, count = await self._ledger.erasure_position(), 0
        if not self._erasures:
            return 0
        after_seq = max(after_seq, min(entry.last_seq for entry in self.entries.values()))
        while after_seq < end_seq and (raw_events := await self._ledger.read(after_seq, EVENTS_AT_ONCE)):
            after_seq = raw_events[-1].seq
            for part in _split_at_controls([raw_event for raw_event in raw_events if raw_event.seq <= end_seq]):
                count += await self._rewrite(part, self._facts_at(part[0].seq), is_listed=False)
        return count

    async def reduce_entries(self, seq: int) -> None:
        """Remove from earlier entries what the one with this number erases."""
        entries = self.entries
        changed = {
            earlier_seq: reduced
            for earlier_seq, earlier in entries.items()
            if earlier_seq < seq and (reduced := reduce_entry(earlier, [entries[seq]])) != earlier
        }
        await self._ledger.rewrite(
            {
                earlier_seq: RewrittenContent(CONTROL_DIALECT, encode_control(reduced))
                for earlier_seq, reduced in changed.items()
            }
        )
        if changed:
            self._controls = [(number, changed.get(number, entry)) for number, entry in self._controls]
            self._erasures = Erasures()
            for number, erased in self.entries.items():
                self._erasures.add(number, erased)

    def _facts_at(self, seq: int) -> Facts:
        history = FactsHistory(self._re_read_seq)
        history.load([(number, entry) for number, entry in self._controls if isinstance(entry, FactsChanged)], seq)
        return history.facts

    async def _rewrite(self, raw_events: Sequence[RawEvent], facts: Facts, *, is_listed: bool) -> int:
        contents = await asyncio.to_thread(self._compute_contents, raw_events, facts, is_listed=is_listed)
        await self._ledger.rewrite(contents)
        return len(contents)

    def _compute_contents(
        self, raw_events: Sequence[RawEvent], facts: Facts, *, is_listed: bool
    ) -> dict[int, RewrittenContent]:
        contents: dict[int, RewrittenContent] = {}
        for raw_event in raw_events:
            if raw_event.dialect == CONTROL_DIALECT or (raw_event.dialect == DIALECT and not is_listed):
                continue
            body = self._compute_body(raw_event, facts)
            if body is not None and body != raw_event.body:
                contents[raw_event.seq] = RewrittenContent(DIALECT, body)
        return contents

    def _compute_body(self, raw_event: RawEvent, facts: Facts) -> bytes | None:
        """Return the new body; None where nothing of the event is erased, or it cannot be read."""
        dialect = self._dialects.get(raw_event.dialect)
        body_sn = "" if dialect is None else dialect.peek(raw_event.body).sn
        if self._erasures.is_emptied(raw_event.seq):
            return format_erased(body_sn, ())
        try:
            sn, details = read_event(raw_event, self._dialects, facts, trusts_sender=True)
        except Exception:  # noqa: BLE001 - it is in the quarantine, whatever its body does to its reader
            return None
        if isinstance(dialect, LegDialect):
            # What stays of its call is in a joined event.
            details = dialect.parse_legs([raw_event.body])
            is_erased = self._erasures.apply(raw_event, sn, details, facts).is_erased
            return format_erased(body_sn, ()) if is_erased else None
        legs = self._erasures.apply(raw_event, sn, details, facts)
        return format_erased(body_sn, legs.details) if legs.is_erased else None


def _split_at_controls(raw_events: Sequence[RawEvent]) -> Iterator[Sequence[RawEvent]]:
    """Yield the runs of events without a control entry, for which the same facts are valid."""
    run: list[RawEvent] = []
    for raw_event in raw_events:
        if raw_event.dialect != CONTROL_DIALECT:
            run.append(raw_event)
        elif run:
            yield run
            run = []
    if run:
        yield run


async def read_between(ledger: Ledger, after_seq: int, end_seq: int) -> list[RawEvent]:
    """Return the entries after a number and before another one, which are few."""
    raw_events: list[RawEvent] = []
    while after_seq < end_seq - 1 and (page := await ledger.read(after_seq, EVENTS_AT_ONCE)):
        raw_events += [event for event in page if event.seq < end_seq]
        after_seq = page[-1].seq
    return raw_events
