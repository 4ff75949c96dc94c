"""Follows the end of a stream: the servers push the number of each new message, without its body."""

import asyncio
from collections.abc import Mapping

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from onhook.ledger.jetstream_client import JetStreamClient
from onhook.lib.errors import OnhookError

HEARTBEAT_SECONDS = 1.0
SILENCE_SECONDS_MAX = 3.0
"""Without a message or a heartbeat for so long, the server that pushed is gone, or the connection was lost."""

RETRY_SECONDS = 0.5
NANOSECONDS = 1_000_000_000


class StreamFollower:
    """Wakes up waiting tasks. The first wait starts it."""

    def __init__(self, client: JetStreamClient, stream: str) -> None:
        self._client = client
        self._stream = stream
        self._event = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_following = asyncio.Event()
        self._pushed = asyncio.Event()

    async def prepare(self) -> asyncio.Event:
        """Return what is set with the next message: a message that is stored from now on is not missed. It may be set
        without one.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="ledger follower")
        event = self._event
        await self._is_following.wait()
        return event

    async def close(self) -> None:
        """Stop following; waiting tasks are not woken up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            try:
                subscription = await self._subscribe()
            except (OnhookError, OSError, nats.errors.Error):
                # Those who wait ask the ledger, and report what is wrong.
                self._wake_up()
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._wake_up()
            while await self._is_pushed_to():
                pass
            self._is_following.clear()
            await _unsubscribe(subscription)

    async def _is_pushed_to(self) -> bool:
        """Return whether a message or a heartbeat comes soon."""
        self._pushed.clear()
        try:
            async with asyncio.timeout(SILENCE_SECONDS_MAX):
                await self._pushed.wait()
        except TimeoutError:
            return False
        return True

    async def _subscribe(self) -> Subscription:
        """Have the server push what is stored from now on."""
        client = await self._client.connect()
        inbox = client.new_inbox()
        subscription = await client.subscribe(inbox, cb=self._receive)
        configuration: Mapping[str, object] = {
            "deliver_subject": inbox,
            "deliver_policy": "new",
            "ack_policy": "none",
            "replay_policy": "instant",
            "headers_only": True,
            "idle_heartbeat": round(HEARTBEAT_SECONDS * NANOSECONDS),
            "inactive_threshold": round(SILENCE_SECONDS_MAX * NANOSECONDS),
            "mem_storage": True,
            "num_replicas": 1,
        }
        try:
            await self._client.call(f"CONSUMER.CREATE.{self._stream}", stream_name=self._stream, config=configuration)
        except BaseException:
            await _unsubscribe(subscription)
            raise
        self._is_following.set()
        return subscription

    async def _receive(self, message: Msg) -> None:
        self._pushed.set()
        if "Status" not in (message.headers or {}):
            self._wake_up()

    def _wake_up(self) -> None:
        event, self._event = self._event, asyncio.Event()
        event.set()


async def _unsubscribe(subscription: Subscription) -> None:
    try:
        await subscription.unsubscribe()
    except nats.errors.Error:
        return  # with the connection, the subscription is gone
