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
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.sync.pbx_session import PbxSession

WEBSOCKET = "websocket"
"""What the ledger calls this way in."""

RETRY_SECONDS_FIRST = 1.0
RETRY_SECONDS_MAX = 120.0
"""Between two tries to open a socket: doubling up to this, spread over half of it."""

STEADY_SECONDS = 60.0
"""A socket that lived so long was a good one: the next wait is the first again."""

DRAIN_SECONDS = 3.0
"""The old socket is read on for so long after the new one stands: what was on its way still arrives."""

TAKE_OVER_SECONDS_MAX = 30.0
"""A new socket that does not stand by then is given up; the old one lives on until its token ends."""

HALTED_RETRY_SECONDS = 60.0
"""How often we look whether a person has acted, where only a person can help. It costs no request."""

INGEST_RETRY_SECONDS = 0.5
"""An event that could not be kept is tried again so soon."""


class ChannelObserver(Protocol):
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


class PushReceiver:
    """Keeps one channel open for ever."""

    def __init__(
        self,
        *,
        account: PbxSession,
        accept: Ingestor,
        sender: RegisteredPbx,
        watch: ChannelObserver,
        chance: Callable[[], float],
    ) -> None:
        self._account = account
        self._accept = accept
        self._sender = sender
        self._watch = watch
        self._chance = chance

    async def run(self) -> None:
        """Receive for ever. Ends by cancellation only, and then closes its sockets."""
        delay_seconds = RETRY_SECONDS_FIRST
        while True:
            started_at = self._account.now()
            try:
                await self._connected()
            except NotAllowed as error:
                self._watch.has_failed(error)
                await asyncio.sleep(HALTED_RETRY_SECONDS)
                continue
            except OnhookError as error:
                self._watch.has_failed(error)
            delay_seconds = RETRY_SECONDS_FIRST if self._account.now() - started_at > STEADY_SECONDS else delay_seconds
            await asyncio.sleep(delay_seconds * (0.5 + self._chance() / 2))
            delay_seconds = min(2 * delay_seconds, RETRY_SECONDS_MAX)

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

    async def _taken_over(self, old: "_PushSocket", step: Step) -> "_PushSocket":
        """A new channel with a new token, or the old one where that does not stand."""
        try:
            new_socket = await self._opened(step)
        except OnhookError as error:
            self._watch.has_failed(error)
            return old
        await asyncio.wait({old.task}, timeout=DRAIN_SECONDS)
        await old.close()
        await self._account.release()
        return new_socket

    async def _opened(self, step: Step) -> "_PushSocket":
        """A channel that the PBX has said it will deliver over. Raises `Unavailable`."""
        push_socket = _PushSocket(await self._account.open_push(step.token), step.token, self)
        ready_task = asyncio.create_task(push_socket.stands.wait())
        await asyncio.wait(
            {ready_task, push_socket.task}, timeout=TAKE_OVER_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED
        )
        ready_task.cancel()
        if push_socket.stands.is_set() and not push_socket.task.done():
            return push_socket
        await push_socket.close()
        raise push_socket.trouble()

    async def keep(self, event: bytes) -> None:
        """Through the door; held until the ledger can be written."""
        ingest = self._accept.keep
        while await ingest(self._sender, event, WEBSOCKET, self._account.host) in _RETRYABLE_VERDICTS:  # noqa: ASYNC110 - of a disk no event tells
            await asyncio.sleep(INGEST_RETRY_SECONDS)

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


_RETRYABLE_VERDICTS = ("unavailable", "too_many")


class _PushSocket:
    """One socket, and the task that reads it until it is no good any more."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, token: str, house: PushReceiver) -> None:
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
        push, receive_task = self._push, asyncio.create_task(self._socket.receive())
        try:
            await self._say(push.opened(self._house.now()))
            while not push.trouble:
                await asyncio.wait({receive_task}, timeout=max(0.0, push.deadline - self._house.now()))
                if not receive_task.done():
                    await self._say(push.tick(self._house.now()))
                    continue
                await self._hear(receive_task.result())
                receive_task = asyncio.create_task(self._socket.receive())
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            push.trouble = push.trouble or type(error).__name__  # its text may hold the address, and so the token
        finally:
            receive_task.cancel()
            await asyncio.wait({receive_task})

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
