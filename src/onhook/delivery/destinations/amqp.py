"""AMQP 0-9-1, as of RabbitMQ: a persistent message for each notification, confirmed by the broker (publisher confirms).

Invariants: a message that no queue takes is returned, and is no delivery. A broker confirms a persistent message when
each queue has written it to disk.
"""

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

import aiormq
import yarl
from aiormq.exceptions import AuthenticationError, DeliveryError, ProbableAuthenticationError, PublishError
from pamqp.commands import Basic
from pamqp.exceptions import PAMQPException

from onhook.appdb.destination_spec import DestinationSpec
from onhook.config import Config
from onhook.delivery.destinations.broker_client import (
    BrokerClient,
    MessageOutcome,
    NameRefused,
    NotConfirmed,
    QueueFull,
)
from onhook.delivery.destinations.broker_message import (
    CONTENT_TYPE,
    BrokerMessage,
    fill_name,
    name_pattern,
)
from onhook.delivery.destinations.contract import LIBRARY_ERRORS, DeliveryResult
from onhook.delivery.destinations.kinds import AmqpFields, decode_fields
from onhook.delivery.guarded_connection import create_tls_context
from onhook.delivery.ssrf_guard import create_ssrf_guard
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _

USER_DEFAULT = "guest"
"""Of a new RabbitMQ, with the same password, from its own machine only."""

HEARTBEAT_SECONDS = 30
"""A connection that was lost without notice is found between two calls."""

PERSISTENT = 2
SHORT_TEXT_BYTES_MAX = 255
"""Of a property that is a short string (AMQP 0-9-1, 4.2.5.3)."""


class AmqpConnection:
    """See `broker_client.BrokerConnection`."""

    def __init__(
        self,
        connection: aiormq.abc.AbstractConnection,
        channel: aiormq.abc.AbstractChannel,
        exchange: str,
        pattern: str,
    ) -> None:
        self._connection = connection
        self._channel = channel
        self._exchange = exchange
        self._pattern = pattern

    async def publish(self, messages: Sequence[BrokerMessage], until: float) -> Sequence[MessageOutcome]:
        return await asyncio.gather(*(self._publish_until(message, until) for message in messages))

    async def is_open(self) -> bool:
        return self._connection.is_opened and not self._channel.is_closed

    async def close(self) -> None:
        await self._connection.close()

    async def _publish_until(self, message: BrokerMessage, until: float) -> MessageOutcome:
        """Publish a message; return the exception that says what failed."""
        try:
            async with asyncio.timeout_at(until):
                return await self._publish(message)
        except TimeoutError:
            return NotConfirmed()
        except PublishError as error:
            return NameRefused(_("no queue takes the message: {reason}", reason=error.args[0]))
        except DeliveryError:
            return QueueFull(_("the broker does not confirm the message: a queue is full, or has failed"))
        except asyncio.CancelledError:
            if not self._channel.is_closed:
                raise
            return Unavailable(_("the broker has closed the connection"))
        except (*LIBRARY_ERRORS, *AmqpDriver.errors) as error:
            return error

    async def _publish(self, message: BrokerMessage) -> DeliveryResult:
        properties = Basic.Properties(
            content_type=CONTENT_TYPE,
            delivery_mode=PERSISTENT,
            message_id=message.notification_id,
            correlation_id=message.key[:SHORT_TEXT_BYTES_MAX],
            message_type=message.type,
            app_id="onhook",
            headers=dict(message.headers),
        )
        await self._channel.basic_publish(
            message.body,
            exchange=self._exchange,
            routing_key=fill_name(self._pattern, message),
            properties=properties,
            mandatory=True,
        )
        return DeliveryResult(outcome="accepted", detail=_("confirmed by the broker"))


class AmqpDriver:
    """See `broker_client.BrokerDriver`."""

    name = "aiormq"
    errors: tuple[type[Exception], ...] = (aiormq.exceptions.AMQPError, PAMQPException)

    def __init__(self, spec: DestinationSpec) -> None:
        self._spec = spec
        self._fields: AmqpFields = decode_fields(spec, AmqpFields)
        self._pattern = name_pattern(spec)
        self._has_tls = urlsplit(spec.url).scheme == "amqps"

    async def connect(self, password: str) -> AmqpConnection:
        url = yarl.URL(self._spec.url)
        url = url.with_user(url.user or USER_DEFAULT).with_password(password or USER_DEFAULT)
        connection = aiormq.Connection(
            url.with_query(heartbeat=HEARTBEAT_SECONDS, name="onhook"),
            context=create_tls_context(self._spec.ca_certificates) if self._has_tls else None,
        )
        await connection.connect()
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        return AmqpConnection(connection, channel, self._fields.exchange, self._pattern)

    def is_login_error(self, error: Exception) -> bool:
        return isinstance(error, (AuthenticationError, ProbableAuthenticationError))


def open_client(config: Config, spec: DestinationSpec, secrets: Sequence[str]) -> BrokerClient:
    """Open an AMQP broker, with the private networks of the configuration."""
    guard = create_ssrf_guard(config.private_networks, allow_private=spec.allow_private)
    return BrokerClient(spec, secrets, guard, AmqpDriver(spec))
