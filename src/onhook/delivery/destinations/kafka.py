"""Kafka: a record for each notification, whose key is its call, confirmed by all in-sync replicas.

Invariants: the producer is idempotent, so that what it sends again by itself is stored once; an attempt of Onhook is
another producer, and may store a record again. All records of a call are in one partition.
"""

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from aiokafka import AIOKafkaProducer
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError, MessageSizeTooLargeError, SaslAuthenticationFailed

from onhook.appdb.destination_spec import DestinationSpec
from onhook.config import Config
from onhook.delivery.destinations.broker_client import BrokerClient, MessageOutcome, rejected
from onhook.delivery.destinations.broker_message import CONTENT_TYPE, BrokerMessage, fill_name, name_pattern
from onhook.delivery.destinations.contract import BATCH_BYTES_MAX, DeliveryResult
from onhook.delivery.destinations.kinds import KafkaFields, decode_fields
from onhook.delivery.guarded_connection import create_tls_context
from onhook.delivery.ssrf_guard import create_ssrf_guard
from onhook.lib.hosts import parse_url_host
from onhook.lib.messages import _

PORT_DEFAULT = 9092

REQUEST_BYTES_MAX = BATCH_BYTES_MAX
"""Of one record; brokers take as much unless they are configured otherwise."""

BATCH_BYTES = 262_144
"""Of the records of one partition in one request."""


class KafkaConnection:
    """See `broker_client.BrokerConnection`."""

    def __init__(self, producer: AIOKafkaProducer, pattern: str) -> None:
        self._producer = producer
        self._pattern = pattern

    async def publish(self, messages: Sequence[BrokerMessage]) -> Sequence[MessageOutcome]:
        futures = [await self._begin(message) for message in messages]
        pending = [future for future in futures if isinstance(future, asyncio.Future)]
        if pending:
            await asyncio.wait(pending)
        return [_to_outcome(future) if isinstance(future, asyncio.Future) else future for future in futures]

    async def is_open(self) -> bool:
        return True  # the library connects to each broker again where it has to

    async def close(self) -> None:
        await self._producer.stop()

    async def _begin(self, message: BrokerMessage) -> "asyncio.Future[Any] | DeliveryResult":
        """Return the confirmation of a record; a result where it is larger than a request may be."""
        headers = {"content-type": CONTENT_TYPE} | message.headers
        try:
            future: asyncio.Future[Any] = await self._producer.send(
                fill_name(self._pattern, message),
                message.body,
                key=message.key.encode(),
                headers=[(name, value.encode()) for name, value in headers.items()],
            )
        except MessageSizeTooLargeError as error:
            return rejected(str(error))
        return future


class KafkaDriver:
    """See `broker_client.BrokerDriver`."""

    name = "aiokafka"
    errors: tuple[type[Exception], ...] = (KafkaError,)

    def __init__(self, spec: DestinationSpec) -> None:
        parts = urlsplit(spec.url)
        fields: KafkaFields = decode_fields(spec, KafkaFields)
        self._host, self._port = parse_url_host(spec.url).text, parts.port or PORT_DEFAULT
        self._user = unquote(parts.username or "")
        self._has_tls = parts.scheme == "kafka+tls"
        self._sasl_mechanism = fields.sasl.upper()
        self._pattern = name_pattern(spec)
        self._timeout_ms = round(spec.timeout_seconds * 1000)
        self._ca_certificates = spec.ca_certificates

    async def connect(self, password: str) -> KafkaConnection:
        options = self._connection_options(password)
        producer = AIOKafkaProducer(
            bootstrap_servers=f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}",
            enable_idempotence=True,  # waits for all in-sync replicas too
            max_request_size=REQUEST_BYTES_MAX,
            max_batch_size=BATCH_BYTES,
            **options,
        )
        try:
            await producer.start()
        except KafkaConnectionError:
            await producer.stop()
            await self._connect_once(options)
            raise
        except BaseException:
            await producer.stop()
            raise
        return KafkaConnection(producer, self._pattern)

    def is_login_error(self, error: Exception) -> bool:
        return isinstance(error, SaslAuthenticationFailed)

    def _connection_options(self, password: str) -> dict[str, Any]:
        options: dict[str, Any] = {
            "client_id": "onhook",
            "request_timeout_ms": self._timeout_ms,
            "security_protocol": f"{'SASL_' if self._user else ''}{'SSL' if self._has_tls else 'PLAINTEXT'}",
            "ssl_context": create_tls_context(self._ca_certificates) if self._has_tls else None,
        }
        if self._user:
            options |= {"sasl_mechanism": self._sasl_mechanism, "sasl_plain_username": self._user}
            options |= {"sasl_plain_password": password}
        return options

    async def _connect_once(self, options: dict[str, Any]) -> None:
        """Raise why the broker cannot be used: a producer does not say it."""
        connection = await create_conn(self._host, self._port, **options)
        connection.close()


def open_client(config: Config, spec: DestinationSpec, secrets: Sequence[str]) -> BrokerClient:
    """Open a Kafka cluster, with the private networks of the configuration."""
    guard = create_ssrf_guard(config.private_networks, allow_private=spec.allow_private)
    return BrokerClient(spec, secrets, guard, KafkaDriver(spec))


def _to_outcome(future: "asyncio.Future[Any]") -> MessageOutcome:
    """Return the result of a record whose confirmation has come, or an exception."""
    error = future.exception()
    if isinstance(error, MessageSizeTooLargeError):
        return rejected(str(error))
    if isinstance(error, Exception):
        return error
    metadata = future.result()
    place = f"{metadata.topic}-{metadata.partition}"
    return DeliveryResult(
        outcome="accepted", detail=_("stored in {place}, {offset}", place=place, offset=metadata.offset)
    )
