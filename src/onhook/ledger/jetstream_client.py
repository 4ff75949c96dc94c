"""Requests to the servers of NATS JetStream, each with a deadline.

Invariants: nothing is sent while no server is connected, so that no request of long ago arrives later, nor to a server
that does not suffice: each is checked when it is connected, and all of them now and then. A request that finds no
leader of its stream is repeated until the deadline. Whether a request without an answer was carried out is not known.
"""

import asyncio
import base64
import json
import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import nats.errors
from nats.aio.msg import Msg

from onhook.ledger.jetstream_address import JetStreamAddress
from onhook.ledger.jetstream_connection import Connection
from onhook.ledger.jetstream_server import check_server, check_sync
from onhook.lib.certificates import create_trust
from onhook.lib.errors import Unavailable, UsageError
from onhook.lib.messages import _

CALL_SECONDS_MAX = 1.5
"""Deadline of a request and its repeats. A PBX times out after 3 seconds at the earliest: one wait for the previous
commit and one for this must fit.
"""

RETRY_SECONDS = 0.1
"""Pause before a request is repeated; the election of a leader takes seconds."""

RECONNECT_SECONDS = 1
"""Between two attempts at the same server; others are tried at once."""

CONNECT_SECONDS = 1
PING_SECONDS = 2
"""A machine that is gone without notice is found within two pings."""

SILENCE_SECONDS_MAX = 3 * PING_SECONDS
"""With an unanswered ping for so long a connection is given up, where the library waits for its buffers to be sent."""

WATCH_SECONDS = 1.0
CHECK_SECONDS = 30.0
"""Between two checks of all servers: one that was away may come back with other settings."""

BATCH_MESSAGES = 1_000
BATCH_BYTES = 4 * 1024 * 1024
"""Of one request for many messages: what the client holds at a time."""

NOT_FOUND_CODES = frozenset({10037, 10043, 10057})
"""No message has the number, or has it any longer (`JSNoMessageFoundErr`, `JSSequenceNotFoundErrF`,
`JSStreamMsgDeleteFailedF`).
"""

WRONG_LAST_CODES = frozenset({10071, 10164})
"""Another message was stored meanwhile (`JSStreamWrongLastSequenceErrF`, `JSStreamWrongLastSequenceConstantErr`)."""

STREAM_NOT_FOUND_CODE = 10059
IN_PROCESS_CODE = 10158
"""The same message is just being stored (`JSStreamDuplicateMessageConflictErr`)."""

_STATUS = "Status"
_HEADER_LINE = b"NATS/1.0\r\n"


class StoredMessage(NamedTuple):
    """A message of a stream."""

    seq: int
    subject: str
    body: bytes


class PubAck(msgspec.Struct, frozen=True):
    """The confirmation of a message that is stored; `duplicate` is one that was stored before."""

    seq: int
    duplicate: bool = False


class OutdatedSequence(Exception):
    """Another message was stored than the one after which this one was to be stored."""


class MessageMissing(Exception):
    """The stream has no such message, or has it no longer."""


class StreamMissing(Unavailable):
    """The servers have no such stream; a retry helps where it is restored."""


