"""Kafka as a destination, against the mock cluster of librdkafka: the protocol of a cluster, without its storage."""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from onhook.appdb.destination_spec import DestinationSpec
from onhook.config import Config
from onhook.delivery.destinations.opening import destination_opener
from tests.delivery.destinations.broker_contract import notification, send
from tests.delivery.destinations.broker_servers import PortForwarder, ReceivedMessage, read_durations
from tests.delivery.destinations.contract import DISPATCHER_TESTS, DestinationContract
from tests.factories import record
from tests.waiting import wait_until

BROKERS, PARTITIONS = 3, 4
POLL_SECONDS = 0.01
METADATA_SECONDS = 10.0


class MockCluster:
    """A cluster in this process, whose first broker is found behind a forwarder; a new one has other ports."""

    def __init__(self) -> None:
        self.forwarder = PortForwarder(0)
        self.start()

    def start(self) -> None:
        """Start an empty cluster."""
        self._producer = Producer({"test.mock.num.brokers": BROKERS, "bootstrap.servers": "ignored", "log_level": 0})
        metadata = self._producer.list_topics(timeout=METADATA_SECONDS)
        self.ports = sorted(broker.port for broker in metadata.brokers.values())
        self.forwarder.target_port = self.ports[0]

    def stop(self) -> None:
        """End the cluster, with what it has stored."""
        del self._producer

    def consumer(self, topic: str) -> Consumer:
        consumer = Consumer(
            {"bootstrap.servers": f"127.0.0.1:{self.ports[0]}", "group.id": "reader", "log_level": 0}
            | {"auto.offset.reset": "earliest", "enable.auto.commit": False, "fetch.wait.max.ms": 10}
        )
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
        return consumer


@pytest.fixture(scope="module")
def mock_cluster() -> Iterator[MockCluster]:
    cluster = MockCluster()
    yield cluster
    cluster.forwarder.stop()
    cluster.stop()


def _to_received(message: Any) -> ReceivedMessage:
    headers = {name: value.decode() for name, value in message.headers() or ()}
    return ReceivedMessage(message.topic(), headers, message.value(), (message.key() or b"").decode())


class KafkaKindServer:
    """See `contract.KindServer`. Each test has a topic of its own."""

    _numbers = count(1)

    def __init__(self, cluster: MockCluster) -> None:
        self.cluster = cluster
        self.topic = f"topic-{next(self._numbers)}"
        self.settings = self.dead_settings(cluster.forwarder.port)
        self._messages: list[ReceivedMessage] = []
        self._consumer: Consumer | None = None

    def dead_settings(self, port: int) -> dict[str, Any]:
        url = f"kafka://127.0.0.1:{port}"
        return {"kind": "kafka", "url": url, "allow_private": True, "fields": {"topic": self.topic}}

    def messages(self) -> Sequence[ReceivedMessage]:
        if self._consumer is None:
            self._consumer = self.cluster.consumer(self.topic)
        for message in self._consumer.consume(1_000, timeout=POLL_SECONDS):
            if message.error() is None:
                self._messages.append(_to_received(message))
        return self._messages

    def durations(self) -> dict[str, int]:
        return read_durations(self.messages())

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    async def stop(self) -> None:
        self.close()
        self.cluster.forwarder.shut()
        self.cluster.stop()

    async def start(self) -> None:
        self.cluster.start()
        self.cluster.forwarder.open()

    def refuse(self) -> None:
        raise AssertionError("the mock cluster refuses no record")


@pytest.fixture
def server(mock_cluster: MockCluster) -> Iterator[KafkaKindServer]:
    server = KafkaKindServer(mock_cluster)
    yield server
    server.close()


class TestKafka(DestinationContract):
    """The contract suite for Kafka; the mock cluster takes every record, and has neither logins nor TLS."""

    slow_tests = DISPATCHER_TESTS
    can_refuse = False


async def test_kafka_record_has_key_headers_and_body(server: KafkaKindServer) -> None:
    source = record(sn="S 1")
    results = await send(server.settings, notification(source))
    assert [outcome for outcome, _detail in results] == ["accepted"]
    await wait_until(lambda: len(server.messages()) == 1)
    (message,) = server.messages()
    assert message.key == f"S%201/{source.call_id}"
    assert message.headers["onhook-format"] == "record-1"
    assert message.headers["onhook-sn"] == "S%201"
    assert message.headers["content-type"] == "application/json"
    assert message.body == notification(source).body


async def test_kafka_record_that_is_too_large_fails_alone(server: KafkaKindServer) -> None:
    large = notification(record(call_from="x" * 1_100_000))
    results = await send(server.settings, notification(record()), large, notification(record()))
    assert [outcome for outcome, _detail in results] == ["accepted", "rejected", "accepted"]


async def test_kafka_brokers_that_the_cluster_names_are_guarded(server: KafkaKindServer) -> None:
    """The first broker has an allowed address, the others are on the loopback."""
    forwarder = PortForwarder(server.cluster.ports[0], host="127.0.0.2")
    spec = DestinationSpec(kind="kafka", url=f"kafka://127.0.0.2:{forwarder.port}", timeout_seconds=2.0)
    client = destination_opener(Config(private_networks="127.0.0.2/32"))(spec, ())
    try:
        (result,) = await client.send([notification(record())])
        assert result.outcome == "unreachable"
        assert result.detail == "not connected: 127.0.0.1 is a private address: --allow-private allows it"
    finally:
        await client.close()
        forwarder.stop()
