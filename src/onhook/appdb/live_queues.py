"""The callers who are in queues at this moment, as each hub has them of the PBXs that it is connected to, for the other
hubs.

Invariant: what a hub wrote seconds ago says nothing of now, because it may have died.
"""

from collections.abc import Mapping, Sequence

from onhook.appdb.contract import Database
from onhook.cdr.queue_states import QueueState

AGE_MICROSECONDS_MAX = 10_000_000
"""A hub that goes on writes them every few seconds, also where nothing has changed."""

_MICROSECONDS_PER_SECOND = 1_000_000


class SharedQueues:
    """Repository of the queues. Times passed in are microseconds since 1970, UTC: those of the clock of this
    process.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def replace(self, node: str, states_by_sn: Mapping[str, Sequence[QueueState]], *, now_us: int) -> None:
        """Replace what the hub of a machine has, by serial number; delete also what no longer counts of others, as of a
        machine that is gone.
        """
        now_us = await self._database.lease_time(now_us)
        rows = [
            (node, sn, state.queue, state.name, state.waiting, state.talking, state.longest_wait, now_us)
            for sn, states in states_by_sn.items()
            for state in {state.queue: state for state in (_NO_QUEUE, *states)}.values()
        ]
        async with self._database.transaction(is_awaited=False):
            await self._database.write(
                "DELETE FROM live_queues WHERE node = ? OR written_at <= ?", (node, now_us - AGE_MICROSECONDS_MAX)
            )
            await self._database.write_many("INSERT INTO live_queues VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    async def of_others(self, node: str, *, now_us: int) -> dict[str, list[QueueState]]:
        """Return what the hubs of other machines have now, by serial number."""
        now_us = await self._database.lease_time(now_us)
        rows = await self._database.rows(
            "SELECT sn, queue, name, waiting, talking, longest_wait, written_at FROM live_queues"
            " WHERE node <> ? AND written_at > ? ORDER BY sn, queue",
            (node, now_us - AGE_MICROSECONDS_MAX),
        )
        states_by_sn: dict[str, list[QueueState]] = {}
        for sn, queue, name, waiting, talking, longest_wait, written_at in rows:
            states = states_by_sn.setdefault(sn, [])
            if queue:
                seconds = max(now_us - written_at, 0) // _MICROSECONDS_PER_SECOND
                wait = None if longest_wait is None else longest_wait + seconds
                states.append(QueueState(queue=queue, name=name, waiting=waiting, talking=talking, longest_wait=wait))
        return states_by_sn


_NO_QUEUE = QueueState(queue="", name="", waiting=0, talking=0, longest_wait=None)
