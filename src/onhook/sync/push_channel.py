"""The push channel of one PBX: events as they happen, over a WebSocket that we open.

Laws: what arrives goes through the same door as a webhook's. A new socket stands before the old one is closed, so that
no event falls in between; a socket that is lost is opened again for ever, ever more rarely and never all at once. An
event that cannot be kept is held until it can be, and nothing more is read meanwhile.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import aiohttp

from onhook.lib.errors import NotAllowed, OnhookError
from onhook.pbx.client import Push, Step
from onhook.receiver.ingest import Accept
from onhook.receiver.pbx_registry import Declared
from onhook.sync.pbx_session import Account

WEBSOCKET = "websocket"
"""What the ledger calls this way in."""

AGAIN_SECONDS_FIRST = 1.0
AGAIN_SECONDS_MAX = 120.0
"""Between two tries to open a socket: doubling up to this, spread over half of it."""

STEADY_SECONDS = 60.0
"""A socket that lived so long was a good one: the next wait is the first again."""

DRAIN_SECONDS = 3.0
"""The old socket is read on for so long after the new one stands: what was on its way still arrives."""

TAKE_OVER_SECONDS_MAX = 30.0
"""A new socket that does not stand by then is given up; the old one lives on until its token ends."""

HALTED_SECONDS = 60.0
"""How often we look whether a person has acted, where only a person can help. It costs no request."""

KEEP_AGAIN_SECONDS = 0.5
"""An event that could not be kept is tried again so soon."""


class Watch(Protocol):
    """Is told how the channel fares."""

    def is_heard(self, since: float, until: float) -> None:
        """It was proven to deliver between these moments (Unix seconds)."""
        ...

    def has_connected(self) -> None:
        """A channel stands, where none stood before."""
        ...

    def has_failed(self, error: OnhookError) -> None:
        """It cannot be opened, or was lost."""
        ...


class PushIntake:
    """Keeps one channel open for ever."""

    def __init__(
        self, *, account: Account, accept: Accept, sender: Declared, watch: Watch, chance: Callable[[], float]
    ) -> None:
        self._account = account
        self._accept = accept
        self._sender = sender
        self._watch = watch
        self._chance = chance

    async def run(self) -> None:
        """Receive for ever. Ends by cancellation only, and then closes its sockets."""
        pause = AGAIN_SECONDS_FIRST
        while True:
            began_at = self._account.now()
            try:
                await self._connected()
            except NotAllowed as error:
                self._watch.has_failed(error)
                await asyncio.sleep(HALTED_SECONDS)
                continue
            except OnhookError as error:
                self._watch.has_failed(error)
            pause = AGAIN_SECONDS_FIRST if self._account.now() - began_at > STEADY_SECONDS else pause
            await asyncio.sleep(pause * (0.5 + self._chance() / 2))
            pause = min(2 * pause, AGAIN_SECONDS_MAX)

    async def _connected(self) -> None:
        """One channel after the other, each standing before the one before it goes; raises why the last was lost."""
        step = await self._account.token()
        current = await self._opened(step)
        self._watch.has_connected()
        try:
            while True:
                await asyncio.wait({current.task}, timeout=max(0.0, step.until - self._account.now()))
                if current.task.done():
                    raise current.trouble()
                step = await self._account.token()
                if step.token != current.token:
                    current = await self._taken_over(current, step)
        finally:
            await current.close()

    async def _taken_over(self, old: "_Socket", step: Step) -> "_Socket":
        """A new channel with a new token, or the old one where that does not stand."""
        try:
            new = await self._opened(step)
        except OnhookError as error:
            self._watch.has_failed(error)
            return old
        await asyncio.wait({old.task}, timeout=DRAIN_SECONDS)
        await old.close()
        await self._account.release()
        return new

    async def _opened(self, step: Step) -> "_Socket":
        """A channel that the PBX has said it will deliver over. Raises `Unavailable`."""
        socket = _Socket(await self._account.open_push(step.token), step.token, self)
        stands = asyncio.create_task(socket.stands.wait())
        await asyncio.wait({stands, socket.task}, timeout=TAKE_OVER_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED)
        stands.cancel()
        if socket.stands.is_set() and not socket.task.done():
            return socket
        await socket.close()
        raise socket.trouble()

    async def keep(self, event: bytes) -> None:
        """Through the door; held until the ledger can be written."""
        keep = self._accept.keep
        while await keep(self._sender, event, WEBSOCKET, self._account.host) in _NOT_NOW:  # noqa: ASYNC110 - of a disk no event tells
            await asyncio.sleep(KEEP_AGAIN_SECONDS)

    def new_push(self) -> Push:
        """A machine for one socket."""
        return self._account.link.push()

    def now(self) -> float:
        """Unix seconds."""
        return self._account.now()

    def is_heard(self, push: Push) -> None:
        """Tell what a socket has proven so far."""
        if push.alive_since is not None and push.alive_until is not None:
            self._watch.is_heard(push.alive_since, push.alive_until)

    def lost(self, why: str) -> OnhookError:
        """The error that says why a socket is no good."""
        return OnhookError(f"the push channel is lost: {why}", where=self._account.host, todo="it is opened again")


_NOT_NOW = ("unavailable", "too_many")


class _Socket:
    """One socket, and the task that reads it until it is no good any more."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, token: str, house: PushIntake) -> None:
        self.token = token
        self.stands = asyncio.Event()
        self._socket = socket
        self._house = house
        self._push = house.new_push()
        self.task = asyncio.create_task(self._serve())

    def trouble(self) -> OnhookError:
        """Why it is no good."""
        return self._house.lost(self._push.trouble or "the PBX does not answer")

    async def close(self) -> None:
        """Stop reading and close; what was proven is told."""
        self.task.cancel()
        await asyncio.wait({self.task})
        with suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._socket.close()

    async def _serve(self) -> None:
        push, reading = self._push, asyncio.create_task(self._socket.receive())
        try:
            await self._say(push.opened(self._house.now()))
            while not push.trouble:
                await asyncio.wait({reading}, timeout=max(0.0, push.deadline - self._house.now()))
                if not reading.done():
                    await self._say(push.tick(self._house.now()))
                    continue
                await self._hear(reading.result())
                reading = asyncio.create_task(self._socket.receive())
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            push.trouble = push.trouble or type(error).__name__  # its text may hold the address, and so the token
        finally:
            reading.cancel()
            await asyncio.wait({reading})

    async def _say(self, texts: Sequence[str]) -> None:
        for text in texts:
            await self._socket.send_str(text)

    async def _hear(self, frame: aiohttp.WSMessage) -> None:
        if frame.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            self._push.trouble = f"the PBX closes it ({self._socket.close_code or frame.type.name.lower()})"
            return
        text = frame.data if isinstance(frame.data, str) else frame.data.decode("utf-8", "replace")
        event = self._push.hear(text, self._house.now())
        if event is not None:
            await self._house.keep(event)
        if self._push.alive_since is not None:
            self.stands.set()
            self._house.is_heard(self._push)
