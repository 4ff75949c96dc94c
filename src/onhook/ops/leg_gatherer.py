"""Gathering of legs: of what a PBX reports leg by leg, a joined event is made for each call, in the ledger.

Invariants: a leg is in the ledger before it is gathered, and a call is one entry of it, so that each store made from
the ledger has the same calls. All else is derived from the ledger: what an interrupted run has appended is found again
by its key. A leg that comes later makes the call anew.
"""

import asyncio
import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.leg_groups import StoredGroup
from onhook.cdr.leg_groups import GroupedLeg, LegGroup, LegGroups
from onhook.ledger.contract import CONTROL_DIALECT, Ledger, LedgerEntry, RawEvent
from onhook.ledger.control_entries import ReRead, decode_control
from onhook.lib.clock import Clock
from onhook.lib.errors import ParseError, Unavailable
from onhook.lib.task_reconciler import raise_if_cancelled
from onhook.lib.transition_log import TransitionLog
from onhook.pbx.dialect import Dialects, LegDialect
from onhook.pbx.joined_legs import DIALECT as JOINED_DIALECT
from onhook.pbx.joined_legs import JoinedLegs, decode_joined, join_bodies

EVENTS_AT_ONCE = 500
"""Raw events of one step: some 5 MB of documents, read in some tenths of a second."""

CALLS_AT_ONCE = 50
"""Calls of one append: their documents are read together."""

WAIT_SECONDS_MAX = 30.0
"""Longest wait without a query of the ledger."""

IDLE_SECONDS = 2.0
"""How often is checked whether there is a PBX that reports legs, while there is none."""

RETRY_SECONDS = 1.0
"""The wait after the disk or a database was unavailable."""

KEPT_MICROSECONDS = 7 * 86_400 * 1_000_000
"""After this a leg that comes later is a call of its own: PBXs try again for minutes, people send files of a weekend.
"""

PRUNE_MICROSECONDS = 3600 * 1_000_000

_MICROSECONDS = 1_000_000


class _ReadLegs(msgspec.Struct, frozen=True):
    """What is to be grouped of one raw event: a leg, or all legs of a joined event."""

    raw_event: RawEvent
    legs: Sequence[GroupedLeg]


