"""Runs the worker of one destination, and another one after an error.

Invariants: an error of a worker stops no other worker. An error is over only after a successful pass: a destination
that is disabled, paused or changed meanwhile has not recovered.
"""

import asyncio
from collections.abc import Callable

from onhook.appdb.stored_json import RowUnreadable
from onhook.delivery.destinations.contract import OpenDestination
from onhook.delivery.metrics import AttemptMetrics
from onhook.delivery.worker import DeliveryDeps, DestinationWorker
from onhook.lib.backoff import Backoff
from onhook.lib.task_reconciler import raise_if_cancelled

RESTART_SECONDS_FIRST = 1.0
RESTART_SECONDS_MAX = 5.0
"""Wait before a failed worker is restarted: most errors, such as a locked database, are over within seconds."""

STEADY_SECONDS = 60.0
"""After a run of this length the next wait is the first again."""


class WorkerSupervisor:
    """One destination in one revision. `report_error` receives the error of a worker, or None after each successful
    pass.
    """

    def __init__(
        self,
        destination_id: int,
        *,
        deps: DeliveryDeps,
        open_destination: OpenDestination,
        metrics: AttemptMetrics,
        report_error: Callable[[Exception | None], None],
    ) -> None:
        self._destination_id = destination_id
        self._deps = deps
        self._open_destination = open_destination
        self._metrics = metrics
        self._report_error = report_error
        self._worker: DestinationWorker | None = None
        self._newest_stream_id = 0

    def update_newest_stream(self, stream_id: int) -> None:
        """Store the number of the newest stream; a different one is a requested replay."""
        if self._worker is not None and stream_id != self._newest_stream_id:
            self._worker.reload_streams()
        self._newest_stream_id = stream_id

    async def run(self) -> None:
        """Run workers until cancelled, or until the destination is removed or disabled, or cannot be read."""
        backoff = Backoff(first=RESTART_SECONDS_FIRST, maximum=RESTART_SECONDS_MAX, steady_seconds=STEADY_SECONDS)
        time = asyncio.get_running_loop().time
        while True:
            started_at = time()
            try:
                return await self._run_worker()
            except RowUnreadable as error:
                # Until a person changes it: its next revision has another supervisor.
                return self._report_error(error)
            except Exception as error:  # noqa: BLE001 - an error in one worker must not stop the others
                self._report_error(error)
            raise_if_cancelled()
            await asyncio.sleep(backoff.after_run(time() - started_at))

    async def _run_worker(self) -> None:
        destinations = self._deps.appdb.destinations
        destination = await destinations.find_by_id(self._destination_id)
        secrets = await destinations.secret_texts(self._destination_id)
        if destination is None:
            return
        client = self._open_destination(destination, secrets)
        self._worker = DestinationWorker(destination, client, self._deps, self._metrics)
        await self._worker.run(lambda: self._report_error(None))
