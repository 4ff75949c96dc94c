"""Serves all subscriptions, each in a lane of its own, and looks whether people have changed any.

Laws: no lane can hold up another one, also not by failing; what people do to a subscription counts within a second.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence

from onhook.appdb.appdb import AppDb
from onhook.appdb.destinations import Destination
from onhook.delivery.destinations.contract import DestinationClient, DestinationConfig, DestinationKinds
from onhook.delivery.issues import Issue, IssueTracker, find_all_issues
from onhook.delivery.metrics import AttemptMetrics
from onhook.delivery.status import DestinationTestResult, send_test
from onhook.delivery.worker import DeliveryDeps, DestinationWorker
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError, UsageError

POLL_SECONDS = 0.25
"""How often we look whether the settings have changed; a look costs microseconds."""

WORKER_RESTART_SECONDS = 5.0
"""The wait before a lane that failed begins again."""

STOP_SECONDS_MAX = 5.0
"""What lanes are given to come to an end, all together: to break off attempts and commit takes milliseconds, and the
process as a whole is given 15 seconds."""

ISSUE_CHECK_SECONDS = 5.0
"""How often we look how subscriptions fare; a look at full ones costs milliseconds."""

DeliveryErrorCallback = Callable[[str, Exception | None], None]
"""Is told who cannot be served now and why, or None when that is over; each once."""

IssueCallback = Callable[[Issue, bool], None]
"""Is told what is wrong with a subscription, and whether that has just begun or is over; each once."""


class DeliveryDispatcher:
    """Made once per process, inside its event loop."""

    def __init__(
        self,
        *,
        means: DeliveryDeps,
        sinks: DestinationKinds,
        tell_trouble: DeliveryErrorCallback,
        tell_plight: IssueCallback,
    ) -> None:
        self._means = means
        self._sinks = sinks
        self._tell_trouble = tell_trouble
        self._tell_plight = tell_plight
        self._plights = IssueTracker()
        self._looked_at = 0.0
        self._is_blind = False
        self._served: dict[int, _WorkerSupervisor] = {}
        self._figures: dict[int, AttemptMetrics] = {}
        self._seen: tuple[int, int] | None = None

    @property
    def figures(self) -> Mapping[int, AttemptMetrics]:
        """What was counted since the start, by subscription."""
        return self._figures

    async def run(self) -> None:
        """Serve for ever. Ends by cancellation only, after every lane has noted what it did."""
        try:
            while True:
                try:
                    await self._look()
                    await self._look_at_plights()
                except OnhookError as error:
                    self._tell_blindness(error)
                else:
                    self._tell_blindness(None)
                await asyncio.sleep(POLL_SECONDS)
        finally:
            await self._stop(list(self._served))

    async def _look(self) -> None:
        """Begin, end and begin again what people asked for. Raises `Unavailable`."""
        version = await asyncio.to_thread(self._means.settings.version)
        if version == self._seen:
            return
        active_revisions = await asyncio.to_thread(self._wanted)
        newest_stream_ids = await asyncio.to_thread(self._means.settings.subscriptions.newest_streams)
        await self._stop(
            [
                destination_id
                for destination_id, supervisor in self._served.items()
                if active_revisions.get(destination_id) != supervisor.revision
            ]
        )
        for destination_id, revision in active_revisions.items():
            if destination_id in self._served:
                self._served[destination_id].note_stream(newest_stream_ids.get(destination_id, 0))
            else:
                metrics = self._figures.setdefault(destination_id, AttemptMetrics())
                self._served[destination_id] = _WorkerSupervisor(
                    destination_id, revision, metrics, self._means, self._sinks, self._tell_trouble
                )
        # Last, so that what could not be read now is looked at again.
        self._seen = version

    async def _look_at_plights(self) -> None:
        """Tell how subscriptions fare, where that has changed. Raises `Unavailable`."""
        now = asyncio.get_running_loop().time()
        if now - self._looked_at < ISSUE_CHECK_SECONDS:
            return
        self._looked_at = now
        appdb = self._means.settings
        destinations = await asyncio.to_thread(appdb.subscriptions.all)
        backlogs = await asyncio.to_thread(appdb.deliveries.backlogs)
        new_issues, resolved_issues = self._plights.news(
            find_all_issues(destinations, backlogs, self._means.clock.now())
        )
        for issue in new_issues:
            self._tell_plight(issue, True)
        for issue in resolved_issues:
            self._tell_plight(issue, False)

    def _tell_blindness(self, error: OnhookError | None) -> None:
        """The settings cannot be read, or can be read again."""
        if (error is not None) is not self._is_blind:
            self._tell_trouble("all", error)
        self._is_blind = error is not None

    def _wanted(self) -> dict[int, int]:
        """Revisions of those to serve."""
        revisions = self._means.settings.subscriptions.revisions()
        return {
            destination_id: revision for destination_id, (revision, state) in revisions.items() if state == "active"
        }

    async def _stop(self, numbers: Sequence[int]) -> None:
        """End those lanes, side by side, after each has noted what it did."""
        supervisors = [self._served[destination_id] for destination_id in numbers]
        for supervisor in supervisors:
            supervisor.stop()
        await wait_or_cancel([supervisor.task for supervisor in supervisors], STOP_SECONDS_MAX)
        for destination_id in numbers:
            # Forgotten last, so that they are still known here when this is itself cut short.
            del self._served[destination_id]


async def wait_or_cancel(tasks: Collection[asyncio.Task[None]], seconds_max: float) -> None:
    """Wait until all have come to an end by themselves; those that do not in time are broken off."""
    if not tasks:
        return
    _, overdue_tasks = await asyncio.wait(tasks, timeout=seconds_max)
    for task in overdue_tasks:
        task.cancel()
    if overdue_tasks:
        await asyncio.wait(overdue_tasks)


class _WorkerSupervisor:
    """One subscription in one revision: its lane, and the next lane when that one failed."""

    def __init__(  # noqa: PLR0917 - handed on as they came
        self,
        number: int,
        revision: int,
        figures: AttemptMetrics,
        means: DeliveryDeps,
        sinks: DestinationKinds,
        tell_trouble: DeliveryErrorCallback,
    ) -> None:
        self.revision = revision
        self._number = number
        self._figures = figures
        self._means = means
        self._sinks = sinks
        self._tell_trouble = tell_trouble
        self._stopping = asyncio.Event()
        self._lane: DestinationWorker | None = None
        self._newest_stream = 0
        self._is_in_trouble = False
        self.task = asyncio.create_task(self._serve_on())

    def note_stream(self, newest: int) -> None:
        """The number of its newest stream; another one than before is a replay that was asked for."""
        if self._lane is not None and newest != self._newest_stream:
            self._lane.look_for_replays()
        self._newest_stream = newest

    def stop(self) -> None:
        """Come to an end soon."""
        self._stopping.set()
        if self._lane is not None:
            self._lane.stop()

    async def _serve_on(self) -> None:
        """Serve until told to stop, the subscription is gone, or it is given up."""
        while not self._stopping.is_set():
            try:
                await self._serve()
            except Exception as error:  # noqa: BLE001 - whatever befalls one lane, the others go on
                self._tell(error)
                await self._pause()
            else:
                break
        self._tell(None)

    def _tell(self, error: Exception | None) -> None:
        """That it cannot be served now, or that this is over; each once."""
        if (error is not None) is not self._is_in_trouble:
            self._tell_trouble(f"subscription {self._number}", error)
        self._is_in_trouble = error is not None

    async def _serve(self) -> None:
        destinations = self._means.settings.subscriptions
        destination = await asyncio.to_thread(destinations.with_id, self._number)
        secrets = await asyncio.to_thread(destinations.signing_texts, self._number)
        if destination is None or self._stopping.is_set():
            return
        self._lane = DestinationWorker(
            destination, open_destination(self._sinks, destination, secrets), self._means, self._figures
        )
        await self._lane.run(lambda: self._tell(None))

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WORKER_RESTART_SECONDS):
                await self._stopping.wait()


def open_destination(sinks: DestinationKinds, one: Destination, secrets: tuple[str, ...]) -> DestinationClient:
    """The destination of a subscription. Raises `UsageError` for a kind that is not known."""
    open_client = sinks.get(one.sink)
    if open_client is None:
        raise UsageError(
            f"{one.name} is to be told by {one.sink[:80]!r}, which this Onhook cannot",
            todo=f"upgrade, or remove it; what is known: {', '.join(sorted(sinks))}",
        )
    return open_client(
        DestinationConfig(
            url=one.url,
            method=one.method,
            profile=one.profile,
            timeout_seconds=one.timeout_seconds,
            headers=one.headers,
            secrets=secrets,
            with_standard_webhooks=one.with_standard_webhooks,
            allows_private=one.allows_private,
        )
    )


async def send_test_by_name(settings: AppDb, sinks: DestinationKinds, clock: Clock, name: str) -> DestinationTestResult:
    """Send a test to the subscription of that name. Raises `NotFound`."""
    destination = settings.subscriptions.get(name)
    return await send_test(
        open_destination(sinks, destination, settings.subscriptions.signing_texts(destination.subscription_id)), clock
    )
