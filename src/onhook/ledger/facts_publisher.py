"""Appends to the ledger what has changed in the facts of PBXs, so that every store reads the next events by them.

Invariants: any number of processes may publish; each change is in the ledger once. The last entry of a PBX has its
facts as they were read after the entry before it, so that a slow process never brings back older ones.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

from onhook.cdr.call_assembly import PbxFacts
from onhook.cdr.identity import fold_sn
from onhook.ledger.contract import Ledger, LedgerEntry
from onhook.ledger.control_entries import (
    ControlEntry,
    FactsChanged,
    ReRead,
    encode_control,
    find_changes,
    read_control_entries,
)
from onhook.lib.clock import Clock
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _

TRIES_MAX = 20
"""Tries to append after entries of other processes; each takes milliseconds."""

FactsReader = Callable[[], Awaitable[Mapping[str, PbxFacts]]]
"""Returns the current facts of all registered PBXs, by each of their serial numbers, folded."""


class FactsPublisher:
    """Publishes the facts that `read_facts` returns. Created once per process, inside its event loop."""

    def __init__(self, ledger: Ledger, read_facts: FactsReader, clock: Clock) -> None:
        self._ledger = ledger
        self._read_facts = read_facts
        self._clock = clock
        self._lock = asyncio.Lock()
        self._last_control_seq = 0
        self._published: dict[str, FactsChanged] = {}
        self._known_sns: set[str] = set()

    async def publish(self) -> int:
        """Append what has changed; return the number of the last control entry. Raises `Unavailable`."""
        async with self._lock:
            for _try in range(TRIES_MAX):
                await self._read_published()
                # After the entries: what another process has published meanwhile is not undone.
                changes: list[ControlEntry] = list(find_changes(self._published, await self._read_facts()))
                if not changes:
                    return self._last_control_seq
                # A ledger that is older than its control entries: its events are read by the first ones.
                is_first = not self._last_control_seq and await self._ledger.has_events()
                await self._ledger.append_control(
                    list(map(encode_control, [*changes, ReRead()] if is_first else changes)),
                    last_control_seq=self._last_control_seq,
                    now_us=self._clock.microseconds(),
                )
        raise Unavailable(
            _("the settings of PBXs are being changed all the time"), hint=_("try again when fewer of them change")
        )

    def prepare(self, entries: Iterable[LedgerEntry]) -> Awaitable[None] | None:
        """Return what to await before these entries are appended: an event comes after the facts of its PBX. None where
        they are known to be there.
        """
        known_sns = self._known_sns
        unknown_sns = {entry.sn for entry in entries if entry.sn not in known_sns}
        return self._publish_for(unknown_sns) if unknown_sns else None

    async def _publish_for(self, sns: Collection[str]) -> None:
        async with self._lock:
            await self._read_published()
            missing_sns = {sn for sn in sns if fold_sn(sn) not in self._published}
        if missing_sns:
            await self.publish()
        self._known_sns.update(sns)

    async def _read_published(self) -> None:
        async for raw_event, entry in read_control_entries(self._ledger, self._last_control_seq):
            if isinstance(entry, FactsChanged):
                self._published[fold_sn(entry.sn)] = entry
            self._last_control_seq = raw_event.seq
