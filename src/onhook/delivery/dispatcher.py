"""Serves all subscriptions, each in a lane of its own, and looks whether people have changed any.

Laws: no lane can hold up another one, also not by failing; what people do to a subscription counts within a second.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence

from onhook.appdb.appdb import Settings
from onhook.appdb.destinations import Subscription
from onhook.delivery.destinations.contract import Destination, Sink, Sinks
from onhook.delivery.issues import Plight, PlightLog, all_plights
from onhook.delivery.metrics import Figures
from onhook.delivery.status import Tried, try_out
from onhook.delivery.worker import Lane, Means
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError, UsageError

LOOK_SECONDS = 0.25
"""How often we look whether the settings have changed; a look costs microseconds."""

AGAIN_SECONDS = 5.0
"""The wait before a lane that failed begins again."""

END_SECONDS_MAX = 5.0
"""What lanes are given to come to an end, all together: to break off attempts and commit takes milliseconds, and the
process as a whole is given 15 seconds."""

PLIGHTS_SECONDS = 5.0
"""How often we look how subscriptions fare; a look at full ones costs milliseconds."""

TellTrouble = Callable[[str, Exception | None], None]
"""Is told who cannot be served now and why, or None when that is over; each once."""

TellPlight = Callable[[Plight, bool], None]
"""Is told what is wrong with a subscription, and whether that has just begun or is over; each once."""


class Courier:
    """Made once per process, inside its event loop."""

    def __init__(self, *, means: Means, sinks: Sinks, tell_trouble: TellTrouble, tell_plight: TellPlight) -> None:
        self._means = means
        self._sinks = sinks
        self._tell_trouble = tell_trouble
        self._tell_plight = tell_plight
        self._plights = PlightLog()
        self._looked_at = 0.0
        self._is_blind = False
        self._served: dict[int, _Served] = {}
        self._figures: dict[int, Figures] = {}
        self._seen: tuple[int, int] | None = None

    @property
    def figures(self) -> Mapping[int, Figures]:
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
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await self._stop(list(self._served))

    async def _look(self) -> None:
        """Begin, end and begin again what people asked for. Raises `Unavailable`."""
        version = await asyncio.to_thread(self._means.settings.version)
        if version == self._seen:
            return
        wanted = await asyncio.to_thread(self._wanted)
        streams = await asyncio.to_thread(self._means.settings.subscriptions.newest_streams)
        await self._stop([number for number, one in self._served.items() if wanted.get(number) != one.revision])
        for number, revision in wanted.items():
            if number in self._served:
                self._served[number].note_stream(streams.get(number, 0))
            else:
                figures = self._figures.setdefault(number, Figures())
                self._served[number] = _Served(number, revision, figures, self._means, self._sinks, self._tell_trouble)
        # Last, so that what could not be read now is looked at again.
        self._seen = version

    async def _look_at_plights(self) -> None:
        """Tell how subscriptions fare, where that has changed. Raises `Unavailable`."""
        now = asyncio.get_running_loop().time()
        if now - self._looked_at < PLIGHTS_SECONDS:
            return
        self._looked_at = now
        settings = self._means.settings
        subscriptions = await asyncio.to_thread(settings.subscriptions.all)
        backlogs = await asyncio.to_thread(settings.deliveries.backlogs)
        begun, over = self._plights.news(all_plights(subscriptions, backlogs, self._means.clock.now()))
        for plight in begun:
            self._tell_plight(plight, True)
        for plight in over:
            self._tell_plight(plight, False)

    def _tell_blindness(self, error: OnhookError | None) -> None:
        """The settings cannot be read, or can be read again."""
        if (error is not None) is not self._is_blind:
            self._tell_trouble("all", error)
        self._is_blind = error is not None

    def _wanted(self) -> dict[int, int]:
        """Revisions of those to serve."""
        revisions = self._means.settings.subscriptions.revisions()
        return {number: revision for number, (revision, state) in revisions.items() if state == "active"}

    async def _stop(self, numbers: Sequence[int]) -> None:
        """End those lanes, side by side, after each has noted what it did."""
        ending = [self._served[number] for number in numbers]
        for one in ending:
            one.stop()
        await end_all([one.task for one in ending], END_SECONDS_MAX)
        for number in numbers:
            # Forgotten last, so that they are still known here when this is itself cut short.
            del self._served[number]


async def end_all(tasks: Collection[asyncio.Task[None]], seconds_max: float) -> None:
    """Wait until all have come to an end by themselves; those that do not in time are broken off."""
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=seconds_max)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late)


class _Served:
    """One subscription in one revision: its lane, and the next lane when that one failed."""

    def __init__(  # noqa: PLR0917 - handed on as they came
        self, number: int, revision: int, figures: Figures, means: Means, sinks: Sinks, tell_trouble: TellTrouble
    ) -> None:
        self.revision = revision
        self._number = number
        self._figures = figures
        self._means = means
        self._sinks = sinks
        self._tell_trouble = tell_trouble
        self._stopping = asyncio.Event()
        self._lane: Lane | None = None
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
        subscriptions = self._means.settings.subscriptions
        one = await asyncio.to_thread(subscriptions.with_id, self._number)
        secrets = await asyncio.to_thread(subscriptions.signing_texts, self._number)
        if one is None or self._stopping.is_set():
            return
        self._lane = Lane(one, open_sink(self._sinks, one, secrets), self._means, self._figures)
        await self._lane.run(lambda: self._tell(None))

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(AGAIN_SECONDS):
                await self._stopping.wait()


def open_sink(sinks: Sinks, one: Subscription, secrets: tuple[str, ...]) -> Sink:
    """The destination of a subscription. Raises `UsageError` for a kind that is not known."""
    open_one = sinks.get(one.sink)
    if open_one is None:
        raise UsageError(
            f"{one.name} is to be told by {one.sink[:80]!r}, which this Onhook cannot",
            todo=f"upgrade, or remove it; what is known: {', '.join(sorted(sinks))}",
        )
    return open_one(
        Destination(
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


async def try_by_name(settings: Settings, sinks: Sinks, clock: Clock, name: str) -> Tried:
    """Send a test to the subscription of that name. Raises `NotFound`."""
    one = settings.subscriptions.get(name)
    return await try_out(open_sink(sinks, one, settings.subscriptions.signing_texts(one.subscription_id)), clock)