class JetStreamClient:
    """The connection of a process, which the first request opens; lost ones are opened again, at any server."""

    def __init__(self, address: JetStreamAddress, *, call_seconds: float = CALL_SECONDS_MAX) -> None:
        self.address = address
        self._call_seconds = call_seconds
        self._client: Connection | None = None
        self._connect_lock = asyncio.Lock()
        self._is_connected = asyncio.Event()
        self._reason = ""
        self._refusal: UsageError | None = None
        """Why nothing is sent to the servers, although one is connected."""
        self._watch_task: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Close the connection."""
        watch_task, self._watch_task = self._watch_task, None
        if watch_task is not None:
            watch_task.cancel()
            await asyncio.wait([watch_task])
        client, self._client = self._client, None
        if client is not None:
            await client.close_in_time()

    async def connect(self) -> Connection:
        """Return the connected client. Raises `Unavailable`, `UsageError` for a server that does not suffice."""
        return await self._connect(self._deadline())

    async def publish(self, subject: str, body: bytes, headers: Mapping[str, str]) -> PubAck:
        """Store a message; return when a quorum has it on disk. Raises `OutdatedSequence`, `Unavailable`."""
        return msgspec.convert(await self._call(subject, body, headers), PubAck)

    async def publish_batch(self, subject: str, bodies: Sequence[bytes], headers: Mapping[str, str]) -> int:
        """Store messages, all or none; return the number of the last one. The headers are of the first one. Raises
        `OutdatedSequence`, `Unavailable`.
        """
        deadline = self._deadline()
        client = await self._connect(deadline)
        batch_id = client.new_inbox().rpartition(".")[2]
        try:
            for index, body in enumerate(bodies[:-1], 1):
                batch_headers = {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(index)}
                all_headers = {**batch_headers, **headers} if index == 1 else batch_headers
                await client.publish(subject, body, headers=all_headers)
        except (OSError, nats.errors.Error, TimeoutError) as error:
            raise self._translate(error) from error
        last_headers = {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(len(bodies)), "Nats-Batch-Commit": "1"}
        # Not repeated: the servers have forgotten the batch.
        response = await self._request(client, subject, bodies[-1], last_headers, deadline)
        result = _parse_response(response.data, self.address)
        if result is None:
            raise self._unavailable(_("the servers have no leader: a quorum of them is away"))
        return msgspec.convert(result, PubAck).seq

    async def call(self, api_name: str, /, **arguments: Any) -> dict[str, Any]:
        """Send a request to the leader of a stream (`STREAM.INFO.NAME`). Raises `MessageMissing`,
        `StreamMissing`, `Unavailable`.
        """
        return await self._call(f"$JS.API.{api_name}", json.dumps(arguments).encode())

    async def find_message(self, stream: str, /, **arguments: Any) -> StoredMessage | None:
        """Return a message from the leader, by `seq`, by `last_by_subj`, or by both `seq` and `next_by_subj`: the next
        one. None where there is none. Raises `Unavailable`.
        """
        try:
            message = (await self.call(f"STREAM.MSG.GET.{stream}", **arguments))["message"]
        except MessageMissing:
            return None
        return StoredMessage(message["seq"], message["subject"], base64.b64decode(message.get("data", "")))

    async def read_messages(
        self, stream: str, subject: str, after_seq: int, limit: int, bytes_max: int
    ) -> list[StoredMessage]:
        """Return the next messages with a subject, which may be a pattern, in order: at most `limit`, and none after
        the one with which their bytes exceed `bytes_max`. Any replica answers, and the leader has the last word: one
        that is behind hides none. Raises `Unavailable`.
        """
        messages: list[StoredMessage] = []
        byte_count = 0
        while len(messages) < limit and byte_count <= bytes_max:
            start = (messages[-1].seq if messages else after_seq) + 1
            batch = min(limit - len(messages), BATCH_MESSAGES)
            next_messages = await self.get_many(
                stream, seq=start, next_by_subj=subject, batch=batch, max_bytes=BATCH_BYTES
            )
            if not next_messages:
                message = await self.find_message(stream, seq=start, next_by_subj=subject)
                if message is None:
                    break
                next_messages = [message]
            for message in next_messages:
                messages.append(message)
                byte_count += len(message.body)
                if byte_count > bytes_max:
                    break
        return messages

    async def get_many(self, stream: str, /, **arguments: Any) -> list[StoredMessage]:
        """Return messages from any replica, by `multi_last` or by `seq`, `next_by_subj`, `batch` and `max_bytes`.
        Raises `Unavailable`.
        """
        deadline = self._deadline()
        while True:
            client = await self._connect(deadline)
            messages = await self._receive_many(client, stream, json.dumps(arguments).encode(), deadline)
            if messages is not None:
                return messages
            await self._pause(deadline)

    async def _receive_many(
        self, client: Connection, stream: str, request: bytes, deadline: float
    ) -> list[StoredMessage] | None:
        """Return the messages up to the end of a batch, each of which may take as long as a request; None where no
        replica answers.
        """
        inbox = client.new_inbox()
        messages: list[StoredMessage] = []
        try:
            subscription = await client.subscribe(inbox)
            try:
                await client.publish(f"$JS.API.DIRECT.GET.{stream}", request, reply=inbox)
                while True:
                    # A batch of megabytes takes longer than a request.
                    message = await subscription.next_msg(max(deadline - time.monotonic(), self._call_seconds))
                    headers = message.headers or {}
                    if _STATUS in headers:
                        return None if headers[_STATUS] == "503" else messages
                    messages.append(StoredMessage(int(headers["Nats-Sequence"]), headers["Nats-Subject"], message.data))
            finally:
                await subscription.unsubscribe()
        except (OSError, nats.errors.Error, TimeoutError) as error:
            raise self._translate(error) from error

    async def _call(self, subject: str, body: bytes, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        deadline = self._deadline()
        while True:
            client = await self._connect(deadline)
            response = await self._request(client, subject, body, headers, deadline)
            result = _parse_response(response.data, self.address) if response.data else None
            if result is not None:
                return result
            await self._pause(deadline)

    async def _request(
        self,
        client: Connection,
        subject: str,
        body: bytes,
        headers: Mapping[str, str] | None,
        deadline: float,
    ) -> Msg:
        """Return the response; an empty one where no server has the leader."""
        try:
            return await client.request(
                subject, body, timeout=max(deadline - time.monotonic(), 0.0), headers=dict(headers) if headers else None
            )
        except nats.errors.NoRespondersError:
            return Msg(client)
        except (OSError, nats.errors.Error, TimeoutError) as error:
            raise self._translate(error) from error

    async def _connect(self, deadline: float) -> Connection:
        if self._client is not None and self._is_usable(self._client):
            return self._client
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + deadline - time.monotonic()):
                async with self._connect_lock:
                    if self._client is None or self._client.is_closed:
                        self._client = await self._open()
                    while not self._is_usable(self._client):
                        await self._is_connected.wait()
                        await asyncio.sleep(0)  # the library is about to note that the connection is lost
                    return self._client
        except TimeoutError as error:
            raise self._unavailable(self._reason or _("no server answers")) from error

    def _is_usable(self, client: Connection) -> bool:
        """Return whether a server is connected that was checked. Raises `UsageError` where one does not suffice."""
        is_usable = client.is_connected and self._is_connected.is_set()
        if is_usable and self._refusal is not None:
            raise self._refusal
        return is_usable

    async def _open(self) -> Connection:
        client = Connection(requires_tls=self.address.has_tls)
        address = self.address
        try:
            await client.connect(
                [f"{'tls' if address.has_tls else 'nats'}://{server}" for server in address.servers],
                name="onhook",
                error_cb=self._note_error,
                disconnected_cb=self._note_disconnected,
                reconnected_cb=self._note_reconnected,
                max_reconnect_attempts=-1,
                reconnect_time_wait=RECONNECT_SECONDS,
                connect_timeout=max(CONNECT_SECONDS, round(self._call_seconds)),
                ping_interval=PING_SECONDS,
                tls=_create_tls_context(address) if address.has_tls else None,
                user=address.user if address.password else None,
                password=address.password or None,
                token=None if address.password else address.user or None,
            )
            await self._check(client)
        except BaseException as error:
            await client.close_in_time()
            if isinstance(error, OSError | nats.errors.Error):
                raise self._translate(error) from error
            raise
        self._note_usable()
        if self._watch_task is None:
            self._watch_task = asyncio.create_task(self._watch(), name="ledger connection")
        return client

    async def _check(self, client: Connection) -> None:
        """Check the connected server, whichever address it advertises, and all others that answer. Raises
        `UsageError`, `Unavailable`.
        """
        check_server(client.connected_server_version, client.max_payload, self.address.location)
        if not self.address.monitor_port:
            return
        connected = client.connected_url.hostname if client.connected_url else None
        hosts = dict.fromkeys((*self.address.hosts, *filter(None, [connected])))
        results = await asyncio.gather(
            *(check_sync(host, self.address.monitor_port, is_required=host == connected) for host in hosts),
            return_exceptions=True,
        )
        for result in sorted(filter(None, results), key=lambda error: not isinstance(error, UsageError)):
            raise result

    async def _watch(self) -> None:
        """Give up connections to servers that are silent, and check all servers now and then, until cancelled."""
        silent_since: float | None = None
        checked_at = time.monotonic()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            client, now = self._client, time.monotonic()
            if client is None or not client.is_connected or not client.has_unanswered_ping:
                silent_since = None
            else:
                silent_since = now if silent_since is None else silent_since
                if now - silent_since > SILENCE_SECONDS_MAX:
                    client.abort()
            is_due = self._refusal is not None or now - checked_at >= CHECK_SECONDS
            if client is not None and client.is_connected and self._is_connected.is_set() and is_due:
                checked_at = now
                with suppress(Unavailable):  # the server that is connected answers nevertheless
                    await self._check_again(client)

    async def _check_again(self, client: Connection) -> None:
        """Check the servers; where one does not suffice, nothing is sent until it does. Raises `Unavailable`."""
        try:
            await self._check(client)
        except UsageError as error:
            self._refusal = error
        else:
            self._refusal = None

    async def _note_reconnected(self) -> None:
        """Check the server, which may be another one, before anything is sent to it. Cancelled when it is lost."""
        while self._client is not None and self._client.is_connected:
            try:
                await self._check_again(self._client)
            except Unavailable as error:
                self._reason = error.message
                await asyncio.sleep(RECONNECT_SECONDS)
            else:
                self._note_usable()
                return

    async def _note_error(self, error: Exception) -> None:
        self._reason = str(error) or type(error).__name__

    async def _note_disconnected(self) -> None:
        self._is_connected.clear()

    def _note_usable(self) -> None:
        self._is_connected.set()
        self._reason = ""

    async def _pause(self, deadline: float) -> None:
        if time.monotonic() + RETRY_SECONDS > deadline:
            raise self._unavailable(_("the servers have no leader: a quorum of them is away"))
        await asyncio.sleep(RETRY_SECONDS)

    def _deadline(self) -> float:
        return time.monotonic() + self._call_seconds

    def timeout_error(self) -> Unavailable:
        """Return the error of a deadline."""
        return self._unavailable(self._reason or _("no answer in time"))

    def _translate(self, error: Exception) -> Unavailable:
        is_late = isinstance(error, TimeoutError | nats.errors.TimeoutError)
        return self._unavailable(_("no answer in time") if is_late else str(error) or type(error).__name__)

    def _unavailable(self, reason: str) -> Unavailable:
        return Unavailable(
            _("the ledger is unavailable: {error}", error=reason),
            location=self.address.location,
            hint=_("check that most of the NATS servers run and can be reached"),
        )


def _create_tls_context(address: JetStreamAddress) -> ssl.SSLContext:
    if not address.ca_file:
        return ssl.create_default_context()
    try:
        return create_trust(Path(address.ca_file).read_text())
    except (OSError, ValueError, ssl.SSLError) as error:
        raise UsageError(
            _("cannot read the certificates: {error}", error=error),
            location=address.ca_file,
            hint=_("name a file with the certificates of the authority, which begin with -----BEGIN CERTIFICATE-----"),
        ) from error


def _parse_response(data: bytes, address: JetStreamAddress) -> dict[str, Any] | None:
    """Return the response of a server; None where it is to be asked again."""
    response: dict[str, Any] = json.loads(data) if data else {"error": {"code": 503}}
    error = response.get("error")
    if error is None:
        return response
    code = error.get("err_code", 0)
    if code in NOT_FOUND_CODES:
        raise MessageMissing
    if code in WRONG_LAST_CODES:
        raise OutdatedSequence
    if code == STREAM_NOT_FOUND_CODE:
        raise StreamMissing(
            _("the NATS servers have no ledger of this name"),
            location=address.location,
            hint=_("check the name of the stream in the address"),
        )
    if code == IN_PROCESS_CODE or error.get("code") == 503:
        return None
    raise Unavailable(
        _("the ledger is unavailable: {error}", error=error.get("description", code)),
        location=address.location,
        hint=_("look at the log of the NATS servers"),
    )
