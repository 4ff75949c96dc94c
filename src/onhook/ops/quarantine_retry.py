"""Retry of quarantined events, which are then sent to destinations that are past their numbers.

Invariant: a held replay is stored before an event is parsed late, so that it is sent whatever happens in between.
"""

from collections.abc import Iterable, Sequence

from onhook.appdb.appdb import AppDb
from onhook.appdb.origin import get_origin
from onhook.lib.clock import Clock
from onhook.projector.projector import Projector
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
        ranges = group_consecutive(sorted(set(seqs)))
        await destinations.hold_replays(ranges, now_us=self._clock.microseconds())
        # After an error they stay held: records may still be stored. The next start releases them.
        unparsed = await self._projector.retry(seqs)
        empty_seqs = set(await self._projector.find_seqs_without_records(unparsed)) if unparsed else set()
        empty_ends = [last for first, last in ranges if empty_seqs.issuperset(range(first, last + 1))]
        await destinations.discard_held_replays(empty_ends)
        await destinations.release_replays([last for _, last in ranges])
        await self._write_audit_entry(seqs)
        return unparsed

    async def _write_audit_entry(self, seqs: Sequence[int]) -> None:
        """Add one entry an hour for retries of a user: a command retries each event by itself."""
        if get_origin().way != "onhook" and seqs:
            await self._appdb.audit.add_read("retry quarantined events", now_us=self._clock.microseconds())


def group_consecutive(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return ascending numbers as ranges, each with its first and last.

    >>> group_consecutive([3, 4, 5, 9])
    [(3, 5), (9, 9)]
    """
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return runs