class LegGatherer:
    """Follows the ledger, and appends joined events to it. One of them at a time works on a ledger."""

    def __init__(self, *, appdb: AppDb, ledger: Ledger, dialects: Dialects, clock: Clock) -> None:
        self._appdb = appdb
        self._groups = appdb.leg_groups
        self._ledger = ledger
        self._dialects: Mapping[str, LegDialect] = {
            name: dialect for name, dialect in dialects.items() if isinstance(dialect, LegDialect)
        }
        self._clock = clock
        self._idle_seq: int | None = None
        """The end of the ledger when there last was no PBX that reports legs."""
        self._pruned_at = 0
        self._stall_log = TransitionLog(
            logging.getLogger("legs"),
            begins="cannot make calls of their legs",
            ends="calls are made of their legs again",
        )

    async def run(self) -> None:
        """Gather until cancelled. Where a file or the disk is unavailable, try again."""
        while True:
            try:
                if not await self.step():
                    await self._wait()
                self._stall_log.end()
            except Unavailable as error:
                self._stall_log.begin(error=str(error))
                raise_if_cancelled()
                await asyncio.sleep(RETRY_SECONDS)

    async def step(self) -> bool:
        """Read the next raw events, and make the calls that are due; return whether there may be more to do now."""
        last_seq = await self._ledger.last_seq()
        if not await self._is_active():
            self._idle_seq = last_seq
            return False
        position = await self._begin(last_seq)
        raw_events = await self._ledger.read(position, EVENTS_AT_ONCE)
        if raw_events:
            await self._group(raw_events)
            if raw_events[-1].seq < last_seq:
                return True  # further legs of a call may be there already
        await self._prune()
        return await self._join_due() or bool(raw_events)

    async def _is_active(self) -> bool:
        has_pbx = any(pbx.dialect in self._dialects for pbx in await self._appdb.pbxs())
        return has_pbx or await self._groups.has_any()

    async def _begin(self, last_seq: int) -> int:
        """Return the number after which to read; another ledger is read from its beginning."""
        position = await self._groups.position() or 0
        if position > last_seq:
            await self._groups.clear()
            position = 0
        if self._idle_seq is not None:
            position = max(position, self._idle_seq)
            await self._groups.save({}, position=position)
            self._idle_seq = None
        return position

    async def _wait(self) -> None:
        if self._idle_seq is not None:
            await asyncio.sleep(IDLE_SECONDS)
            return
        next_due_at = await self._groups.next_due_at()
        seconds = WAIT_SECONDS_MAX
        if next_due_at is not None:
            seconds = min(seconds, max(0.0, (next_due_at - self._clock.microseconds()) / _MICROSECONDS))
        await self._ledger.wait(await self._groups.position() or 0, seconds)

    # Legs to groups

    async def _group(self, raw_events: Sequence[RawEvent]) -> None:
        """Add the legs among raw events to their groups, and move the position past them."""
        re_read_seqs = [
            seq
            for raw_event in raw_events
            if raw_event.dialect == CONTROL_DIALECT and isinstance(control := decode_control(raw_event), ReRead)
            for seq in control.seqs
        ]
        re_read_events = await self._ledger.get(sorted(set(re_read_seqs))) if re_read_seqs else []
        read_legs = await asyncio.to_thread(lambda: list(self._read_legs([*re_read_events, *raw_events])))
        names: dict[str, set[str]] = {}
        for item in read_legs:
            names.setdefault(item.raw_event.sn, set()).update(*(leg.links.names for leg in item.legs))
        groups = {sn: LegGroups(await self._groups.find(sn, own_names)) for sn, own_names in names.items()}
        for item in read_legs:
            _add(groups[item.raw_event.sn], item)
        changes = {sn: (own_groups.changed, own_groups.removed_ids) for sn, own_groups in groups.items()}
        await self._groups.save(changes, position=raw_events[-1].seq)

    def _read_legs(self, raw_events: Iterable[RawEvent]) -> Iterator[_ReadLegs]:
        """Yield what can be read of these events; the projector puts the rest into the quarantine."""
        for raw_event in raw_events:
            if raw_event.dialect in self._dialects:
                documents = {raw_event.seq: raw_event.body}
                dialect_name = raw_event.dialect
            elif raw_event.dialect == JOINED_DIALECT:
                joined = _read_joined(raw_event)
                documents = {leg.seq: leg.body for leg in joined.legs} if joined is not None else {}
                dialect_name = joined.dialect if joined is not None else ""
            else:
                continue
            legs = [leg for seq, body in documents.items() if (leg := self._read_leg(dialect_name, seq, body))]
            if legs:
                yield _ReadLegs(raw_event, legs)

    def _read_leg(self, dialect_name: str, seq: int, body: bytes) -> GroupedLeg | None:
        try:
            return GroupedLeg(seq=seq, size=len(body), links=self._dialects[dialect_name].read_links(body))
        except Exception:  # noqa: BLE001 - it is in the quarantine, whatever its body does to its reader
            return None

    # Groups to calls

    async def _join_due(self) -> bool:
        """Append a joined event for each call that is due; return whether there was one."""
        due_groups = await self._groups.list_due(self._clock.microseconds(), CALLS_AT_ONCE)
        if not due_groups:
            return False
        entries = [await self._create_entry(stored) for stored in due_groups]
        results = iter(await self._ledger.append([entry for entry in entries if entry is not None]))
        changes: dict[str, tuple[dict[int, LegGroup], tuple[int, ...]]] = {}
        for stored, entry in zip(due_groups, entries, strict=True):
            result = None if entry is None else next(results)
            if result is not None and result.outcome == "unavailable":
                continue
            groups = LegGroups({stored.group_id: stored.group})
            groups.settle(stored.group_id, 0 if result is None else result.seq)
            changes.setdefault(stored.sn, ({}, ()))[0].update(groups.changed)
        await self._groups.save(changes)
        return True

    async def _create_entry(self, stored: StoredGroup) -> LedgerEntry | None:
        """Return the joined event of a group; None where nothing is left of its legs."""
        group = stored.group
        raw_events = await self._ledger.get(sorted(group.seqs | group.joined_seqs))
        joined_events = {
            raw_event.seq: joined
            for raw_event in raw_events
            if raw_event.dialect == JOINED_DIALECT and (joined := _read_joined(raw_event)) is not None
        }
        leg_events = [raw_event for raw_event in raw_events if raw_event.dialect in self._dialects]
        documents = {leg.seq: leg.body for joined in joined_events.values() for leg in joined.legs}
        documents |= {raw_event.seq: raw_event.body for raw_event in leg_events}
        if not leg_events:
            return None
        latest = max(leg_events, key=lambda raw_event: raw_event.seq)
        body = join_bodies(latest.dialect, documents, tuple(joined_events))
        return LedgerEntry(
            sn=stored.sn,
            dialect=JOINED_DIALECT,
            via=latest.via,
            received_at=latest.received_at,
            key=_compute_key(group.received_at, documents),
            body=body,
        )

    async def _prune(self) -> None:
        now = self._clock.microseconds()
        if abs(now - self._pruned_at) >= PRUNE_MICROSECONDS:
            self._pruned_at = now
            await self._groups.delete_before(now - KEPT_MICROSECONDS)


def _read_joined(raw_event: RawEvent) -> JoinedLegs | None:
    """Return the legs of a joined event; None where it is that of a newer Onhook."""
    try:
        return decode_joined(raw_event.body)
    except ParseError:
        return None


def _add(groups: LegGroups, item: _ReadLegs) -> None:
    raw_event = item.raw_event
    if raw_event.dialect == JOINED_DIALECT:
        groups.add_joined(raw_event.seq, item.legs, raw_event.received_at)
    else:
        groups.add(item.legs[0], raw_event.received_at)


def _compute_key(received_at: int, seqs: Iterable[int]) -> bytes:
    """Return a key that is equal for the same legs: what was appended before an interruption is a repeat."""
    text = ",".join(map(str, sorted(seqs)))
    return (received_at // _MICROSECONDS).to_bytes(4) + hashlib.sha256(f"joined {text}".encode()).digest()[:12]
