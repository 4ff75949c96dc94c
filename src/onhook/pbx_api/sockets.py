"""WebSocket subscriptions: subscribers, their events and their end (yeastar-p-series.md 5).

Invariants: an event is encoded once for all subscribers with the same format. Frames of new records go straight to each
connection, in one write. There is no queue: unread bytes wait in the connection, and a client with too many is
disconnected. There is no replay: a socket receives what is new while it is open. However many clients send at once,
only a few messages are answered before other tasks run.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final

import msgspec
from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from onhook.appdb.api_clients import App
from onhook.lib.clock import Clock
from onhook.lib.errors import Unavailable
from onhook.pbx.dialect import Dialect
from onhook.pbx_api.applications import AppRegistry, is_address_allowed
from onhook.pbx_api.calls import CallSource, NewRecord
from onhook.pbx_api.codes import (
    MAX_LIMITATION_EXCEEDED,
    PARAMETER_ERROR,
    PARAMETER_SYNTAX_ERROR,
    SUCCESS,
    TOKEN_EXPIRED,
    ApiRequestError,
    response_with_code,
)
from onhook.pbx_api.request import ApiRequest
from onhook.pbx_api.responses import SocketResponse
from onhook.pbx_api.tokens import AppTokens

CALL_END = 30012
"""The only event that is sent. Other topics are accepted and have no events."""

HEARTBEATS: Final = frozenset({"heartbeat", '"heartbeat"'})
"""The bare text of the documentation, and what a client sends that encodes each message as JSON."""

HEARTBEAT_ANSWER = "heartbeat response"
SILENCE_SECONDS_MAX = 60
SWEEP_SECONDS = 0.3
"""Interval of the checks of silence and tokens."""

SOCKETS_MAX = 2_000
SOCKETS_OF_APP_MAX = 1_200
"""Each socket uses some 20 kB, and some microseconds for each batch of new records."""

TOPICS_MAX = 100
"""Topics in one list. The PBX has some 40 events."""

MESSAGE_BYTES_MAX = 4_096
"""Characters of a message. A list of topics has some hundred."""

WRITE_BUFFER_BYTES_MAX = 256 * 1024
"""Unread bytes of a connection, in addition to the kernel's buffer: some 500 events. All sockets together can hold at
most 512 MiB, and only until the next write to each.
"""

NEW_RECORDS_MAX = 500
"""Events in one write; the rest follows at once."""

BATCH_SECONDS = 0.05
"""New records within this time are sent together, because the cost of encrypting for a thousand clients depends on the
number of writes, not of bytes.
"""

RETRY_SECONDS = 1.0
"""Wait after a failed read of new records."""

LISTENERS_PER_BATCH = 100
"""Connections written to before other tasks run."""

MESSAGES_PER_TURN = 8
"""Messages and pings of clients that are answered before other tasks run: less than a millisecond."""

CLOSE_SECONDS_MAX = 2.0
"""Time for the client to confirm the end of the socket."""

_MICROSECONDS = 1_000_000
_FrameKey = tuple[str, tuple[str, ...]]


class _Topics(msgspec.Struct, frozen=True):
    topic_list: list[int]


class Listener:
    """One open socket."""

    def __init__(
        self, socket: web.WebSocketResponse, transport: asyncio.Transport, request: ApiRequest, now_us: int
    ) -> None:
        assert request.grant is not None
        self.client_id = request.owner.client_id
        self.address = request.address
        self.grant = request.grant
        self.set_app(request.owner)
        self.last_message_at = now_us
        self.is_subscribed = False
        self.is_closing = False
        self._socket = socket
        self._transport = transport

    def set_app(self, app: App) -> None:
        """Set the permissions and the format of the app: those of new events."""
        self.frame_key: _FrameKey = (app.behaviour.payload_format, app.pbxs)

    def send(self, frames: bytes) -> None:
        """Write to the connection, or disconnect it when too many bytes are unread."""
        if self._transport.get_write_buffer_size() > WRITE_BUFFER_BYTES_MAX:
            self.is_closing = True
            self._transport.abort()
        elif not self._transport.is_closing():
            self._transport.write(frames)

    async def close(self, code: WSCloseCode, final_frame: bytes = b"") -> None:
        """Close the socket with a reason; disconnect a client that does not confirm in time."""
        if final_frame and not self._transport.is_closing():
            self._transport.write(final_frame)
        await self._socket.close(code=code)
        self._transport.abort()


class Sockets:
    """All sockets, and the two tasks that serve them."""

    def __init__(
        self,
        calls: CallSource,
        clock: Clock,
        tokens: AppTokens,
        dialect: Dialect,
        on_flood: Callable[[], None] = lambda: None,
    ) -> None:
        self._message_slots = asyncio.Semaphore(MESSAGES_PER_TURN)
        self._on_flood = on_flood
        self._calls = calls
        self._clock = clock
        self._tokens = tokens
        self._dialect = dialect
        self._listeners: dict[Listener, None] = {}  # served in the order in which they came
        self._closing: set[asyncio.Task[None]] = set()
        self._log = logging.getLogger("pbx_api")

    @property
    def count(self) -> int:
        """Return the number of open sockets."""
        return len(self._listeners)

    def check_capacity(self, client_id: str) -> None:
        """Raise `ApiRequestError` with 60002 when an app, or all apps together, have too many sockets."""
        app_count = sum(listener.client_id == client_id for listener in self._listeners)
        if len(self._listeners) >= SOCKETS_MAX or app_count >= SOCKETS_OF_APP_MAX:
            raise ApiRequestError(MAX_LIMITATION_EXCEEDED)

    async def serve(self, request: web.BaseRequest, api_request: ApiRequest) -> web.WebSocketResponse:
        """Accept a socket and read it until it is closed."""
        socket = SocketResponse(
            on_flood=self._on_flood, compress=False, max_msg_size=MESSAGE_BYTES_MAX, timeout=CLOSE_SECONDS_MAX
        )
        await socket.prepare(request)
        if request.transport is None:
            return socket
        listener = self.create_listener(socket, request.transport, api_request)
        self._listeners[listener] = None
        try:
            async for message in socket:
                if message.type is WSMsgType.ERROR:
                    break
                # The slot is for a turn, not for the answer: that waits for a client that does not read.
                async with self._message_slots:
                    await asyncio.sleep(0)
                await self._answer(socket, listener, message)
        except ConnectionError:
            # The client was disconnected while the response was written.
            return socket
        finally:
            self._listeners.pop(listener, None)
        return socket

    async def _answer(self, socket: web.WebSocketResponse, listener: Listener, message: WSMessage) -> None:
        """Answer a message or a ping; a pong needs no answer."""
        if message.type is WSMsgType.PING:
            await socket.pong(message.data)
        elif message.type is not WSMsgType.PONG:
            await socket.send_str(self._reply(listener, message.data if message.type is WSMsgType.TEXT else ""))

    def create_listener(
        self, socket: web.WebSocketResponse, transport: asyncio.Transport, request: ApiRequest
    ) -> Listener:
        """Return the listener of an accepted socket."""
        return Listener(socket, transport, request, self._clock.microseconds())

    def format_event(self, new_record: NewRecord, payload_format: str) -> bytes:
        """Return the event of a record."""
        return self._dialect.format(new_record.details, new_record.sn, payload_format)

    def _reply(self, listener: Listener, text: str) -> str:
        """Return the response to a message. An invalid message does not count as a heartbeat."""
        if text in HEARTBEATS:
            listener.last_message_at = self._clock.microseconds()
            return HEARTBEAT_ANSWER
        code, topics = parse_topics(text)
        if code == SUCCESS:
            listener.last_message_at = self._clock.microseconds()
            listener.is_subscribed = CALL_END in topics
        return msgspec.json.encode(response_with_code(code)).decode()

    # New records

    async def send_new_records(self) -> None:
        """Send new records to all subscribers, until cancelled."""
        loop = asyncio.get_running_loop()
        position = await self._calls.latest_sequence()
        while True:
            await self._calls.wait(position)
            started_at = loop.time()
            try:
                latest = await self._calls.latest_sequence()
                if not any(listener.is_subscribed for listener in self._listeners):
                    position = latest
                    continue
                new_records = await self._calls.list_new_records(position, NEW_RECORDS_MAX)
            except Unavailable as error:
                self._log.error("cannot read new records, retrying", extra={"error": str(error)})
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await self._send(new_records)
            position = new_records[-1].sequence if new_records else latest
            await asyncio.sleep(
                max(0.0, started_at + BATCH_SECONDS - loop.time()) if len(new_records) < NEW_RECORDS_MAX else 0.0
            )

    async def _send(self, new_records: Sequence[NewRecord]) -> None:
        frames: dict[_FrameKey, bytes] = {}
        for batch in _batches(list(self._listeners)):
            for listener in batch:
                if not listener.is_subscribed or listener.is_closing:
                    continue
                if listener.frame_key not in frames:
                    frames[listener.frame_key] = self._build_frames(new_records, listener.frame_key)
                if frames[listener.frame_key]:
                    listener.send(frames[listener.frame_key])
            await asyncio.sleep(0)

    def _build_frames(self, new_records: Sequence[NewRecord], frame_key: _FrameKey) -> bytes:
        """Return the frames of all records that subscribers with this key may receive, concatenated."""
        payload_format, sns = frame_key
        return b"".join(
            text_frame(self.format_event(new_record, payload_format))
            for new_record in new_records
            if not sns or new_record.sn in sns
        )

    # Silence and expired tokens

    async def close_expired(self) -> None:
        """Close sockets that were silent for too long or whose token has expired, until cancelled."""
        while True:
            now = self._clock.microseconds()
            for listener in list(self._listeners):
                if listener.is_closing:
                    continue
                if not self._tokens.is_valid(listener.grant):
                    self._close(listener, WSCloseCode.POLICY_VIOLATION, _EXPIRED_FRAME)
                elif now - listener.last_message_at > SILENCE_SECONDS_MAX * _MICROSECONDS:
                    self._close(listener, WSCloseCode.OK)
            await asyncio.sleep(SWEEP_SECONDS)

    async def apply_apps(self, apps: AppRegistry) -> None:
        """Apply changed permissions to the open sockets; close those whose app may not have them any longer. Raises
        `OnhookError`.
        """
        app_by_client_id: dict[str, tuple[App, bytes] | None] = {}
        while missing_ids := self._client_ids() - app_by_client_id.keys():
            for client_id in missing_ids:
                app_by_client_id[client_id] = await apps.find_by_client_id(client_id)
        for listener in [listener for listener in self._listeners if not listener.is_closing]:
            match = app_by_client_id[listener.client_id]
            if match is None or not is_address_allowed(match[0], listener.address):
                self._close(listener, WSCloseCode.POLICY_VIOLATION, _EXPIRED_FRAME)
            else:
                listener.set_app(match[0])

    def _client_ids(self) -> set[str]:
        return {listener.client_id for listener in self._listeners}

    async def close(self) -> None:
        """Close all sockets."""
        for listener in list(self._listeners):
            if not listener.is_closing:
                self._close(listener, WSCloseCode.GOING_AWAY)
        if self._closing:
            await asyncio.wait(self._closing)

    def _close(self, listener: Listener, code: WSCloseCode, final_frame: bytes = b"") -> None:
        listener.is_closing = True
        task = asyncio.create_task(listener.close(code, final_frame))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def parse_topics(text: str) -> tuple[int, frozenset[int]]:
    """Return the topics of a message and the code of its response; any number is accepted."""
    try:
        topics = msgspec.json.decode(text, type=_Topics).topic_list
    except msgspec.ValidationError:
        return PARAMETER_ERROR, frozenset()
    except (msgspec.DecodeError, RecursionError):
        return PARAMETER_SYNTAX_ERROR, frozenset()
    return (SUCCESS, frozenset(topics)) if len(topics) <= TOPICS_MAX else (PARAMETER_ERROR, frozenset())


def text_frame(payload: bytes) -> bytes:
    """Return one complete text message of a server: unmasked (RFC 6455, 5.2)."""
    length = len(payload)
    if length < 126:
        return b"\x81" + length.to_bytes(1, "big") + payload
    if length < 1 << 16:
        return b"\x81\x7e" + length.to_bytes(2, "big") + payload
    return b"\x81\x7f" + length.to_bytes(8, "big") + payload


_EXPIRED_FRAME = text_frame(msgspec.json.encode(response_with_code(TOKEN_EXPIRED)))


def _batches(listeners: Sequence[Listener]) -> Iterator[Sequence[Listener]]:
    remaining = iter(listeners)
    while batch := list(islice(remaining, LISTENERS_PER_BATCH)):
        yield batch
