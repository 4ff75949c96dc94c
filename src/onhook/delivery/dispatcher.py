"""Runs a worker per destination, and restarts it when an operator has changed the destination.

Invariants: no worker can delay or fail another one; a change by an operator has effect within a second.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence

from onhook.appdb.appdb import AppDb
from onhook.delivery.destinations.contract import OpenDestination
from onhook.delivery.issues import Issue, IssueTracker, find_all_issues
from onhook.delivery.metrics import AttemptMetrics
from onhook.delivery.status import DestinationTestResult, send_test
from onhook.delivery.worker import DeliveryDeps, DestinationWorker
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError

POLL_SECONDS = 0.25
"""How often the settings are checked for changes; a check costs microseconds."""

WORKER_RESTART_SECONDS = 5.0
"""Wait before a failed worker is restarted."""

STOP_SECONDS_MAX = 4.0
"""Time for all workers together to stop: aborting attempts and committing takes milliseconds, and the process is given
15 seconds.
"""

ISSUE_CHECK_SECONDS = 5.0
"""How often issues of destinations are checked; checking full ones costs milliseconds."""

DeliveryErrorCallback = Callable[[str, Exception | None], None]
"""Receives the name of what failed and the error, or None when the error is over; each once."""

IssueCallback = Callable[[Issue, bool], None]
"""Receives an issue of a destination, and whether it has begun or is over; each once."""


class DeliveryDispatcher:
    """Created once per process, inside its event loop."""

    def __init__(
        self,
        *,
        deps: DeliveryDeps,
        open_destination: OpenDestination,
        on_error: DeliveryErrorCallback,
        on_issue: IssueCallback,
    ) -> None:
        self._deps = deps
        self._open_destination = open_destination
        self._on_error = on_error
        self._on_issue = on_issue
        self._issue_tracker = IssueTracker()
        self._issues_checked_at = 0.0
        self._is_appdb_unavailable = False
        self._supervisors: dict[int, _WorkerSupervisor] = {}
        self._metrics: dict[int, AttemptMetrics] = {}
        self._appdb_version: tuple[int, int] | None = None

    @property
    def metrics(self) -> Mapping[int, AttemptMetrics]:
        """Return the metrics since the start, by destination."""
        return self._metrics

    async def run(self) -> None:
        """Run until cancelled; returns after every worker has committed its results."""
        self._appdb_version = None
        try:
            while True:
                try:
                    await self._sync_workers()
                    await self._check_issues()
                except OnhookError as error:
                    self._report_appdb_error(error)
                else:
                    self._report_appdb_error(None)
                await asyncio.sleep(POLL_SECONDS)
        finally:
            await self._stop_workers(list(self._supervisors))

    async def _sync_workers(self) -> None:
        """Start, stop and restart workers to match the settings. Raises `Unavailable`."""
        version = await asyncio.to_thread(self._deps.appdb.version)
        if version == self._appdb_version:
            return
        active_revisions = await asyncio.to_thread(self._active_revisions)
        newest_stream_ids = await asyncio.to_thread(self._deps.appdb.destinations.newest_stream_ids)
        await self._stop_workers(
            [
                destination_id
                for destination_id, supervisor in self._supervisors.items()
                if active_revisions.get(destination_id) != supervisor.revision
            ]
        )
        for destination_id, revision in active_revisions.items():
            if destination_id in self._supervisors:
                self._supervisors[destination_id].update_newest_stream(newest_stream_ids.get(destination_id, 0))
            else:
                metrics = self._metrics.setdefault(destination_id, AttemptMetrics())
                self._supervisors[destination_id] = _WorkerSupervisor(
                    destination_id, revision, metrics, self._deps, self._open_destination, self._on_error
                )
        # Last, so that settings that could not be read now are read again.
        self._appdb_version = version

    async def _check_issues(self) -> None:
        """Report issues of destinations that have changed. Raises `Unavailable`."""
        now = asyncio.get_running_loop().time()
        if now - self._issues_checked_at < ISSUE_CHECK_SECONDS:
            return
        self._issues_checked_at = now
        appdb = self._deps.appdb
        destinations = await asyncio.to_thread(appdb.destinations.all)
        backlogs = await asyncio.to_thread(appdb.deliveries.backlogs)
        new_issues, resolved_issues = self._issue_tracker.update(
            find_all_issues(destinations, backlogs, self._deps.clock.now())
        )
        for issue in new_issues:
            self._on_issue(issue, True)
        for issue in resolved_issues:
            self._on_issue(issue, False)

    def _report_appdb_error(self, error: OnhookError | None) -> None:
        """Report that the settings cannot be read, or can be read again."""
        if (error is not None) is not self._is_appdb_unavailable:
            self._on_error("application database", error)
        self._is_appdb_unavailable = error is not None

    def _active_revisions(self) -> dict[int, int]:
        """Return the revisions of active destinations."""
        revisions = self._deps.appdb.destinations.revisions()
        return {
            destination_id: revision for destination_id, (revision, state) in revisions.items() if state == "active"
        }

    async def _stop_workers(self, destination_ids: Sequence[int]) -> None:
        """Stop these workers concurrently, after each has committed its results."""
        supervisors = [self._supervisors[destination_id] for destination_id in destination_ids]
        for supervisor in supervisors:
            supervisor.stop()
        await wait_or_cancel([supervisor.task for supervisor in supervisors], STOP_SECONDS_MAX)
        for destination_id in destination_ids:
            # Removed last, so that they are still known here when this is itself cancelled.
            del self._supervisors[destination_id]


async def wait_or_cancel(tasks: Collection[asyncio.Task[None]], seconds_max: float) -> None:
    """Wait until all tasks have ended; cancel those that do not end in time."""
    if not tasks:
        return
    _done_tasks, overdue_tasks = await asyncio.wait(tasks, timeout=seconds_max)
    for task in overdue_tasks:
        task.cancel()
    if overdue_tasks:
        await asyncio.wait(overdue_tasks)


class _WorkerSupervisor:
    """One destination in one revision: its worker, and the next worker when that one failed."""

    def __init__(  # noqa: PLR0917 - passed on unchanged
        self,
        destination_id: int,
        revision: int,
        metrics: AttemptMetrics,
        deps: DeliveryDeps,
        open_destination: OpenDestination,
        on_error: DeliveryErrorCallback,
    ) -> None:
        self.revision = revision
        self._destination_id = destination_id
        self._metrics = metrics
        self._deps = deps
        self._open_destination = open_destination
        self._on_error = on_error
        self._stop_event = asyncio.Event()
        self._worker: DestinationWorker | None = None
        self._newest_stream_id = 0
        self._is_error_reported = False
        self.task = asyncio.create_task(self._run_until_stopped())

    def update_newest_stream(self, stream_id: int) -> None:
        """Store the number of the newest stream; a different one is a requested replay."""
        if self._worker is not None and stream_id != self._newest_stream_id:
            self._worker.reload_streams()
        self._newest_stream_id = stream_id

    def stop(self) -> None:
        """Stop soon."""
        self._stop_event.set()
        if self._worker is not None:
            self._worker.stop()

    async def _run_until_stopped(self) -> None:
        """Run workers until stopped, or until the destination is removed or disabled."""
        while not self._stop_event.is_set():
            try:
                await self._run_worker()
            except Exception as error:  # noqa: BLE001 - an error in one worker must not stop the others
                self._report_error(error)
                await self._wait_before_restart()
            else:
                break
        self._report_error(None)

    def _report_error(self, error: Exception | None) -> None:
        """Report that the destination cannot be served now, or that this is over; each once."""
        if (error is not None) is not self._is_error_reported:
            self._on_error(f"destination {self._destination_id}", error)
        self._is_error_reported = error is not None

    async def _run_worker(self) -> None:
        destinations = self._deps.appdb.destinations
        destination = await asyncio.to_thread(destinations.find_by_id, self._destination_id)
        secrets = await asyncio.to_thread(destinations.secret_texts, self._destination_id)
        if destination is None or self._stop_event.is_set():
            return
        self._worker = DestinationWorker(
            destination, self._open_destination(destination, secrets), self._deps, self._metrics
        )
        await self._worker.run(lambda: self._report_error(None))

    async def _wait_before_restart(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WORKER_RESTART_SECONDS):
                await self._stop_event.wait()


async def send_test_by_name(
    appdb: AppDb, open_destination: OpenDestination, clock: Clock, name: str
) -> DestinationTestResult:
    """Send a test to the destination with this name. Raises `NotFound`."""
    destination = appdb.destinations.get(name)
    return await send_test(
        open_destination(destination, appdb.destinations.secret_texts(destination.destination_id)),
        clock,
    )
