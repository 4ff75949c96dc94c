"""MQTT 5: a message for each notification with quality of service 1, confirmed by the broker's PUBACK.

Invariants: a batch has a connection of its own, so none is kept alive between two calls. At most as many messages wait
for confirmation as the broker announces, and none is sent that is larger: both would close the connection.
"""

import asyncio
import contextlib
import select
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from secrets import token_hex
from typing import Any
from urllib.parse import unquote, urlsplit

from paho.mqtt import MQTTException
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from onhook.appdb.destination_spec import DestinationSpec
from onhook.config import Config
from onhook.delivery.destinations.broker_client import (
    CONFIRMATION_SHARE,
    BrokerBase,
    MessageOutcome,
    NotConfirmed,
    rejected,
)
from onhook.delivery.destinations.broker_message import (
    CONTENT_TYPE,
    BrokerMessage,
    fill_name,
    make_message,
)
from onhook.delivery.destinations.contract import LIBRARY_ERRORS, DeliveryResult, Notification
from onhook.delivery.destinations.socket_thread import SocketThread
from onhook.delivery.guarded_connection import create_tls_context, describe_connection_error
from onhook.delivery.limited_socket import limit_tls
from onhook.delivery.ssrf_guard import SsrfGuard, create_ssrf_guard
from onhook.lib.errors import Unavailable
from onhook.lib.hosts import parse_url_host
from onhook.lib.messages import _

PORT_DEFAULT, TLS_PORT_DEFAULT = 1883, 8883

WINDOW_MESSAGES_MAX = 20
"""Messages that wait for confirmation at a time: what the library and most brokers have as their default."""

POLL_SECONDS = 1.0
"""A connection that is shut down, such as by a time-out, ends a wait at once."""

KEEPALIVE_SECONDS = 60
PACKET_OVERHEAD_BYTES = 32
"""Of a PUBLISH without topic, body and user properties: at most so much."""

QUOTA_EXCEEDED = 0x97
_LOGIN_CODES = frozenset({0x86, 0x87})
"""Reason codes of a CONNACK: bad user name or password, not authorized."""

_ERRORS: tuple[type[Exception], ...] = (MQTTException, Unavailable, *LIBRARY_ERRORS)


class LoginRefused(Unavailable):
    """The broker has refused the password."""


class MqttClient(BrokerBase):
    """See `contract.DestinationClient`."""

    def __init__(self, spec: DestinationSpec, secrets: Sequence[str], guard: SsrfGuard) -> None:
        super().__init__(spec, secrets, guard)
        parts = urlsplit(spec.url)
        self._user, self._has_tls = unquote(parts.username or ""), parts.scheme == "mqtts"
        self._thread = SocketThread("mqtt")

    async def send(self, notifications: Sequence[Notification]) -> Sequence[DeliveryResult]:
        messages = [make_message(self._spec, notification) for notification in notifications]
        outcomes: Sequence[MessageOutcome]
        try:
            async with asyncio.timeout(self._spec.timeout_seconds):
                outcomes = await self._publish(messages)
        except TimeoutError:
            outcomes = [self._no_response()] * len(messages)
        except OSError as error:
            outcomes = [Unavailable(describe_connection_error(error))] * len(messages)
        except _ERRORS as error:
            outcomes = [error] * len(messages)
        self._thread.disconnect()
        return self._to_results(outcomes)

    async def close(self) -> None:
        self._thread.close()

    async def _publish(self, messages: Sequence[BrokerMessage]) -> Sequence[MessageOutcome]:
        """Publish messages over a new connection, with the newest password that the broker accepts."""
        until = time.monotonic() + CONFIRMATION_SHARE * self._spec.timeout_seconds
        for password in self._passwords[:-1]:
            with contextlib.suppress(LoginRefused):
                return await self._publish_as(password, messages, until)
        return await self._publish_as(self._passwords[-1], messages, until)

    async def _publish_as(
        self, password: str, messages: Sequence[BrokerMessage], until: float
    ) -> Sequence[MessageOutcome]:
        default_port = TLS_PORT_DEFAULT if self._has_tls else PORT_DEFAULT
        connected_socket = await self._thread.connect(
            self._spec.url, default_port, self._guard, self._spec.timeout_seconds
        )
        return await self._thread.run(partial(self._run_session, connected_socket, password, messages, until))

    # In the thread

    def _run_session(
        self, connected_socket: socket.socket, password: str, messages: Sequence[BrokerMessage], until: float
    ) -> Sequence[MessageOutcome]:
        with connected_socket, self._encrypt(connected_socket) as open_socket:
            session = MqttSession(open_socket, self._pattern, until)
            session.log_in(self._user, password)
            outcomes = session.publish(messages)
            session.end()
            return outcomes

    def _encrypt(self, connected_socket: socket.socket) -> socket.socket:
        if not self._has_tls:
            return connected_socket
        context = limit_tls(create_tls_context(self._spec.ca_certificates), connected_socket)
        return context.wrap_socket(connected_socket, server_hostname=parse_url_host(self._spec.url).text)


