"""Reports of the quarantine read again, and owed to those who are past their numbers.

Law: what is read late is owed before it is read, so that it is sent on whatever happens in between.
"""

from collections.abc import Sequence

from onhook.clock import Clock
from onhook.projector import Projector
from onhook.settings.settings import Settings
from onhook.store.store import Quarantined


class Rereading:
    """Reads again; the same for the hub and for a command without one."""

    def __init__(self, projector: Projector, settings: Settings, clock: Clock) -> None:
        self._projector = projector
        self._settings = settings
        self._clock = clock

    async def read_again(self, seqs: Sequence[int]) -> Sequence[Quarantined]:
        """See `Projector.retry`."""
        self._settings.subscriptions.hold_replays(seqs, at=self._clock.microseconds())
        try:
            return await self._projector.retry(seqs)
        finally:
            self._settings.subscriptions.let_go()
