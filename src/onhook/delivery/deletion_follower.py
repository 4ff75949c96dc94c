"""Has a destination that keeps calls follow retention and erasure: calls that the ledger's control entries delete or
change are replaced there by what the store has of them now.

Invariants: an entry is applied once the store has applied it, and after all notifications that were read before; while
one waits, none is read. So no notification brings back what was deleted. How far entries are applied is noted beside
the calls, where there is a place for it: a restored copy follows again. It is reported to the application database too,
so that the ledger keeps the entries until then. A failure delays deletions, and nothing else.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from math import inf

from onhook.appdb.appdb import AppDb
from onhook.appdb.destinations import Destination
from onhook.appdb.masking import load_masking
from onhook.cdr.identity import CallKey, fold_sn
from onhook.cdr.record import Call, Record
from onhook.delivery.destination_streams import ReadLedgerEnd
from onhook.delivery.destinations.contract import (
    CallReplacement,
    CallReplacer,
    CallRewriter,
    DestinationClient,
)
from onhook.delivery.payloads import calls_as_records, filter_records
from onhook.delivery.record_preparation import RecordPreparation
from onhook.delivery.record_reader import RecordBatch, RecordReader
from onhook.ledger.contract import RawEvent
from onhook.ledger.control_entries import Erased, Forgotten, decode_control
from onhook.lib.errors import Unavailable
from onhook.lib.transition_log import TransitionLog

CHECK_SECONDS = 5.0
"""Time between two checks for entries, where the store has moved: a deletion is not urgent to the second."""

RETRY_SECONDS = 60.0
"""Wait after a failure; deliveries go on meanwhile."""

ENTRIES_AT_ONCE = 100
CALLS_AT_ONCE = 256
"""Calls that are replaced in one transaction."""

NEVER = -1
"""No position of a store."""

ReadControlEntries = Callable[[int, int], Awaitable[Sequence[RawEvent]]]
"""Returns the control entries of the ledger after a number, at most so many. Raises `Unavailable`."""


async def read_no_control_entries(_after_seq: int, _limit: int) -> Sequence[RawEvent]:
    """Return none: there is no ledger."""
    return ()


class DeletionFollower:
    """Created once per worker."""

    def __init__(
        self,
        destination: Destination,
        *,
        replacer: CallReplacer,
        preparation: RecordPreparation,
        format_payload: Callable[[Record], bytes],
        appdb: AppDb,
        record_reader: RecordReader,
        read_control_entries: ReadControlEntries,
        read_ledger_end: ReadLedgerEnd,
    ) -> None:
        self._destination = destination
        self._replacer = replacer
        self._format_payload = format_payload
        self._preparation = preparation
        self._appdb = appdb
        self._record_reader = record_reader
        self._read_control_entries = read_control_entries
        self._read_ledger_end = read_ledger_end
        self._position: int | None = None
        self._reported_position = NEVER
        self._entries: Sequence[tuple[int, Sequence[CallKey]]] = ()
        self._checked_position = NEVER
        self._check_at = 0.0
        self._failure_log = TransitionLog(
            logging.getLogger("delivery"),
            begins="cannot delete calls at a destination that follows retention and erasure",
            ends="calls are deleted at the destination again",
        )

    @property
    def is_waiting(self) -> bool:
        """Return whether notifications must not be read until `follow` was called with `is_drained`."""
        return bool(self._entries) or (self._position is None and self._is_due())

    def seconds_until_check(self) -> float:
        """Return the wait until there may be entries; infinite until the store moves, or while notifications drain."""
        if self.is_waiting or not self._has_news():
            return inf
        return max(0.0, self._check_at - _loop_time())

    async def follow(self, *, is_drained: bool) -> None:
        """Look for entries when it is time, and apply them where no notification was read that is not done."""
        try:
            if not self._entries and self._is_due() and (is_drained or self._position is not None):
                await self._look()
            if self._entries and is_drained:
                await self._apply()
            await self._report_position()
        except Unavailable as error:
            self._entries, self._checked_position = (), NEVER
            self._check_at = _loop_time() + RETRY_SECONDS
            self._failure_log.begin(destination=self._destination.name, error=str(error))
        else:
            if self._position is not None:
                self._failure_log.end(destination=self._destination.name)

    async def _report_position(self) -> None:
        if self._position is not None and self._position != self._reported_position:
            await self._appdb.store_positions.report_follower(self._destination.destination_id, self._position)
            self._reported_position = self._position

    def _is_due(self) -> bool:
        return self._has_news() and _loop_time() >= self._check_at

    def _has_news(self) -> bool:
        return self._record_reader.position_source.position != self._checked_position

    async def _look(self) -> None:
        """Read the next entries that the store has applied."""
        self._checked_position = self._record_reader.position_source.position
        self._check_at = _loop_time() + CHECK_SECONDS
        if self._position is None:
            self._position = await self._read_position()
        # As announced: what was read before has another place in the cache of the reader.
        store_position = self._checked_position or await self._record_reader.store.position()
        raw_events = await self._read_control_entries(self._position, ENTRIES_AT_ONCE)
        applied_events = [raw_event for raw_event in raw_events if raw_event.seq <= store_position]
        self._entries = [
            (raw_event.seq, keys) for raw_event in applied_events if (keys := await self._list_keys(raw_event))
        ]
        if applied_events and not self._entries:
            self._position = applied_events[-1].seq
            self._look_again()

    def _look_again(self) -> None:
        """Look in the next cycle: there may be more entries."""
        self._checked_position, self._check_at = NEVER, 0.0

    async def _read_position(self) -> int:
        """Return the number of the last entry that was applied: all of them, where the destination has no calls yet."""
        position = await self._replacer.deletion_position()
        if position is not None:
            ledger_end = await self._read_ledger_end()
            return position if position <= ledger_end or not ledger_end else 0  # of another ledger
        position = await self._record_reader.store.position()
        await self._replacer.replace_calls((), position)
        return position

    async def _list_keys(self, raw_event: RawEvent) -> Sequence[CallKey]:
        """Return the calls of an entry, also under the serial number that their PBX has now."""
        entry = decode_control(raw_event)
        if not isinstance(entry, Forgotten | Erased):
            return ()
        owners = await self._appdb.serial_numbers.owners()
        keys: dict[CallKey, None] = {}
        for call in entry.calls:
            keys[(call.sn, call.call_id)] = None
            keys[(owners.get(fold_sn(call.sn), call.sn), call.call_id)] = None
        return list(keys)

    async def _apply(self) -> None:
        entries, self._entries = self._entries, ()
        for seq, keys in entries:
            for start in range(0, len(keys), CALLS_AT_ONCE):
                is_last = start + CALLS_AT_ONCE >= len(keys)
                replacements = await self._load_replacements(keys[start : start + CALLS_AT_ONCE])
                await self._replacer.replace_calls(replacements, seq if is_last else None)
            self._position = seq
        self._look_again()

    async def _load_replacements(self, keys: Sequence[CallKey]) -> Sequence[CallReplacement]:
        calls = await self._record_reader.store.calls_by_keys(keys)
        bodies: dict[CallKey, list[bytes]] = {key: [] for key in keys}
        for record in await self._matching_records(calls):
            bodies.setdefault((record.sn, record.call_id), []).append(self._format_payload(record))
        return [CallReplacement(sn, call_id, bodies[(sn, call_id)]) for sn, call_id in keys]

    async def _matching_records(self, calls: Sequence[Call]) -> Sequence[Record]:
        """Return the records of calls as the destination is notified of them."""
        destination = self._destination
        masking = await load_masking(self._appdb, destination.mask)
        legs = [leg for call in calls for leg in call.legs]
        if destination.notifies_of == "records":
            records = filter_records(legs, [destination.filter])
        else:
            records = calls_as_records(RecordBatch(legs, 0, True), calls, [destination.filter], None, masking)
        masked = records if masking is None else list(map(masking.mask_record, records))
        return await self._preparation.prepare(masked, masking)


class _RewriterAdapter:
    """Replaces calls by a client that has no place for a position: it is what the follower has reported to the
    application database.
    """

    def __init__(self, client: CallRewriter, destination: Destination, appdb: AppDb) -> None:
        self._client = client
        self._destination = destination
        self._positions = appdb.store_positions

    async def deletion_position(self) -> int | None:
        position = await self._positions.follower(self._destination.destination_id)
        # Of one that has calls already, all entries are applied.
        return 0 if position is None and self._destination.attempts_succeeded else position

    async def replace_calls(self, replacements: Sequence[CallReplacement], position: int | None) -> None:
        if replacements:
            await self._client.rewrite_calls(replacements)


def find_replacer(client: DestinationClient, destination: Destination, appdb: AppDb) -> CallReplacer | None:
    """Return what replaces calls at a destination; None where the other side keeps none that could be replaced."""
    if isinstance(client, CallReplacer):
        return client
    return _RewriterAdapter(client, destination, appdb) if isinstance(client, CallRewriter) else None


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
