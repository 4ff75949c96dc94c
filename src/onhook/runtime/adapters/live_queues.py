"""The queues at this moment that a hub shows: of the PBXs that it is connected to, and of those of other hubs."""

import logging
import time
from collections.abc import Mapping, Sequence

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.cdr.queue_states import QueueState
from onhook.lib.clock import Clock
from onhook.lib.periodic_job import run_periodically
from onhook.lib.transition_log import TransitionLog
from onhook.sync.ami_connections import LiveQueues

SHARE_SECONDS = 1.0
"""Between two looks at what has changed."""

WRITE_SECONDS_MAX = 4.0
"""After so long they are written also where nothing has changed: older ones count no longer. The wait of the first
caller is no change: other hubs let it go on, and that of the next first caller is there after this time.
"""


class HubQueues:
    """The queues that the console of one hub shows. Created once per process."""

    def __init__(self, own_queues: LiveQueues, appdb: AppDb, clock: Clock, node: str) -> None:
        """`node` is the name of the machine; empty where it is the only one."""
        self._own_queues = own_queues
        self._appdb = appdb
        self._clock = clock
        self._node = node
        self._compared_states: Mapping[str, Sequence[QueueState]] = {}
        """What was written, without waits."""
        self._written_at = float("-inf")

    async def read(self) -> Mapping[str, Sequence[QueueState]]:
        """Return the queues by serial number, of each PBX that reports them to some hub. Raises `OnhookError`."""
        own_states = self._own_queues.read()
        if not self._node:
            return own_states
        return {**await self._appdb.live_queues.of_others(self._node, now_us=self._clock.microseconds()), **own_states}

    async def share(self) -> None:
        """Write the own queues for other hubs, until cancelled."""
        log = logging.getLogger("live_queues")
        failure_log = TransitionLog(log, begins="cannot share the queues", ends="queues are shared again")
        await run_periodically(self._write, SHARE_SECONDS, failure_log)

    async def _write(self) -> None:
        states = self._own_queues.read()
        is_due = bool(states) and time.monotonic() - self._written_at >= WRITE_SECONDS_MAX
        compared_states = _without_waits(states)
        if compared_states != self._compared_states or is_due:
            await self._appdb.live_queues.replace(self._node, states, now_us=self._clock.microseconds())
            self._compared_states, self._written_at = compared_states, time.monotonic()


def _without_waits(states_by_sn: Mapping[str, Sequence[QueueState]]) -> Mapping[str, Sequence[QueueState]]:
    """Return queues without the wait of the first caller, which grows each second."""
    return {
        sn: [msgspec.structs.replace(state, longest_wait=None) for state in states]
        for sn, states in states_by_sn.items()
    }
