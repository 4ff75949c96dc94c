"""Push channel of one PBX: events in real time, over a WebSocket that Onhook opens.

Invariants: events are ingested like a webhook's. A new socket is open before the old one is closed, so that no event is
lost in between. A lost socket is reopened without end, at growing intervals with jitter. An event that cannot be stored
is held until it can be, and nothing more is read meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NoReturn, Protocol

import aiohttp

from onhook.cdr.sync_types import PushChannelState, PushChannelStatus
from onhook.lib.backoff import Backoff
from onhook.lib.errors import NotAllowed, OnhookError
from onhook.lib.messages import _
from onhook.lib.task_reconciler import raise_if_cancelled
from onhook.pbx.client import PushChannel, TokenStep
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.receiver.verdict import Verdict
from onhook.sync.alarms import lasting_text
from onhook.sync.ingest_retry import ingest_with_retry
from onhook.sync.pbx_session import PbxSession, TokenRejected

WEBSOCKET = "websocket"
"""The ledger's name of this channel."""

RETRY_SECONDS_FIRST = 1.0
RETRY_SECONDS_MAX = 120.0
"""Wait between two attempts to open a socket: doubles up to this, with jitter over half of it."""

STEADY_SECONDS = 60.0
"""After a socket of this lifetime the waits start again from the first."""

DRAIN_SECONDS = 3.0
"""The old socket is read for this long after the new one is open, because events on their way still arrive."""

TAKE_OVER_SECONDS_MAX = 30.0
"""Time for a new socket to open; after that the old one is used until its token expires."""

HALTED_RETRY_SECONDS = 60.0
"""Interval of the checks of the settings when only an operator can help. Costs no request."""


class ChannelObserver(Protocol):
    """Observer of the channel's state."""

    async def on_alive(self, since: float, until: float) -> None:
        """Handle that the channel was connected between these times (Unix seconds)."""
        ...

    async def on_connected(self) -> None:
        """Handle that a channel is open after there was none."""
        ...

    async def on_failed(self, error: OnhookError) -> None:
        """Handle that the channel could not be opened, or was lost."""
        ...

    async def on_status(self, status: PushChannelStatus) -> None:
        """Handle that the channel has another state."""
        ...


