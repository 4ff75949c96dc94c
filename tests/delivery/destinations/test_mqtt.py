"""MQTT 5 as a destination, against a real broker."""

import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import MQTTException
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from onhook.delivery.destinations import mqtt
from tests.delivery.destinations.broker_contract import BrokerContract, notification, send
from tests.delivery.destinations.broker_servers import (
    USER,
    ReceivedMessage,
    ServerProcess,
    find_program,
    free_port,
    read_durations,
)
from tests.delivery.destinations.contract import DISPATCHER_TESTS, REFUSED_BYTES, DestinationContract
from tests.delivery.harness import SECRET
from tests.factories import record
from tests.server_certificates import create_server_certificate
from tests.waiting import wait_until

SERVER = find_program("mosquitto") or find_program("/usr/sbin/mosquitto")
pytestmark = pytest.mark.skipif(not SERVER, reason="Mosquitto is not installed: apt-get install mosquitto")

CONFIGURATION = """
user root
listener {port} 127.0.0.1
allow_anonymous false
password_file {folder}/passwords
acl_file {folder}/rights
persistence true
persistence_location {folder}/
max_queued_messages 0
max_inflight_messages 10
"""
TLS = "certfile {folder}/server.pem\nkeyfile {folder}/server.key\n"
RIGHTS = f"user {USER}\ntopic readwrite t/#\ntopic write unread/#\n"


class MosquittoServer:
    """A broker, and a reader of the topics below `t`, whose session survives the broker."""

    def __init__(self, folder: Path, tls: str = "") -> None:
        self.process = ServerProcess(folder, free_port())
        self._configuration = CONFIGURATION.format(port=self.process.port, folder=folder) + tls
        (folder / "rights").write_text(RIGHTS)
        (folder / "rights").chmod(0o600)
        subprocess.run(["mosquitto_passwd", "-b", "-c", folder / "passwords", USER, SECRET], check=True)
        self.received: list[ReceivedMessage] = []
        self.reader = Client(CallbackAPIVersion.VERSION2, client_id="reader", protocol=MQTTProtocolVersion.MQTTv5)
        self.reader.username_pw_set(USER, SECRET)
        self.reader.on_message = self._collect
        self.reader.on_connect = lambda client, *_: client.subscribe("t/#", qos=1)

    def start(self, *options: str) -> None:
        configuration_file = self.process.folder / "mosquitto.conf"
        configuration_file.write_text("\n".join([self._configuration, *options, ""]))
        self.process.start(SERVER, "-c", str(configuration_file))

    def start_reader(self) -> None:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3_600
        self.reader.connect("127.0.0.1", self.process.port, clean_start=False, properties=properties)
        self.reader.loop_start()

    def stop(self) -> None:
        self.reader.disconnect()
        self.reader.loop_stop()
        self.process.stop()

    def _collect(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        headers = dict(getattr(message.properties, "UserProperty", ()))
        self.received.append(ReceivedMessage(message.topic, headers, bytes(message.payload)))


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MosquittoServer]:
    server = MosquittoServer(tmp_path_factory.mktemp("mosquitto"))
    server.start()
    server.start_reader()
    try:
        yield server
    finally:
        server.stop()


class MqttKindServer:
    """See `broker_contract.BrokerKindServer`. Each test has topics of its own."""

    refusal = "Not authorized"
    _numbers = count(1)

    def __init__(self, mosquitto: MosquittoServer) -> None:
        self.mosquitto = mosquitto
        self.prefix = f"t/{next(self._numbers)}/"
        self.settings = self.dead_settings(mosquitto.process.port)
        self.is_limited = False

    def dead_settings(self, port: int) -> dict[str, Any]:
        fields = {"topic": self.prefix + "{type}"}
        return {"kind": "mqtt", "url": f"mqtt://{USER}@127.0.0.1:{port}", "allow_private": True, "fields": fields}

    def name_settings(self, pattern: str) -> dict[str, Any]:
        return self.settings | {"fields": {"topic": self.prefix + pattern}}

    def messages(self) -> Sequence[ReceivedMessage]:
        return [message for message in self.mosquitto.received.copy() if message.name.startswith(self.prefix)]

    def durations(self) -> dict[str, int]:
        return read_durations(self.messages())

    async def stop(self) -> None:
        self.mosquitto.process.stop()

    async def start(self) -> None:
        self.mosquitto.start()

    def refuse(self) -> None:
        self.is_limited = True
        self.restart(f"max_packet_size {REFUSED_BYTES}")

    def restart(self, *options: str) -> None:
        self.mosquitto.process.stop()
        self.mosquitto.start(*options)

    @contextmanager
    def serve_tls(self, folder: Path) -> Iterator[tuple[str, str]]:
        certificate = create_server_certificate(folder, "localhost")
        server = MosquittoServer(folder, TLS.format(folder=folder))
        server.start()
        try:
            yield f"mqtts://{USER}@localhost:{server.process.port}", certificate.authority_pem
        finally:
            server.process.stop()


@pytest.fixture
async def server(mosquitto: MosquittoServer) -> AsyncIterator[MqttKindServer]:
    if not mosquitto.process.is_running:
        mosquitto.start()
    await wait_until(mosquitto.reader.is_connected)
    server = MqttKindServer(mosquitto)
    yield server
    if server.is_limited:
        server.restart()


class TestMqtt(DestinationContract, BrokerContract):
    """The contract suites for MQTT."""

    slow_tests = DISPATCHER_TESTS
    is_refused_by_size = True


async def test_mqtt_topic_that_is_forbidden_fails_alone(server: MqttKindServer) -> None:
    """The broker says it of each message."""
    settings = server.settings | {"fields": {"topic": "{sn}/calls"}}
    results = await send(settings, notification(record(sn="t")), notification(record(sn="other")))
    assert results == [("accepted", "confirmed by the broker"), ("rejected", "Not authorized")]


@pytest.mark.parametrize("error", [ValueError("no topic"), MQTTException("no connection")])
async def test_mqtt_message_that_the_library_refuses_keeps_the_outcomes_before_it(
    server: MqttKindServer, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    publish = Client.publish
    count = 0

    def refuse_second(client: Client, *arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == 2:
            raise error
        return publish(client, *arguments, **options)

    monkeypatch.setattr(mqtt, "WINDOW_MESSAGES_MAX", 1)
    monkeypatch.setattr(Client, "publish", refuse_second)
    results = await send(server.settings, notification(record()), notification(record()))
    assert results == [("accepted", "confirmed by the broker"), ("unreachable", str(error))]


async def test_mqtt_message_without_a_reader_is_accepted(server: MqttKindServer) -> None:
    """A broker says that there is none, and has kept its promise."""
    settings = server.settings | {"fields": {"topic": "unread/calls"}}
    assert await send(settings, notification(record())) == [("accepted", "confirmed by the broker")]


async def test_mqtt_batch_is_larger_than_the_broker_confirms_at_a_time(server: MqttKindServer) -> None:
    """More messages would close the connection."""
    records = [record(call_from="x" * 3_000) for _ in range(100)]
    results = await send(server.settings, *map(notification, records))
    assert results == [("accepted", "confirmed by the broker")] * 100
    await wait_until(lambda: len(server.messages()) == 100)
