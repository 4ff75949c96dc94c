"""Reports of the quarantine read again, and owed to those who are past their numbers.

Law: what is read late is owed before it is read, so that it is sent on whatever happens in between.
"""

from collections.abc import Sequence

from onhook.appdb.appdb import AppDb
from onhook.lib.clock import Clock
from onhook.projector import Projector
from onhook.store.contract import QuarantineEntry


class QuarantineRetrier:
    """Reads again; the same for the hub and for a command without one."""

    def __init__(self, projector: Projector, appdb: AppDb, clock: Clock) -> None:
        self._projector = projector
        self._appdb = appdb
        self._clock = clock

    async def retry(self, seqs: Sequence[int]) -> Sequence[QuarantineEntry]:
        """See `Projector.retry`."""
        destinations = self._appdb.destinations
        destinations.hold_replays([(seq, seq) for seq in seqs], now_us=self._clock.microseconds())
        # Where this is cut short they stay held: what was being put may still be put. The next start lets them go.
        unparsed = await self._projector.retry(seqs)
        destinations.discard_held_replays([entry.seq for entry in unparsed])
        destinations.release_replays(seqs)
        return unparsed
