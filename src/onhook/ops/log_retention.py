"""Retention of the logs of destinations: attempts that are older than the days of their destination are deleted.

With each commit a destination deletes what is beyond the number of attempts alone.
"""

import logging

from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import log_days_of
from onhook.lib.clock import Clock
from onhook.lib.periodic_job import run_periodically
from onhook.lib.transition_log import TransitionLog

CYCLE_SECONDS = 3_600.0
"""The time is set in days; a cycle without anything to delete reads a row of each destination."""


class LogRetention:
    """Created once per process. `log_days` are those of the installation."""

    def __init__(self, appdb: AppDb, clock: Clock, *, log_days: int) -> None:
        self._appdb = appdb
        self._clock = clock
        self._log_days = log_days

    async def run(self) -> None:
        """Run cycles until cancelled."""
        failure_log = TransitionLog(
            logging.getLogger("retention"),
            begins="cannot delete old attempts from the logs of destinations",
            ends="old attempts are deleted again from the logs of destinations",
        )
        await run_periodically(self.run_cycle, CYCLE_SECONDS, failure_log)

    async def run_cycle(self) -> int:
        """Delete what has expired; return how many attempts. A destination that cannot be read has the days of the
        installation. Raises `Unavailable`.
        """
        destinations = await self._appdb.destinations.all()
        days = {destination.destination_id: log_days_of(destination, self._log_days) for destination in destinations}
        return await self._appdb.destination_log.delete_expired(days, self._log_days, now_us=self._clock.microseconds())