class MqttSession:
    """One connection; its methods block until the broker has answered, or until the socket is shut down."""

    def __init__(self, open_socket: socket.socket, pattern: str, until: float) -> None:
        """`until` is the monotonic time by which the broker has answered."""
        self._client = _SocketClient(open_socket)
        self._until = until
        self._client.on_connect = self._record_login
        self._client.on_publish = self._record_confirmation
        self._client.on_disconnect = self._record_end
        self._pattern = pattern
        self._login: tuple[ReasonCode, Properties | None] | None = None
        self._confirmations: dict[int, ReasonCode] = {}
        self._end_reason = ""

    def log_in(self, user: str, password: str) -> None:
        """Log in; without a user as any client. Raises `LoginRefused`, `Unavailable`, `OSError`."""
        if user:
            self._client.username_pw_set(user, password or None)
        self._client.connect("broker", keepalive=KEEPALIVE_SECONDS)  # the name is not used: the socket is connected
        self._wait_until(lambda: self._login is not None)
        assert self._login is not None
        reason, _properties = self._login
        if reason.value in _LOGIN_CODES:
            raise LoginRefused(str(reason))
        if reason.is_failure:
            raise Unavailable(str(reason))

    def publish(self, messages: Sequence[BrokerMessage]) -> Sequence[MessageOutcome]:
        """Publish messages, and return what the broker said to each, or the exception that ended the connection."""
        outcomes: list[MessageOutcome] = []
        rest = iter(messages)
        try:
            while window := list(islice(rest, min(WINDOW_MESSAGES_MAX, self._limit("ReceiveMaximum", 65_535)))):
                outcomes += self._publish_window(window)
        except _ERRORS as error:
            outcomes += [error] * (len(messages) - len(outcomes))
        return outcomes

    def end(self) -> None:
        """End the connection, as far as it is open."""
        self._client.disconnect()

    def _publish_window(self, messages: Sequence[BrokerMessage]) -> Sequence[MessageOutcome]:
        ids = [self._begin(message) for message in messages]
        expected_ids = {message_id for message_id in ids if message_id is not None}
        self._wait_until(lambda: expected_ids <= self._confirmations.keys())
        return [self._to_outcome(message_id) for message_id in ids]

    def _begin(self, message: BrokerMessage) -> int | None:
        """Return the packet id of a message; None for one that is larger than the broker allows."""
        topic, headers = fill_name(self._pattern, message), message.headers
        size = PACKET_OVERHEAD_BYTES + len(topic) + len(CONTENT_TYPE) + len(message.body)
        if size + sum(len(name) + len(value) + 5 for name, value in headers.items()) > self._packet_size_max:
            return None
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType = CONTENT_TYPE
        properties.UserProperty = list(headers.items())
        return int(self._client.publish(topic, message.body, qos=1, properties=properties).mid)

    @property
    def _packet_size_max(self) -> int:
        return self._limit("MaximumPacketSize", 268_435_455)

    def _limit(self, name: str, default: int) -> int:
        """Return a limit that the broker has announced."""
        properties = self._login[1] if self._login else None
        return int(getattr(properties, name, default))

    def _to_outcome(self, message_id: int | None) -> MessageOutcome:
        if message_id is None:
            return rejected(_("larger than the {size:,} bytes of the broker", size=self._packet_size_max))
        reason = self._confirmations[message_id]
        if reason.value == QUOTA_EXCEEDED:
            return Unavailable(str(reason))
        if reason.is_failure:
            return rejected(str(reason))
        return DeliveryResult(outcome="accepted", detail=_("confirmed by the broker"))

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        """Read and write until the condition holds. Raises `OSError` where the connection ends before, and
        `NotConfirmed` where the broker does not answer in time.
        """
        while not condition():
            if time.monotonic() > self._until:
                raise NotConfirmed
            open_socket = self._client.socket()
            if open_socket is None:
                raise OSError(self._end_reason or _("the broker has closed the connection"))
            if not (isinstance(open_socket, ssl.SSLSocket) and open_socket.pending()):
                poll = select.poll()
                poll.register(open_socket, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
                poll.poll(max(0.0, min(POLL_SECONDS, self._until - time.monotonic())) * 1000)
            self._client.loop_read()
            self._client.loop_write()

    def _record_login(
        self, _client: Client, _data: Any, _flags: Any, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self._login = (reason, properties)

    def _record_confirmation(
        self, _client: Client, _data: Any, message_id: int, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        self._confirmations[message_id] = reason

    def _record_end(
        self, _client: Client, _data: Any, _flags: Any, reason: ReasonCode | None, _properties: Properties | None
    ) -> None:
        self._end_reason = str(reason or "")


class _SocketClient(Client):
    """Client over a socket that is connected already: the library would connect by itself, or by a proxy of the
    environment.
    """

    def __init__(self, open_socket: socket.socket) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2, client_id=f"onhook{token_hex(8)}", protocol=MQTTProtocolVersion.MQTTv5
        )
        self._open_socket = open_socket

    def _create_socket_connection(self) -> socket.socket:
        return self._open_socket


def open_client(config: Config, spec: DestinationSpec, secrets: Sequence[str]) -> MqttClient:
    """Open an MQTT broker, with the private networks of the configuration."""
    return MqttClient(spec, secrets, create_ssrf_guard(config.private_networks, allow_private=spec.allow_private))
