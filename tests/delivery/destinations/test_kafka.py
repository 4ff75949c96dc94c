"""Kafka as a destination, against the mock cluster of librdkafka: the protocol of a cluster, without its storage."""

import ctypes
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import confluent_kafka
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
UNKNOWN_TOPIC = 3
"""Error of the protocol: UNKNOWN_TOPIC_OR_PARTITION."""


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


class LimitedCluster:
    """A cluster of one broker that has no topic of some names: what the library does not offer to Python."""

    def __init__(self, *missing_topics: str) -> None:
        (path,) = Path(confluent_kafka.__file__).parent.parent.glob("confluent_kafka.libs/librdkafka-*")
        self._library = ctypes.CDLL(str(path))
        for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_handle_mock_cluster"):
            getattr(self._library, name).restype = ctypes.c_void_p
        self._library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        conf, reason = ctypes.c_void_p(self._library.rd_kafka_conf_new()), ctypes.create_string_buffer(512)
        for setting, value in ((b"test.mock.num.brokers", b"1"), (b"log_level", b"0")):
            self._library.rd_kafka_conf_set(conf, setting, value, reason, 512)
        self._handle = ctypes.c_void_p(self._library.rd_kafka_new(0, conf, reason, 512))
        cluster = ctypes.c_void_p(self._library.rd_kafka_handle_mock_cluster(self._handle))
        for topic in missing_topics:
            self._library.rd_kafka_mock_topic_set_error(cluster, topic.encode(), UNKNOWN_TOPIC)
        self.url = f"kafka://{self._library.rd_kafka_mock_cluster_bootstraps(cluster).decode()}"

    def stop(self) -> None:
        self._library.rd_kafka_destroy(self._handle)


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


async def test_kafka_topic_that_is_missing_fails_alone() -> None:
    """What is sent beside it is stored, and said to be; where all have this topic, all wait."""
    cluster = LimitedCluster("missing")
    refused, stored = notification(record(sn="missing")), [notification(record(sn="S1")) for _ in range(3)]
    settings = {"kind": "kafka", "url": cluster.url, "allow_private": True, "fields": {"topic": "{sn}"}}
    try:
        results = await send(settings, stored[0], refused, *stored[1:])
        assert results[1] == ("rejected", "the cluster has no topic missing")
        assert [outcome for outcome, _detail in results] == ["accepted", "rejected", "accepted", "accepted"]
        settings["fields"] = {"topic": "missing"}
        assert await send(settings, refused) == [("unreachable", "the cluster has no topic missing")]
    finally:
        cluster.stop()


async def test_kafka_missing_topic_loses_no_result_of_others_within_a_short_time_out() -> None:
    cluster = LimitedCluster("missing")
    settings = {"kind": "kafka", "url": cluster.url, "allow_private": True, "fields": {"topic": "{sn}"}}
    try:
        batch = [notification(record(sn=sn)) for sn in ("S1", "missing")]
        results = await send(settings | {"timeout_seconds": 1.0}, *batch)
        assert results[0][0] == "accepted"
        assert results[1] == ("rejected", "the cluster has no topic missing")
    finally:
        cluster.stop()


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
