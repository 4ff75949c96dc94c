"""Calls that are older than they are to be kept are forgotten, with all reports that said them.

Laws: off unless somebody sets it. A call goes when the newest report that it was read from is too old, and nothing of
it is owed to a subscription; a report goes when no call that it speaks of stays. So `onhook rebuild` makes the same
calls before and after. The ledger forgets last: what is cut short in between is done by the next round, which finds by
the reports what else is to go.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.retention_overrides import FOR_EVER
from onhook.cdr.record import Record
from onhook.config import Config
from onhook.ledger.contract import Ledger
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.lib.timestamps import to_datetime
from onhook.ops.instance_lock import holding
from onhook.ops.rebuild import LOCK_NAME, rebuilt_file
from onhook.projector import MayGo, Projector

ROUND_SECONDS = 6 * 3600.0
"""Days are what is counted, so hours of delay do not matter; a round reads all reports that are older than the rule."""

FIRST_SECONDS = 60.0
"""After a start there are more urgent things."""

SLICE_REPORTS = 500
"""At once: the intake waits for a slice to be deleted, which takes some milliseconds."""

DAY_MICROSECONDS = 86_400 * 1_000_000


class Forgotten(msgspec.Struct, frozen=True):
    """What one round has deleted."""

    reports: int = 0
    calls: int = 0


class Retention:
    """Made once per process."""

    def __init__(self, *, config: Config, settings: AppDb, ledger: Ledger, projector: Projector, clock: Clock) -> None:
        self._days = config.keep_days
        self._config = config
        self._settings = settings
        self._ledger = ledger
        self._projector = projector
        self._clock = clock

    async def run(self) -> None:
        """A round now and then, for ever. Ends by cancellation only."""
        await asyncio.sleep(FIRST_SECONDS)
        while True:
            try:
                await self.round()
            except OnhookError as error:
                log = logging.getLogger("retention")
                log.error("old calls cannot be deleted now: they stay", extra={"error": str(error)})
            await asyncio.sleep(ROUND_SECONDS)

    async def round(self) -> Forgotten:
        """Forget all that is too old now, noted in the audit log. Not while the store is made again, or one that
        was waits to take its place: what was read for that would be back afterwards, with no report behind it."""
        own = self._settings.keeping.all()
        limits = [days for days in (self._days, *own.values()) if days != FOR_EVER]
        if not limits:
            return Forgotten()
        with holding(self._config.data / LOCK_NAME) as is_ours:
            if not is_ours or rebuilt_file(self._config).exists():
                return Forgotten()
            gone = Forgotten()
            try:
                async for some in self._slices(own, min(limits)):
                    gone = Forgotten(gone.reports + some.reports, gone.calls + some.calls)
            finally:
                # Also of a round that was cut short: what is gone is gone.
                self._note(gone)
            return gone

    async def _slices(self, own: Mapping[str, int], shortest: int) -> AsyncIterator[Forgotten]:
        """Forget a slice at a time, up to the first that is younger than the shortest rule."""
        now = self._clock.microseconds()
        after = 0
        # The last report stays: from its number the next one is told, and the store's position is compared with it.
        end = min(await self._ledger.last() - 1, self._settled())
        while after < end:
            read = [one for one in await self._ledger.read(after, SLICE_REPORTS) if one.seq <= end]
            if not read or read[0].received_at >= _before(now, shortest):
                break
            after = read[-1].seq
            old = [one for one in read if one.received_at < _before(now, own.get(one.sn, self._days))]
            gone = await self._projector.forget(old, self._may_go(now, own, end))
            self._settings.notes.forget(gone.calls)
            await self._ledger.forget(gone.seqs)
            yield Forgotten(len(gone.seqs), len(gone.calls))

    def _settled(self) -> int:
        """Up to where nothing is owed to any subscription that reads by number."""
        settled = self._settings.subscriptions.settled_until()
        return 2**63 - 1 if settled is None else settled

    def _may_go(self, now: int, own: Mapping[str, int], end: int) -> MayGo:
        def may_go(legs: Sequence[Record]) -> bool:
            sn, call_id = legs[0].sn, legs[0].call_id
            before = to_datetime(_before(now, own.get(sn, self._days)))
            if any(leg.received_at >= before or leg.seq > end for leg in legs):
                return False
            return not self._settings.deliveries.owes(sn, call_id)

        return may_go

    def _note(self, gone: Forgotten) -> None:
        if gone.reports:
            self._settings.audit.note(
                at=self._clock.microseconds(),
                who="onhook",
                by="retention",
                address="",
                what=f"deleted what is older than it is kept: calls {gone.calls}, reports {gone.reports}",
                status=200,
            )


def _before(now: int, days: int) -> int:
    """What was received before this moment is too old; with FOR_EVER nothing is."""
    return now - days * DAY_MICROSECONDS if days != FOR_EVER else -1
