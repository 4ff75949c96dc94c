"""NATS JetStream: a message in the stream that has the subject, confirmed when the stream has stored it.

Invariants: `Nats-Msg-Id` is the id of the notification, by which the stream recognises repeats for as long as its
deduplication window. With TLS, nothing is sent before the connection is encrypted, whatever the server says.
"""

import asyncio
import re
from collections.abc import Sequence
from math import ceil
from urllib.parse import unquote, urlsplit

import nats.aio.client
import nats.errors
import nats.js
import nats.js.errors
from nats.aio.msg import Msg
from nats.js.api import PubAck

from onhook.appdb.destination_spec import DestinationSpec
from onhook.config import Config
from onhook.delivery.destinations.broker_client import (
    BrokerClient,
    MessageOutcome,
    NameRefused,
    NotConfirmed,
    QueueFull,
    rejected,
)
from onhook.delivery.destinations.broker_message import (
    CONTENT_TYPE,
    BrokerMessage,
    fill_name,
    name_pattern,
)
from onhook.delivery.destinations.contract import DeliveryResult
from onhook.delivery.guarded_connection import create_tls_context
from onhook.delivery.ssrf_guard import create_ssrf_guard
from onhook.lib.messages import _

PORT_DEFAULT = 4222
PING_SECONDS = 30
"""A connection that was lost without notice is found between two calls."""

_TOO_LARGE_CODE = 10054
"""Error of JetStream about one message: larger than the stream allows."""

_STREAM_CODES = frozenset({10077, 10109})
"""Errors of JetStream about one stream: it is full, or sealed."""

_FORBIDDEN_SUBJECT = re.compile(r'permissions violation for publish to "([^"]*)"', re.IGNORECASE)


class NatsConnection:
    """See `broker_client.BrokerConnection`."""

    def __init__(self, client: nats.aio.client.Client, pattern: str) -> None:
        self._client = client
        self._jetstream = _JetStream(client)
        self._pattern = pattern
        self._subject_by_future: dict[asyncio.Future[PubAck], str] = {}

    async def publish(self, messages: Sequence[BrokerMessage], until: float) -> Sequence[MessageOutcome]:
        self._subject_by_future = {}
        futures = [await self._begin(message) for message in messages]
        if self._client.is_closed:
            self.fail(nats.errors.ConnectionClosedError())
        if self._subject_by_future:
            await asyncio.wait(self._subject_by_future, timeout=until - asyncio.get_running_loop().time())
        return [self._to_outcome(future) if isinstance(future, asyncio.Future) else future for future in futures]

    async def is_open(self) -> bool:
        return self._client.is_connected

    async def close(self) -> None:
        await self._client.close()

    def fail(self, error: Exception) -> None:
        """End all messages that are not confirmed: the server has reported an error, or the connection is lost. An
        error about a subject ends the messages with this one.
        """
        forbidden = _FORBIDDEN_SUBJECT.search(str(error))
        for future, subject in self._subject_by_future.items():
            if not future.done() and (forbidden is None or forbidden[1] == subject):
                future.set_exception(error if forbidden is None else NameRefused(str(error)))

    async def _begin(self, message: BrokerMessage) -> asyncio.Future[PubAck] | DeliveryResult:
        """Return the confirmation of a message; a result where it is larger than the server allows, which would close
        the connection.
        """
        headers = message.headers | {"Content-Type": CONTENT_TYPE}
        headers["Nats-Msg-Id"] = headers["onhook-id"]
        size = len("NATS/1.0\r\n\r\n") + sum(len(name) + len(value) + 4 for name, value in headers.items())
        if size + len(message.body) > self._client.max_payload:
            return rejected(_("larger than the {size:,} bytes of the server", size=self._client.max_payload))
        subject = fill_name(self._pattern, message)
        future = await self._jetstream.publish_async(subject, message.body, headers=headers)
        self._subject_by_future[future] = subject
        return future

    def _to_outcome(self, future: asyncio.Future[PubAck]) -> MessageOutcome:
        """Return the result of a message, or an exception where it is not confirmed."""
        if not future.done():
            return NotConfirmed()
        error = future.exception()
        if isinstance(error, nats.js.errors.APIError) and error.err_code == _TOO_LARGE_CODE:
            return rejected(error.description or str(error))
        if isinstance(error, nats.js.errors.APIError) and error.err_code in _STREAM_CODES:
            return QueueFull(error.description or str(error))
        if isinstance(error, nats.js.errors.NoStreamResponseError):
            return NameRefused(_("no stream of the server has this subject"))
        if isinstance(error, Exception):
            return error
        detail = _("stored in the stream {stream}", stream=future.result().stream)
        return DeliveryResult(outcome="accepted", detail=detail)


class NatsDriver:
    """See `broker_client.BrokerDriver`."""

    name = "nats"
    errors: tuple[type[Exception], ...] = (nats.errors.Error,)

    def __init__(self, spec: DestinationSpec) -> None:
        parts = urlsplit(spec.url)
        self._has_tls = parts.scheme == "nats+tls"
        host = parts.netloc.rpartition("@")[2]
        host = host if parts.port else f"{host.removesuffix(':')}:{PORT_DEFAULT}"
        self._url = f"{'tls' if self._has_tls else 'nats'}://{host}"
        self._user = unquote(parts.username or "")
        self._pattern = name_pattern(spec)
        self._timeout_seconds = spec.timeout_seconds
        self._ca_certificates = spec.ca_certificates

    async def connect(self, password: str) -> NatsConnection:
        connection: NatsConnection | None = None

        async def fail(error: Exception) -> None:
            if connection is not None:
                connection.fail(error)

        async def end() -> None:
            await fail(nats.errors.ConnectionClosedError())

        client = _NatsClient(requires_tls=self._has_tls)
        await client.connect(
            self._url,
            name="onhook",
            error_cb=fail,
            closed_cb=end,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=ceil(self._timeout_seconds),
            ping_interval=PING_SECONDS,
            tls=create_tls_context(self._ca_certificates) if self._has_tls else None,
            user=self._user or None,
            password=password if self._user else None,
            token=None if self._user else password or None,
        )
        connection = NatsConnection(client, self._pattern)
        return connection

    def is_login_error(self, error: Exception) -> bool:
        return "authorization violation" in str(error).lower()


class _JetStream(nats.js.JetStreamContext):
    """JetStream whose error about a message ends the confirmation of that message: the library reports it as an error
    of the connection, without the message.
    """

    async def _handle_async_reply(self, msg: Msg) -> None:
        try:
            await super()._handle_async_reply(msg)
        except nats.js.errors.APIError as error:
            future = self._publish_async_futures.get(msg.subject.rpartition(".")[2])
            if future is not None and not future.done():
                future.set_exception(error)


class _NatsClient(nats.aio.client.Client):
    """Client that logs in over TLS where that is required: the library would log in without, at a server that does not
    ask for TLS.
    """

    def __init__(self, *, requires_tls: bool) -> None:
        super().__init__()
        self._requires_tls = requires_tls

    def _connect_command(self) -> bytes:
        if self._requires_tls and not self._server_info.get("tls_required"):
            raise nats.errors.SecureConnWantedError
        return super()._connect_command()


def open_client(config: Config, spec: DestinationSpec, secrets: Sequence[str]) -> BrokerClient:
    """Open a NATS server, with the private networks of the configuration."""
    guard = create_ssrf_guard(config.private_networks, allow_private=spec.allow_private)
    return BrokerClient(spec, secrets, guard, NatsDriver(spec))
