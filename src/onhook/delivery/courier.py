"""Serves all subscriptions, each in a lane of its own, and looks whether people have changed any.

Laws: no lane can hold up another one, also not by failing; what people do to a subscription counts within a second.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence

from onhook.clock import Clock
from onhook.delivery.figures import Figures
from onhook.delivery.lane import Lane, Means
from onhook.delivery.standing import Tried, try_out
from onhook.errors import OnhookError
from onhook.settings.settings import Settings
from onhook.settings.subscriptions import Subscription
from onhook.sinks.sink import Destination, Sink, Sinks

LOOK_SECONDS = 0.25
"""How often we look whether the settings have changed; a look costs microseconds."""

AGAIN_SECONDS = 5.0
"""The wait before a lane that failed begins again."""

TellTrouble = Callable[[str, Exception | None], None]
"""Is told who cannot be served now and why, or None when that is over."""


class Courier:
    """Made once per process, inside its event loop."""

    def __init__(self, *, means: Means, sinks: Sinks, tell_trouble: TellTrouble) -> None:
        self._means = means
        self._sinks = sinks
        self._tell_trouble = tell_trouble
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
                await self._look()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await self._stop(list(self._served))

    async def _look(self) -> None:
        """Begin, end and begin again what people asked for."""
        try:
            wanted = await asyncio.to_thread(self._wanted)
        except OnhookError as error:
            self._tell_trouble("all", error)
            return
        if wanted is None:
            return
        streams = await asyncio.to_thread(self._means.settings.subscriptions.newest_streams)
        await self._stop([number for number, one in self._served.items() if wanted.get(number) != one.revision])
        for number, revision in wanted.items():
            if number in self._served:
                self._served[number].note_stream(streams.get(number, 0))
            else:
                figures = self._figures.setdefault(number, Figures())
                self._served[number] = _Served(number, revision, figures, self._means, self._sinks, self._tell_trouble)

    def _wanted(self) -> dict[int, int] | None:
        """Revisions of those to serve; None where nobody has written anything since."""
        version = self._means.settings.version()
        if version == self._seen:
            return None
        revisions = self._means.settings.subscriptions.revisions()
        self._seen = version
        return {number: revision for number, (revision, state) in revisions.items() if state == "active"}

    async def _stop(self, numbers: Sequence[int]) -> None:
        """End those lanes, after each has noted what it did."""
        for number in numbers:
            self._served[number].stop()
        for number in numbers:
            # Forgotten last, so that they are still known here when this is itself cut short.
            await self._served[number].ended()
            del self._served[number]


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
        self._task = asyncio.create_task(self._serve_on())

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

    async def ended(self) -> None:
        """Return when it has come to its end."""
        await asyncio.wait([self._task])

    async def _serve_on(self) -> None:
        """Serve until told to stop, the subscription is gone, or it is given up."""
        is_in_trouble = False
        while not self._stopping.is_set():
            try:
                await self._serve()
            except Exception as error:  # noqa: BLE001 - whatever befalls one lane, the others go on
                is_in_trouble = True
                self._tell_trouble(f"subscription {self._number}", error)
                await self._pause()
            else:
                break
        if is_in_trouble:
            self._tell_trouble(f"subscription {self._number}", None)

    async def _serve(self) -> None:
        subscriptions = self._means.settings.subscriptions
        one = await asyncio.to_thread(subscriptions.with_id, self._number)
        secrets = await asyncio.to_thread(subscriptions.signing_texts, self._number)
        if one is None or self._stopping.is_set():
            return
        self._lane = Lane(one, open_sink(self._sinks, one, secrets), self._means, self._figures)
        await self._lane.run()

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(AGAIN_SECONDS):
                await self._stopping.wait()


def open_sink(sinks: Sinks, one: Subscription, secrets: tuple[str, ...]) -> Sink:
    """The destination of a subscription. Raises `UsageError` for a kind that is not known."""
    return sinks[one.sink](
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
