"""Retry of quarantined events, which are then sent to destinations that are past their numbers.

Invariant: a held replay is stored before an event is parsed late, so that it is sent whatever happens in between.
"""

from collections.abc import Sequence

from onhook.appdb.appdb import AppDb
from onhook.lib.clock import Clock
from onhook.projector import Projector
from onhook.store.contract import QuarantineEntry


class QuarantineRetrier:
    """Retries events; the same for the hub and for a command without one."""

    def __init__(self, projector: Projector, appdb: AppDb, clock: Clock) -> None:
        self._projector = projector
        self._appdb = appdb
        self._clock = clock

    async def retry(self, seqs: Sequence[int]) -> Sequence[QuarantineEntry]:
        """See `Projector.retry`."""
        destinations = self._appdb.destinations
        await destinations.hold_replays([(seq, seq) for seq in seqs], now_us=self._clock.microseconds())
        # After an error they stay held: records may still be stored. The next start releases them.
        unparsed = await self._projector.retry(seqs)
        if unparsed:
            await destinations.discard_held_replays(await self._projector.find_seqs_without_records(unparsed))
        await destinations.release_replays(seqs)
        return unparsed
