"""Runs a worker per destination, by a lease, and restarts it when an operator has changed the destination.

Invariants: no worker can delay or fail another one; a change by an operator has effect within a second, or two while
attempts of a changed destination are given time to end.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.delivery_rows import Backlog
from onhook.appdb.destination_spec import log_days_of
from onhook.appdb.destinations import Destination
from onhook.delivery.destinations.contract import OpenDestination
from onhook.delivery.issues import Issue, find_all_issues
from onhook.delivery.metrics import AttemptMetrics
from onhook.delivery.status import DestinationTestResult, send_test
from onhook.delivery.worker import DeliveryDeps
from onhook.delivery.worker_supervisor import WorkerSupervisor
from onhook.lib.change_watcher import ChangeWatcher, appdb_failure_log
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.lib.task_reconciler import TaskReconciler
from onhook.lib.transition_log import TransitionLog, Transitions

POLL_SECONDS = 0.25
"""Time between two checks of the settings while they change all the time, as by commits of deliveries."""

STOP_SECONDS_MAX = 4.0
"""Time for all workers together to stop: attempts in progress have a second, and committing takes milliseconds."""

ISSUE_CHECK_SECONDS = 5.0
"""How often issues of destinations are checked; checking full ones costs milliseconds."""

DeliveryErrorCallback = Callable[[int, str, Exception | None], None]
"""Receives number and name of a destination and its error, or None when the error is over; each once."""

IssueCallback = Callable[[Issue, bool], None]
"""Receives an issue of a destination, and whether it has begun or is over; each once."""


class DispatcherSettings(msgspec.Struct, frozen=True):
    """Revisions of the active destinations; newest stream and name of each destination; all by its number."""

    revisions: Mapping[int, int]
    newest_stream_ids: Mapping[int, int]
    names: Mapping[int, str]


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
        self._failures = Transitions[tuple[int, str]]()
        self._names: Mapping[int, str] = {}
        log = logging.getLogger("delivery")
        self._failure_log = appdb_failure_log(log, consequence="destinations are served with their last settings")
        self._issue_failure_log = TransitionLog(
            log, begins="cannot check destinations for issues", ends="destinations can be checked for issues again"
        )
        self._issues = Transitions[Issue]()
        self._backlogs = ChangeWatcher(deps.appdb, self._read_backlogs)
        self._issues_checked_at = 0.0
        self._supervisors: dict[int, WorkerSupervisor] = {}
        self._metrics: dict[int, AttemptMetrics] = {}

    @property
    def metrics(self) -> Mapping[int, AttemptMetrics]:
        """Return the metrics since the start, by destination."""
        return self._metrics

    async def run(self) -> None:
        """Run until cancelled; returns after every worker has committed its results."""
        watcher = ChangeWatcher(self._deps.appdb, self._read_settings)
        workers = TaskReconciler[int, int](self._supervise, name="destination", stop_seconds_max=STOP_SECONDS_MAX)
        try:
            while True:
                await self._run_cycle(watcher, workers)
                await watcher.wait(POLL_SECONDS, ISSUE_CHECK_SECONDS)
        finally:
            await workers.close()

    async def _run_cycle(self, watcher: ChangeWatcher[DispatcherSettings], workers: TaskReconciler[int, int]) -> None:
        settings = await watcher.poll_or_log(self._failure_log)
        if settings is not None:
            self._names = settings.names
            await workers.reconcile(settings.revisions)
            self._announce_streams(settings.newest_stream_ids)
        if not self._failure_log.is_on:
            await self._check_issues()

    async def _read_settings(self) -> DispatcherSettings:
        """Read the settings. Raises `Unavailable`."""
        destinations = self._deps.appdb.destinations
        revisions = (await destinations.revisions()).items()
        return DispatcherSettings(
            {destination_id: revision for destination_id, (revision, state) in revisions if state == "active"},
            await destinations.newest_stream_ids(),
            await destinations.names(),
        )

    def _announce_streams(self, newest_stream_ids: Mapping[int, int]) -> None:
        """Notify the workers of requested replays."""
        for destination_id, supervisor in self._supervisors.items():
            supervisor.update_newest_stream(newest_stream_ids.get(destination_id, 0))

    async def _supervise(self, destination_id: int, revision: int) -> None:
        """Serve one destination in one revision."""
        supervisor = self._supervisors[destination_id] = WorkerSupervisor(
            destination_id,
            deps=self._deps,
            open_destination=self._open_destination,
            metrics=self._metrics.setdefault(destination_id, AttemptMetrics()),
            report_error=partial(self._report_error, destination_id, revision),
        )
        try:
            await self._deps.run_leased(f"destination:{destination_id}", supervisor.run)
        finally:
            del self._supervisors[destination_id]

    async def _check_issues(self) -> None:
        """Report issues of destinations that have changed; log the begin and the end of a failure."""
        now = asyncio.get_running_loop().time()
        if now - self._issues_checked_at < ISSUE_CHECK_SECONDS:
            return
        self._issues_checked_at = now
        try:
            new_issues, resolved_issues = self._issues.update(await self._read_issues())
        except OnhookError as error:
            self._issue_failure_log.begin(error=str(error))
            return
        self._issue_failure_log.end()
        for issue in new_issues:
            self._on_issue(issue, True)
        for issue in resolved_issues:
            self._on_issue(issue, False)

    async def _read_issues(self) -> dict[Hashable, Issue]:
        destinations, backlogs = await self._backlogs.current()
        return {issue.key: issue for issue in find_all_issues(destinations, backlogs, self._deps.clock.now())}

    async def _read_backlogs(self) -> tuple[Sequence[Destination], Mapping[int, Backlog]]:
        appdb = self._deps.appdb
        return await appdb.destinations.all(), await appdb.deliveries.backlogs()

    def _report_error(self, destination_id: int, revision: int, error: Exception | None) -> None:
        """Report an error of a destination, or that it is over, once; again when the error or the destination has
        changed.
        """
        failures = self._failures
        if failures.end(destination_id) if error is None else failures.begin(destination_id, (revision, str(error))):
            self._on_error(destination_id, self._names.get(destination_id, ""), error)


async def send_test_by_name(
    appdb: AppDb,
    open_destination: OpenDestination,
    clock: Clock,
    name: str,
    *,
    is_sample: bool = False,
    log_days: int = 0,
) -> DestinationTestResult:
    """Send a test to the destination with this name, or a sample event; it is in the destination's log. `log_days` are
    those of the installation. Raises `NotFound`.
    """
    destination = await appdb.destinations.get(name)
    client = open_destination(destination, await appdb.destinations.secret_texts(destination.destination_id))
    is_logged = log_days_of(destination, log_days) > 0
    log_attempt = partial(appdb.destination_log.add, destination.destination_id) if is_logged else None
    return await send_test(client, clock, is_sample=is_sample, log_attempt=log_attempt)
