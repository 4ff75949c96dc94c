"""Publishes changes of PBXs in the ledger, by which each projector joins the calls of a further serial number; and has
events in the quarantine parsed whose sender is registered now. Doing it again changes nothing.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection

from onhook.appdb.appdb import AppDb
from onhook.cdr.identity import fold_sn
from onhook.cdr.merge import UNREGISTERED
from onhook.ledger.contract import CounterKey, Ledger
from onhook.ledger.facts_publisher import FactsPublisher
from onhook.lib.errors import OnhookError
from onhook.lib.task_reconciler import raise_if_cancelled
from onhook.lib.transition_log import TransitionLog
from onhook.ops.quarantine_retry import QuarantineRetrier
from onhook.projector.projector import Projector
from onhook.store.contract import PAGE_MAX, Store

CHECK_SECONDS = 30.0
"""How long a change may wait whose notification is lost."""

RETRY_SECONDS = 1.0
"""The wait after a file was unavailable."""


class SerialNumberJoiner:
    """Follows the serial numbers of the registered PBXs. Created once per process."""

    def __init__(
        self,
        *,
        appdb: AppDb,
        ledger: Ledger,
        store: Store,
        publisher: FactsPublisher,
        projector: Projector,
        retrier: QuarantineRetrier,
    ) -> None:
        self._appdb = appdb
        self._publisher = publisher
        self._ledger = ledger
        self._store = store
        self._projector = projector
        self._retrier = retrier
        self._failure_log = TransitionLog(
            logging.getLogger("serial_numbers"),
            begins="cannot join the calls of a further serial number: trying again",
            ends="calls of further serial numbers are joined",
        )
        self._joined: object = None

    async def run(self) -> None:
        """Join histories until cancelled: at the start, and after each change of serial numbers."""
        version = 0
        while True:
            try:
                version = await self._appdb.wait_for_change(version, CHECK_SECONDS)
                await self.join_changed()
                self._failure_log.end()
            except OnhookError as error:
                version = 0  # again, although nothing changes any more
                self._failure_log.begin(error=str(error))
                raise_if_cancelled()
                await asyncio.sleep(RETRY_SECONDS)

    async def join_changed(self) -> None:
        """Publish changes of PBXs, and join histories where serial numbers have changed since the last call."""
        seq = await self._publisher.publish()
        further = await self._appdb.serial_numbers.all()
        registered = [pbx.sn for pbx in await self._appdb.pbxs()]
        if (further, registered) == self._joined:
            return
        await self._projector.catch_up_to(seq)
        async for seqs in self._list_unregistered():
            # Most senders stay unknown: for their events nothing is written.
            if registered_seqs := await self._projector.find_registered(seqs):
                await self._retrier.retry(registered_seqs)
        await self._reset_counters(
            {fold_sn(number.sn) for number in further if number.is_accepted} | set(map(fold_sn, registered))
        )
        self._joined = further, registered

    async def _reset_counters(self, registered_sns: Collection[str]) -> None:
        """Delete the counters of kept events whose serial number (folded) is registered now: they were read."""
        counts = {
            CounterKey(counter.kind, counter.sn, counter.label): counter.count
            for counter in await self._ledger.counters()
            if counter.kind == UNREGISTERED and fold_sn(counter.sn) in registered_sns
        }
        await self._ledger.subtract_counts(counts)

    async def _list_unregistered(self) -> AsyncIterator[list[int]]:
        """Yield the numbers of quarantined events whose sender was not registered, a page at a time."""
        after_seq = 0
        while entries := await self._store.quarantine(PAGE_MAX, after_seq):
            after_seq = entries[-1].seq
            if seqs := [entry.seq for entry in entries if entry.via == UNREGISTERED]:
                yield seqs
