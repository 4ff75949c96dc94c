"""Kafka: a record for each notification, whose key is its call, confirmed by all in-sync replicas.

Invariants: the producer is idempotent, so that what it sends again by itself is stored once; an attempt of Onhook is
another producer, and may store a record again. All records of a call are in one partition.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from aiokafka import AIOKafkaProducer
from aiokafka.conn import create_conn
from aiokafka.errors import (
    InvalidTopicError,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from onhook.appdb.destination_spec import DestinationSpec
from onhook.config import Config
from onhook.delivery.destinations.broker_client import (
    BrokerClient,
    MessageOutcome,
    NameRefused,
    NotConfirmed,
    rejected,
)
from onhook.delivery.destinations.broker_message import CONTENT_TYPE, BrokerMessage, fill_name, name_pattern
from onhook.delivery.destinations.contract import BATCH_BYTES_MAX, LIBRARY_ERRORS, DeliveryResult
from onhook.delivery.destinations.kinds import KafkaFields, decode_fields
from onhook.delivery.guarded_connection import create_tls_context
from onhook.delivery.ssrf_guard import create_ssrf_guard
from onhook.lib.errors import Unavailable
from onhook.lib.hosts import parse_url_host
from onhook.lib.messages import _

PORT_DEFAULT = 9092

REQUEST_BYTES_MAX = BATCH_BYTES_MAX
"""Of one record; brokers take as much unless they are configured otherwise."""

TOPIC_SECONDS_MAX = 2.0
"""Wait for a topic that the cluster does not have: one that makes topics by itself has made it by then."""

TOPIC_SHARE = 2 / 3
"""Of the time that is left, for that wait: the rest is for the list of topics."""

ANSWER_SECONDS_MAX = 1.0
"""Wait for a list of topics, which shows whether the cluster answers at all."""

BATCH_BYTES = 262_144
"""Of the records of one partition in one request."""


class KafkaConnection:
    """See `broker_client.BrokerConnection`."""

    def __init__(self, producer: AIOKafkaProducer, pattern: str) -> None:
        self._producer = producer
        self._pattern = pattern

    async def publish(self, messages: Sequence[BrokerMessage], until: float) -> Sequence[MessageOutcome]:
        indexes_by_topic: dict[str, list[int]] = {}
        for index, message in enumerate(messages):
            indexes_by_topic.setdefault(fill_name(self._pattern, message), []).append(index)
        outcomes_by_topic = await asyncio.gather(
            *(
                self._publish_to(topic, [messages[index] for index in indexes], until)
                for topic, indexes in indexes_by_topic.items()
            )
        )
        outcome_by_index: dict[int, MessageOutcome] = {}
        for indexes, outcomes in zip(indexes_by_topic.values(), outcomes_by_topic, strict=True):
            outcome_by_index |= zip(indexes, outcomes, strict=True)
        return [outcome_by_index[index] for index in range(len(messages))]

    async def is_open(self) -> bool:
        return True  # the library connects to each broker again where it has to

    async def close(self) -> None:
        await self._producer.stop()

    async def _publish_to(
        self, topic: str, messages: Sequence[BrokerMessage], until: float
    ) -> Sequence[MessageOutcome]:
        """Publish the messages of one topic: what fails there is no outcome of other topics."""
        try:
            await self._require_topic(topic, until)
        except (KafkaError, Unavailable, *LIBRARY_ERRORS) as error:
            return [error] * len(messages)
        begun = [await self._begin(topic, message, until) for message in messages]
        pending = [item for item in begun if isinstance(item, asyncio.Future)]
        if pending:
            await asyncio.wait(pending, timeout=until - asyncio.get_running_loop().time())
        return [_to_outcome(item) if isinstance(item, asyncio.Future) else item for item in begun]

    async def _require_topic(self, topic: str, until: float) -> None:
        """Wait until the cluster has a topic, which some make by themselves. Raises `NameRefused` where it has not, and
        `NotConfirmed` where it does not say; both before `until`, so that the results of other topics are not lost.
        """
        seconds_left = until - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(min(TOPIC_SECONDS_MAX, TOPIC_SHARE * seconds_left)):
                await self._producer.partitions_for(topic)
        except TopicAuthorizationFailedError as error:
            raise NameRefused(_("the user may not use the topic {topic}", topic=topic)) from error
        except TimeoutError as error:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(ANSWER_SECONDS_MAX, (1 - TOPIC_SHARE) * seconds_left)):
                    if await self._producer.client.force_metadata_update():
                        raise NameRefused(_("the cluster has no topic {topic}", topic=topic)) from error
            raise NotConfirmed from error

    async def _begin(self, topic: str, message: BrokerMessage, until: float) -> "asyncio.Future[Any] | MessageOutcome":
        """Return the confirmation of a record; a result where it is larger than a request may be."""
        try:
            async with asyncio.timeout_at(until):  # of a partition without a leader, so many bytes wait
                return await self._send(topic, message)
        except MessageSizeTooLargeError as error:
            return rejected(str(error))
        except TimeoutError:
            return NotConfirmed()
        except (KafkaError, *LIBRARY_ERRORS) as error:
            reason: Exception = error
            return reason

    async def _send(self, topic: str, message: BrokerMessage) -> "asyncio.Future[Any]":
        headers = {"content-type": CONTENT_TYPE} | message.headers
        future: asyncio.Future[Any] = await self._producer.send(
            topic,
            message.body,
            key=message.key.encode(),
            headers=[(name, value.encode()) for name, value in headers.items()],
        )
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
    """Return the result of a record, or an exception where it is not confirmed."""
    if not future.done():
        return NotConfirmed()
    error = future.exception()
    if isinstance(error, MessageSizeTooLargeError):
        return rejected(str(error))
    if isinstance(error, UnknownTopicOrPartitionError | TopicAuthorizationFailedError | InvalidTopicError):
        return NameRefused(str(error))
    if isinstance(error, Exception):
        return error
    metadata = future.result()
    place = f"{metadata.topic}-{metadata.partition}"
    return DeliveryResult(
        outcome="accepted", detail=_("stored in {place}, {offset}", place=place, offset=metadata.offset)
    )
