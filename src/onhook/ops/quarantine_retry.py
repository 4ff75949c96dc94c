"""Retry of quarantined events, which are then sent to destinations that are past their numbers.

Invariants: a held replay is stored before an event is parsed late, so that it is sent whatever happens in between. Who
holds replays has a turn, among all hubs and commands; what is held while the turn is free was left by a process that
died.
"""

import logging
from collections.abc import Iterable, Sequence

from onhook.appdb.appdb import AppDb
from onhook.appdb.origin import get_origin
from onhook.lib.clock import Clock
from onhook.lib.periodic_job import run_periodically
from onhook.lib.transition_log import TransitionLog
from onhook.projector.projector import Projector
from onhook.store.contract import QuarantineEntry

REPLAYS_TURN = "held_replays"
"""Turn of a process that holds replays."""

RELEASE_SECONDS = 60.0

HELD_SECONDS_MIN = 60.0
"""A record may be stored for some seconds after the error of a process that held its replay."""


class QuarantineRetrier:
    """Retries events; the same for the hub and for a command without one."""

    def __init__(self, projector: Projector, appdb: AppDb, clock: Clock) -> None:
        self._projector = projector
        self._appdb = appdb
        self._clock = clock

    async def retry(self, seqs: Sequence[int]) -> Sequence[QuarantineEntry]:
        """See `Projector.retry`."""
        async with self._appdb.leases.turn(REPLAYS_TURN, self._clock):
            return await self._retry(seqs)

    async def _retry(self, seqs: Sequence[int]) -> Sequence[QuarantineEntry]:
        destinations = self._appdb.destinations
        ranges = group_consecutive(sorted(set(seqs)))
        await destinations.hold_replays(ranges, now_us=self._clock.microseconds())
        # After an error they stay held for a while: records may still be stored.
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


async def release_left_replays(appdb: AppDb, clock: Clock) -> None:
    """Release the replays that a process which died has held, again and again, until cancelled."""
    log = logging.getLogger("delivery")
    failure_log = TransitionLog(log, begins="cannot release replays", ends="replays can be released again")

    async def release() -> None:
        if await _list_left(appdb, clock):
            async with appdb.leases.turn(REPLAYS_TURN, clock):
                await appdb.destinations.release_replays(await _list_left(appdb, clock))

    await run_periodically(release, RELEASE_SECONDS, failure_log)


async def _list_left(appdb: AppDb, clock: Clock) -> list[int]:
    return await appdb.destinations.list_held_replays(seconds_min=HELD_SECONDS_MIN, now_us=clock.microseconds())


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
