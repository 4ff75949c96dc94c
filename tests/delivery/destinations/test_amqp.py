"""AMQP as a destination, against a real RabbitMQ."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiormq
import pytest
from aiormq.abc import DeliveredMessage

from tests.delivery.destinations.broker_contract import BrokerContract, notification, send
from tests.delivery.destinations.broker_servers import (
    USER,
    PortForwarder,
    ReaderThread,
    ReceivedMessage,
    ServerProcess,
    find_program,
    free_port,
    read_durations,
    run_elsewhere,
)
from tests.delivery.destinations.contract import DestinationContract
from tests.delivery.harness import SECRET
from tests.factories import record
from tests.server_certificates import create_server_certificate
from tests.waiting import wait_until

SERVER = find_program("/usr/lib/rabbitmq/bin/rabbitmq-server")
needs_server = pytest.mark.skipif(not SERVER, reason="RabbitMQ is not installed: apt-get install rabbitmq-server")
"""RabbitMQ starts for longer than the tests of another kind run, so all tests with it are slow."""

CONFIGURATION = """
default_user = {user}
default_pass = {password}
loopback_users = none
listeners.tcp.1 = 127.0.0.1:{port}
listeners.ssl.1 = 127.0.0.1:{tls_port}
ssl_options.certfile = {folder}/server.pem
ssl_options.keyfile = {folder}/server.key
"""


class RabbitmqServer:
    """A broker whose Erlang listens on the loopback only. It takes seconds to start, so a forwarder is what stops."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.tls_port, self.port = free_port(), free_port()
        self._environment = os.environ | {
            "HOME": str(folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(free_port()),
            "RABBITMQ_NODENAME": f"test{os.getpid()}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "logs"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        }
        (folder / "plugins").write_text("[].")
        (folder / "rabbitmq.conf").write_text(
            CONFIGURATION.format(user=USER, password=SECRET, port=self.port, tls_port=self.tls_port, folder=folder)
        )
        self.certificate = create_server_certificate(folder, "localhost")
        self.process = ServerProcess(folder, self.port, self._environment)
        self.process.start(SERVER)
        self.forwarder = PortForwarder(self.port)
        self.received: list[ReceivedMessage] = []

    @property
    def url(self) -> str:
        return f"amqp://{USER}:{SECRET}@127.0.0.1:{self.port}/"

    def stop(self) -> None:
        self.forwarder.stop()
        self.process.stop()
        # Erlang leaves its port mapper behind.
        subprocess.run(["epmd", "-kill"], env=self._environment, check=False, capture_output=True)

    async def declare_queue(self, name: str, **arguments: Any) -> None:
        connection = await aiormq.connect(self.url)
        channel = await connection.channel()
        await channel.queue_declare(name, durable=True, arguments=arguments)
        await connection.close()

    async def set_up(self) -> None:
        """Make the exchange `calls`, which sends all to the queue `reader`."""
        await self.declare_queue("reader")
        connection = await aiormq.connect(self.url)
        channel = await connection.channel()
        await channel.exchange_declare("calls", exchange_type="topic", durable=True)
        await channel.queue_bind("reader", "calls", "#")
        await connection.close()

    async def read(self) -> None:
        """Collect the messages of the queue `reader` until the connection is lost."""
        connection = await aiormq.connect(self.url)
        channel = await connection.channel()
        await channel.basic_consume("reader", self._collect, no_ack=True)
        await asyncio.shield(connection.closing)

    async def _collect(self, message: DeliveredMessage) -> None:
        properties = message.header.properties
        headers = {name: str(value) for name, value in (properties.headers or {}).items()}
        self.received.append(
            ReceivedMessage(message.routing_key or "", headers, message.body, properties.correlation_id or "")
        )


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[RabbitmqServer]:
    folder = Path(tempfile.mkdtemp(prefix="rabbitmq"))
    try:
        server = RabbitmqServer(folder)
        run_elsewhere(server.set_up())
        reader = ReaderThread(server.read, (aiormq.exceptions.AMQPError,))
        try:
            yield server
        finally:
            reader.stop()
            server.stop()
    finally:
        shutil.rmtree(folder)


class AmqpKindServer:
    """See `broker_contract.BrokerKindServer`. Each test has routing keys of its own."""

    refusal = "ACCESS_REFUSED"
    _numbers = count(1)

    def __init__(self, rabbitmq: RabbitmqServer) -> None:
        self.rabbitmq = rabbitmq
        self.prefix = f"{next(self._numbers)}."
        self.settings = self.dead_settings(rabbitmq.forwarder.port)

    def dead_settings(self, port: int) -> dict[str, Any]:
        fields = {"exchange": "calls", "routing_key": self.prefix + "{type}"}
        return {"kind": "amqp", "url": f"amqp://{USER}@127.0.0.1:{port}", "allow_private": True, "fields": fields}

    def name_settings(self, pattern: str) -> dict[str, Any]:
        return self.settings | {"fields": {"exchange": "calls", "routing_key": self.prefix + pattern}}

    def messages(self) -> Sequence[ReceivedMessage]:
        return [message for message in self.rabbitmq.received.copy() if message.name.startswith(self.prefix)]

    def durations(self) -> dict[str, int]:
        return read_durations(self.messages())

    async def stop(self) -> None:
        self.rabbitmq.forwarder.shut()

    async def start(self) -> None:
        self.rabbitmq.forwarder.open()

    def refuse(self) -> None:
        raise AssertionError("a broker refuses no message")

    @contextmanager
    def serve_tls(self, folder: Path) -> Iterator[tuple[str, str]]:
        yield f"amqps://{USER}@localhost:{self.rabbitmq.tls_port}", self.rabbitmq.certificate.authority_pem


@pytest.fixture
async def server(rabbitmq: RabbitmqServer) -> AmqpKindServer:
    rabbitmq.forwarder.open()
    return AmqpKindServer(rabbitmq)


@pytest.mark.parametrize(("changes", "reason"), [({}, "cannot connect"), ({"allow_private": False}, "not connected")])
async def test_amqp_broker_that_is_not_there_is_a_result(changes: dict[str, Any], reason: str) -> None:
    """Also for a batch."""
    url = f"amqp://{USER}@127.0.0.1:{free_port()}"
    settings = {"kind": "amqp", "url": url, "allow_private": True} | changes
    results = await send(settings, notification(record()), notification(record()))
    assert [outcome for outcome, _detail in results] == ["unreachable"] * 2
    assert results[0][1].startswith(reason)


@needs_server
@pytest.mark.slow
class TestAmqp(DestinationContract, BrokerContract):
    """The contract suites for AMQP; a broker takes every message."""

    can_refuse = False
    has_keys = True


@needs_server
@pytest.mark.slow
async def test_amqp_queue_by_its_name_gets_messages(server: AmqpKindServer) -> None:
    run_elsewhere(server.rabbitmq.declare_queue("direct"))
    settings = server.settings | {"fields": {"routing_key": "direct"}}
    assert await send(settings, notification(record())) == [("accepted", "confirmed by the broker")]


@needs_server
@pytest.mark.slow
async def test_amqp_message_without_a_queue_is_a_result(server: AmqpKindServer) -> None:
    """It is returned, also between others: each PBX may have a queue of its own. Where all have one name, all wait."""
    refused, reason = [notification(record()), notification(record())], "no queue takes the message: NO_ROUTE"
    settings = server.settings | {"fields": {"routing_key": "nothing"}}
    assert await send(settings, *refused) == [("unreachable", reason)] * 2
    run_elsewhere(server.rabbitmq.declare_queue("S1.calls"))
    settings = server.settings | {"fields": {"routing_key": "{sn}.calls"}}
    assert await send(settings, *refused) == [("rejected", reason)] * 2
    results = await send(settings, refused[0], notification(record(sn="S1")))
    assert results == [("rejected", reason), ("accepted", "confirmed by the broker")]


@needs_server
@pytest.mark.slow
async def test_amqp_full_queue_is_a_result(server: AmqpKindServer) -> None:
    limits = {"x-max-length": 1, "x-overflow": "reject-publish"}
    run_elsewhere(server.rabbitmq.declare_queue("full", **limits))
    settings = server.settings | {"fields": {"routing_key": "full"}}
    assert (await send(settings, notification(record())))[0][0] == "accepted"
    ((outcome, detail),) = await send(settings, notification(record()))
    assert (outcome, "a queue is full" in detail) == ("unreachable", True)
    run_elsewhere(server.rabbitmq.declare_queue("other"))
    settings = server.settings | {"fields": {"routing_key": "{sn}"}}
    results = await send(settings, notification(record(sn="full")), notification(record(sn="other")))
    assert [outcome for outcome, _detail in results] == ["rejected", "accepted"]


@needs_server
@pytest.mark.slow
async def test_amqp_exchange_that_is_missing_is_a_result(server: AmqpKindServer) -> None:
    settings = server.settings | {"fields": {"exchange": "nothing", "routing_key": "a"}, "timeout_seconds": 60}
    results = await send(settings, notification(record()), notification(record()))
    assert [outcome for outcome, _detail in results] == ["unreachable"] * 2
    assert "no exchange 'nothing'" in results[0][1]


@needs_server
@pytest.mark.slow
async def test_amqp_message_is_persistent_and_has_properties(server: AmqpKindServer) -> None:
    source = notification(record())
    await send(server.settings, source)
    await wait_until(lambda: len(server.messages()) == 1)
    assert server.messages()[0].headers["onhook-id"] == source.notification_id
