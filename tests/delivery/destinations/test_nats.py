"""NATS JetStream as a destination, against a real server."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import nats
import nats.errors
import nats.js.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import DiscardPolicy, StreamConfig

from tests.delivery.destinations.broker_contract import BrokerContract, notification, send
from tests.delivery.destinations.broker_servers import (
    USER,
    ReaderThread,
    ReceivedMessage,
    ServerProcess,
    find_program,
    free_port,
    read_durations,
    run_elsewhere,
    unverified_context,
)
from tests.delivery.destinations.contract import DISPATCHER_TESTS, REFUSED_BYTES, DestinationContract, open_client
from tests.delivery.harness import SECRET
from tests.factories import record
from tests.server_certificates import create_server_certificate
from tests.waiting import wait_until

SERVER = find_program("nats-server")
pytestmark = pytest.mark.skipif(not SERVER, reason="nats-server is not installed: apt-get install nats-server")

STREAM = "calls"
CONFIGURATION = """
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{folder}/stream" }}
authorization {{
  users: [{{ user: "{user}", password: "{password}", permissions: {{ publish: {{ deny: "forbidden.>" }} }} }}]
}}
{tls}
"""
TLS = 'tls {{ cert_file: "{folder}/server.pem", key_file: "{folder}/server.key" }}'


class NatsServer:
    """A server with a stream, and a reader of it."""

    def __init__(self, folder: Path, tls: str = "") -> None:
        self.process = ServerProcess(folder, free_port())
        self.url = f"nats://127.0.0.1:{self.process.port}"
        (folder / "nats.conf").write_text(
            CONFIGURATION.format(port=self.process.port, folder=folder, user=USER, password=SECRET, tls=tls)
        )
        self.received: dict[int, ReceivedMessage] = {}
        self._has_tls = bool(tls)

    def start(self) -> None:
        self.process.start(SERVER, "-c", str(self.process.folder / "nats.conf"))

    async def connect(self) -> Client:
        async def ignore(_error: Exception) -> None:
            """The reader connects again."""

        tls = unverified_context() if self._has_tls else None
        return await nats.connect(self.url, user=USER, password=SECRET, allow_reconnect=False, error_cb=ignore, tls=tls)

    async def set_stream(self, max_message_bytes: int = -1) -> None:
        """Make the stream, or change its limit."""
        client = await self.connect()
        config = StreamConfig(name=STREAM, subjects=["onhook.>"], max_msg_size=max_message_bytes)
        try:
            await client.jetstream().add_stream(config)
        except nats.js.errors.BadRequestError:
            await client.jetstream().update_stream(config)
        await client.close()

    async def read(self) -> None:
        """Collect the messages of the stream until the connection is lost."""
        client = await self.connect()
        try:
            subscription = await client.jetstream().subscribe("onhook.>", ordered_consumer=True)
            while not client.is_closed:
                try:
                    self._collect(await subscription.next_msg(timeout=0.2))
                except nats.errors.TimeoutError:
                    continue
        finally:
            await client.close()

    def _collect(self, message: Msg) -> None:
        self.received[message.metadata.sequence.stream] = ReceivedMessage(
            message.subject, dict(message.headers or {}), message.data
        )


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.start()
    run_elsewhere(server.set_stream())
    reader = ReaderThread(server.read, (nats.errors.Error,))
    try:
        yield server
    finally:
        reader.stop()
        server.process.stop()


class NatsKindServer:
    """See `broker_contract.BrokerKindServer`. Each test has subjects of its own."""

    refusal = "Authorization Violation"
    _numbers = count(1)

    def __init__(self, server: NatsServer) -> None:
        self.server = server
        self._prefix = f"onhook.{next(self._numbers)}."
        self.settings = self.dead_settings(server.process.port)

    def dead_settings(self, port: int) -> dict[str, Any]:
        fields = {"subject": self._prefix + "{type}"}
        return {"kind": "nats", "url": f"nats://{USER}@127.0.0.1:{port}", "allow_private": True, "fields": fields}

    def name_settings(self, pattern: str) -> dict[str, Any]:
        return self.settings | {"fields": {"subject": self._prefix + pattern}}

    def messages(self) -> Sequence[ReceivedMessage]:
        received = sorted(self.server.received.copy().items())
        return [message for _seq, message in received if message.name.startswith(self._prefix)]

    def durations(self) -> dict[str, int]:
        return read_durations(self.messages())

    async def stop(self) -> None:
        self.server.process.stop()

    async def start(self) -> None:
        self.server.start()

    def refuse(self) -> None:
        run_elsewhere(self.server.set_stream(REFUSED_BYTES))

    @contextmanager
    def serve_tls(self, folder: Path) -> Iterator[tuple[str, str]]:
        certificate = create_server_certificate(folder, "localhost")
        server = NatsServer(folder, TLS.format(folder=folder))
        server.start()
        run_elsewhere(server.set_stream())
        try:
            yield f"nats+tls://{USER}@localhost:{server.process.port}", certificate.authority_pem
        finally:
            server.process.stop()


@pytest.fixture
def server(nats_server: NatsServer) -> Iterator[NatsKindServer]:
    if not nats_server.process.is_running:
        nats_server.start()
    yield NatsKindServer(nats_server)
    run_elsewhere(nats_server.set_stream())


class TestNats(DestinationContract, BrokerContract):
    """The contract suites for NATS."""

    slow_tests = DISPATCHER_TESTS
    is_refused_by_size = True


async def test_nats_repeat_is_stored_once(server: NatsKindServer) -> None:
    repeat, last = notification(record()), notification(record())
    for item in (repeat, repeat, last):
        assert await send(server.settings, item) == [("accepted", "stored in the stream calls")]
    await wait_until(lambda: last.body in [message.body for message in server.messages()])
    ids = [message.headers["Nats-Msg-Id"] for message in server.messages()]
    assert ids == [repeat.notification_id, last.notification_id]


async def test_nats_subject_without_a_stream_is_a_result(server: NatsKindServer) -> None:
    settings = server.settings | {"fields": {"subject": "elsewhere"}}
    results = await send(settings, notification(record()))
    assert results == [("unreachable", "no stream of the server has this subject")]


@pytest.mark.parametrize(
    ("sn", "reason"),
    [("elsewhere", "no stream of the server has this subject"), ("forbidden", "permissions violation")],
)
async def test_nats_subject_of_a_pbx_that_is_refused_fails_alone(server: NatsKindServer, sn: str, reason: str) -> None:
    """The others are stored, by the same connection; also where all of a batch are refused."""
    settings = server.settings | {"fields": {"subject": "{sn}.calls"}}
    refused, stored = notification(record(sn=sn)), notification(record(sn="onhook"))
    client = open_client(settings, SECRET)
    try:
        results = [*await client.send([refused, stored, refused]), *await client.send([refused, refused])]
    finally:
        await client.close()
    assert [result.outcome for result in results] == ["rejected", "accepted", "rejected", "rejected", "rejected"]
    assert {result.is_shared for result in results} == {False}
    assert all(reason in result.detail.lower() for result in results if result.outcome == "rejected")


async def test_nats_message_without_a_confirmation_keeps_those_of_others(server: NatsKindServer) -> None:
    """As of a stream whose servers have no leader: here a subscriber gets it, and no stream."""
    client = await server.server.connect()
    await client.subscribe("mute.calls")
    await client.flush()
    settings = server.settings | {"fields": {"subject": "{sn}.calls"}, "timeout_seconds": 1.0}
    results = await send(settings, notification(record(sn="mute")), notification(record(sn="onhook")))
    assert results == [("rejected", "no response within 1 seconds"), ("accepted", "stored in the stream calls")]
    await client.close()


async def add_stream_of_one_message(server: NatsServer, name: str) -> None:
    client = await server.connect()
    config = StreamConfig(name=name, subjects=[f"{name}.calls"], max_msgs=1, discard=DiscardPolicy.NEW)
    await client.jetstream().add_stream(config)
    await client.close()


async def test_nats_full_stream_of_one_pbx_fails_alone(server: NatsKindServer) -> None:
    run_elsewhere(add_stream_of_one_message(server.server, "full"))
    full, stored = notification(record(sn="full")), notification(record(sn="onhook"))
    settings = server.settings | {"fields": {"subject": "{sn}.calls"}}
    assert [outcome for outcome, _detail in await send(settings, full)] == ["accepted"]
    results = await send(settings, notification(record(sn="full")), stored)
    assert results == [("rejected", "maximum messages exceeded"), ("accepted", "stored in the stream calls")]
    only_full = server.settings | {"fields": {"subject": "full.calls"}}
    assert await send(only_full, notification(record())) == [("unreachable", "maximum messages exceeded")]


async def test_nats_error_of_one_message_ends_no_other_that_is_not_confirmed_yet(server: NatsKindServer) -> None:
    run_elsewhere(add_stream_of_one_message(server.server, "small"))
    client = await server.server.connect()
    await client.subscribe("mute.calls")
    await client.flush()
    settings = server.settings | {"fields": {"subject": "{sn}.calls"}, "timeout_seconds": 1.0}
    assert [outcome for outcome, _detail in await send(settings, notification(record(sn="small")))] == ["accepted"]
    results = await send(settings, *(notification(record(sn=sn)) for sn in ("mute", "small", "onhook")))
    assert results == [
        ("rejected", "no response within 1 seconds"),
        ("rejected", "maximum messages exceeded"),
        ("accepted", "stored in the stream calls"),
    ]
    await client.close()


async def test_nats_subject_that_is_forbidden_is_a_result_at_once(server: NatsKindServer) -> None:
    settings = server.settings | {"fields": {"subject": "forbidden.calls"}, "timeout_seconds": 60}
    ((outcome, detail),) = await send(settings, notification(record()))
    assert outcome == "unreachable"
    assert "permissions violation" in detail.lower()


async def test_nats_message_that_is_too_large_fails_alone(server: NatsKindServer) -> None:
    """The server would close the connection."""
    large, small = notification(record(call_from="x" * 1_048_000)), notification(record())
    assert len(large.body) < 1_048_576 + 1_000
    results = await send(server.settings, small, large, notification(record()))
    assert [outcome for outcome, _detail in results] == ["accepted", "rejected", "accepted"]
    assert results[1][1] == "larger than the 1,048,576 bytes of the server"


async def test_nats_server_without_tls_gets_no_login(server: NatsKindServer) -> None:
    settings = server.settings | {"url": f"nats+tls://{USER}@127.0.0.1:{server.server.process.port}"}
    assert await send(settings, notification(record())) == [("unreachable", "nats: secure connection not available")]