class PushReceiver:
    """Keeps one channel open."""

    def __init__(
        self,
        *,
        session: PbxSession,
        ingestor: Ingestor,
        sender: RegisteredPbx,
        observer: ChannelObserver,
        jitter: Callable[[], float],
    ) -> None:
        self._session = session
        self._ingestor = ingestor
        self._sender = sender
        self._observer = observer
        self._jitter = jitter
        self._was_rejected = False
        self._status = PushChannelStatus(state="opening", since=0)

    async def run(self) -> None:
        """Receive until cancelled; then close the sockets."""
        await self._set_status("opening")
        backoff = Backoff(first=RETRY_SECONDS_FIRST, maximum=RETRY_SECONDS_MAX, steady_seconds=STEADY_SECONDS)
        while True:
            started_at = self._session.now()
            try:
                await self._run_channel()
            except TokenRejected as error:
                raise_if_cancelled()
                await self._fail("token_refused", error)
                # At once with a new token; a PBX that rejects that one too is not asked without a wait.
                if self._was_rejected:
                    await asyncio.sleep(backoff.after_run(self._session.now() - started_at, self._jitter()))
                self._was_rejected = not self._was_rejected
            except NotAllowed as error:
                raise_if_cancelled()
                await self._fail("waiting", error)
                await asyncio.sleep(HALTED_RETRY_SECONDS)
            except OnhookError as error:
                raise_if_cancelled()
                await self._fail("waiting", error)
                await asyncio.sleep(backoff.after_run(self._session.now() - started_at, self._jitter()))

    async def _fail(self, state: PushChannelState, error: OnhookError) -> None:
        await self._observer.on_failed(error)
        await self._set_status(state, lasting_text(error))

    async def _set_status(self, state: PushChannelState, reason: str = "") -> None:
        """Report another state or reason; attempts that fail in the same way are one state."""
        if (state, reason) != (self._status.state, self._status.reason) or not self._status.since:
            self._status = PushChannelStatus(state=state, since=round(self._session.now()), reason=reason)
            await self._observer.on_status(self._status)

    async def _run_channel(self) -> NoReturn:
        """Run one channel after the other, each opened before its predecessor is closed; raise the error of
        the last one.
        """
        step = await self._session.token()
        current = await self._open_socket(step)
        try:
            self._was_rejected = False
            await self._observer.on_connected()
            await self._set_status("connected")
            while True:
                await asyncio.wait({current.task}, timeout=max(0.0, step.until - self._session.now()))
                if current.task.done():
                    raise current.error()
                step = await self._session.token()
                new_socket = None if step.token == current.token else await self._try_open_socket(step)
                if new_socket is not None:
                    # Whatever fails from here on, the new one is closed below, and the old one by its end.
                    old_socket, current = current, new_socket
                    await old_socket.drain()
                    await self._session.revoke_replaced_token()
        finally:
            await current.close()

    async def _try_open_socket(self, step: TokenStep) -> "_PushSocket | None":
        """Return a channel with a new token, or None where it cannot be opened."""
        try:
            return await self._open_socket(step)
        except OnhookError as error:
            await self._observer.on_failed(error)
            return None

    async def _open_socket(self, step: TokenStep) -> "_PushSocket":
        """Return a channel that the PBX has confirmed. Raises `Unavailable`."""
        push_socket = _PushSocket(await self._session.open_push(step.token), step.token, self)
        ready_task = asyncio.create_task(push_socket.ready.wait())
        is_ready = False
        try:
            await asyncio.wait(
                {ready_task, push_socket.task}, timeout=TAKE_OVER_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED
            )
            is_ready = push_socket.ready.is_set() and not push_socket.task.done()
        finally:
            ready_task.cancel()
            if not is_ready:
                await push_socket.close()
        if not is_ready:
            raise push_socket.error()
        return push_socket

    async def ingest(self, event: bytes) -> None:
        """Ingest an event; wait until the ledger can be written."""

        def ingest(body: bytes) -> Awaitable[Verdict]:
            return self._ingestor.ingest(self._sender, body, WEBSOCKET, self._session.host)

        await ingest_with_retry(ingest, [event])

    def new_push(self) -> PushChannel:
        """Return the protocol for one socket."""
        return self._session.client.create_push_channel()

    def now(self) -> float:
        """Return the Unix seconds."""
        return self._session.now()

    async def report_alive(self, push: PushChannel) -> None:
        """Report the time in which a socket was connected."""
        if push.alive_since is not None and push.alive_until is not None:
            await self._observer.on_alive(push.alive_since, push.alive_until)

    def lost_error(self, reason: str) -> OnhookError:
        """Return the error for a lost socket."""
        return OnhookError(
            _("push channel lost: {reason}", reason=reason),
            location=self._session.host,
            hint=_("Onhook reopens it automatically"),
        )


class _PushSocket:
    """One socket, and the task that reads it until it is lost."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, token: str, receiver: PushReceiver) -> None:
        self.token = token
        self.ready = asyncio.Event()
        self._socket = socket
        self._receiver = receiver
        self._push = receiver.new_push()
        self.task = asyncio.create_task(self._run())

    def error(self) -> OnhookError:
        """Return the reason of the loss."""
        return self._receiver.lost_error(self._push.error or _("the PBX does not answer"))

    async def drain(self) -> None:
        """Read for a while what is on its way, then close."""
        try:
            await asyncio.wait({self.task}, timeout=DRAIN_SECONDS)
        finally:
            await self.close()

    async def close(self) -> None:
        """Stop reading, close, and report the time in which it was connected."""
        self.task.cancel()
        await asyncio.wait({self.task})
        with suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._socket.close()

    async def _run(self) -> None:
        push, receive_task = self._push, asyncio.create_task(self._socket.receive())
        try:
            await self._send_texts(push.on_open(self._receiver.now()))
            while not push.error:
                await asyncio.wait({receive_task}, timeout=max(0.0, push.deadline - self._receiver.now()))
                if not receive_task.done():
                    await self._send_texts(push.on_tick(self._receiver.now()))
                    continue
                await self._handle_frame(receive_task.result())
                receive_task = asyncio.create_task(self._socket.receive())
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            push.error = push.error or type(error).__name__  # The text may contain the URL and so the token.
        finally:
            receive_task.cancel()
            await asyncio.wait({receive_task})

    async def _send_texts(self, texts: Sequence[str]) -> None:
        for text in texts:
            await self._socket.send_str(text)

    async def _handle_frame(self, frame: aiohttp.WSMessage) -> None:
        if frame.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            self._push.error = _("closed by the PBX ({code})", code=self._socket.close_code or frame.type.name.lower())
            return
        text = frame.data if isinstance(frame.data, str) else frame.data.decode("utf-8", "replace")
        event = self._push.receive_text(text, self._receiver.now())
        if event is not None:
            await self._receiver.ingest(event)
        if self._push.alive_since is not None:
            self.ready.set()
            await self._receiver.report_alive(self._push)
