"""Redis streams as a destination, against a real server."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.delivery.destinations.broker_contract import BrokerContract, notification, send
from tests.delivery.destinations.broker_servers import (
    ReceivedMessage,
    ServerProcess,
    find_program,
    free_port,
    read_durations,
)
from tests.delivery.destinations.contract import DISPATCHER_TESTS, DestinationContract, open_client
from tests.delivery.harness import SECRET, open_delivery_harness
from tests.factories import call, record
from tests.server_certificates import create_server_certificate
from tests.waiting import polls, wait_until

SERVER = find_program("redis-server")
pytestmark = pytest.mark.skipif(not SERVER, reason="Redis is not installed: apt-get install redis-server")

DATABASE = 2


def start(process: ServerProcess, *options: str) -> None:
    listen = options or ("--port", str(process.port))
    process.start(SERVER, *listen, "--bind", "127.0.0.1", "--requirepass", SECRET, "--appendonly", "yes", "--save", "")


@pytest.fixture(scope="module")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path_factory.mktemp("redis"), free_port())
    start(process)
    try:
        yield process
    finally:
        process.stop()


class RedisKindServer:
    """See `broker_contract.BrokerKindServer`. Each test has a stream of its own."""

    refusal = "invalid username-password pair"
    _numbers = count(1)

    def __init__(self, process: ServerProcess) -> None:
        self.process = process
        self.redis = redis.Redis("127.0.0.1", process.port, db=DATABASE, password=SECRET, protocol=2)
        self.stream = f"stream-{next(self._numbers)}"
        self.settings = self.dead_settings(process.port)
        self._entries: dict[str, list[tuple[bytes, dict[bytes, bytes]]]] = {}

    def dead_settings(self, port: int) -> dict[str, Any]:
        url = f"redis://127.0.0.1:{port}/{DATABASE}"
        return {"kind": "redis", "url": url, "allow_private": True, "fields": {"stream": self.stream}}

    def name_settings(self, pattern: str) -> dict[str, Any]:
        return self.settings | {"fields": {"stream": f"{self.stream}.{pattern}"}}

    def messages(self) -> Sequence[ReceivedMessage]:
        for key in self.redis.scan_iter(f"{self.stream}*") if self.process.is_running else ():
            entries = self._entries.setdefault(key.decode(), [])
            new_entries: Any = self.redis.xrange(key, f"({entries[-1][0].decode()}" if entries else "-")
            entries += new_entries
        return [
            ReceivedMessage(name, {field.decode(): value.decode() for field, value in fields.items()}, fields[b"body"])
            for name, entries in self._entries.items()
            for _entry_id, fields in entries
        ]

    def durations(self) -> dict[str, int]:
        return read_durations(self.messages())

    async def stop(self) -> None:
        self.process.stop()

    async def start(self) -> None:
        start(self.process)

    def refuse(self) -> None:
        raise AssertionError("a stream refuses no message")

    @contextmanager
    def serve_tls(self, folder: Path) -> Iterator[tuple[str, str]]:
        certificate = create_server_certificate(folder, "localhost")
        process = ServerProcess(folder, free_port())
        files = ("--tls-cert-file", "server.pem", "--tls-key-file", "server.key", "--tls-ca-cert-file", "server.pem")
        start(process, "--port", "0", "--tls-port", str(process.port), "--tls-auth-clients", "no", *files)
        try:
            yield f"rediss://localhost:{process.port}/{DATABASE}", certificate.authority_pem
        finally:
            process.stop()


@pytest.fixture
def server(redis_process: ServerProcess) -> Iterator[RedisKindServer]:
    if not redis_process.is_running:
        start(redis_process)
    server = RedisKindServer(redis_process)
    yield server
    server.redis.close()


class TestRedis(DestinationContract, BrokerContract):
    """The contract suites for Redis; a stream takes every message."""

    slow_tests = DISPATCHER_TESTS
    can_refuse = False


async def test_redis_stream_keeps_so_many_messages(server: RedisKindServer) -> None:
    settings = server.settings | {"fields": {"stream": server.stream, "stream_length": 50}}
    records = [record() for _ in range(250)]
    results = await send(settings, *map(notification, records))
    assert {outcome for outcome, _detail in results} == {"accepted"}
    assert 50 <= server.redis.xlen(server.stream) < 250


async def test_redis_key_that_is_no_stream_is_a_result(server: RedisKindServer) -> None:
    server.redis.set(server.stream, "text")
    results = await send(server.settings, notification(record()), notification(record()))
    assert [outcome for outcome, _detail in results] == ["unreachable"] * 2
    assert "wrong kind of value" in results[0][1]


async def test_redis_stream_of_one_pbx_that_is_refused_fails_alone(server: RedisKindServer) -> None:
    """It is no stream, or the user may not use it."""
    server.redis.set(f"{server.stream}.text", "text")
    user: dict[str, Any] = {"enabled": True, "passwords": ["+pbx-password"], "commands": ["+xadd", "+select"]}
    server.redis.acl_setuser("pbx", **user, reset_keys=True, keys=[f"{server.stream}.*"])
    settings = server.settings | {"url": f"redis://pbx@127.0.0.1:{server.process.port}/{DATABASE}"}
    settings["fields"] = {"stream": server.stream + ".{sn}"}
    results = await send(settings, *(notification(record(sn=sn)) for sn in ("text", "S1")), secrets=["pbx-password"])
    assert [outcome for outcome, _detail in results] == ["rejected", "accepted"]
    assert "wrong kind of value" in results[0][1]
    settings["fields"] = {"stream": "{sn}.calls"}
    server.redis.acl_setuser("pbx", **user, reset_keys=True, keys=["allowed.*"])
    results = await send(settings, *(notification(record(sn=sn)) for sn in ("S1", "allowed")), secrets=["pbx-password"])
    assert [outcome for outcome, _detail in results] == ["rejected", "accepted"]
    assert "ermissions to access" in results[0][1]


async def test_redis_refused_messages_do_not_hold_back_others(server: RedisKindServer, tmp_path: Path) -> None:
    """Also where they are all that is there for many attempts."""
    server.redis.set(f"{server.stream}.refused", "text")
    settings = server.settings | {"fields": {"stream": server.stream + ".{sn}"}}
    client = open_client(settings, SECRET)
    async with open_delivery_harness(tmp_path) as harness:
        harness.open_destination = lambda _spec, _secrets: client
        await harness.add_destination("redis", "https://192.0.2.1/ignored")
        await harness.put_calls(*(call(record(sn="refused")) for _ in range(2)))
        harness.start()
        await wait_until(len(await harness.rows("redis")) == 2 async for _ in polls())
        await harness.put_calls(call(record(sn="S1")))
        await wait_until(lambda: server.redis.exists(f"{server.stream}.S1") == 1)


async def test_redis_user_logs_in_by_name(server: RedisKindServer) -> None:
    server.redis.acl_setuser(
        "pbx", enabled=True, passwords=["+pbx-password"], keys=["*"], commands=["+xadd", "+select"]
    )
    url = f"redis://pbx@127.0.0.1:{server.process.port}/{DATABASE}"
    settings = server.settings | {"url": url}
    assert (await send(settings, notification(record()), secrets=["pbx-password"]))[0][0] == "accepted"
    ((outcome, detail),) = await send(settings | {"url": url.replace("pbx@", "")}, notification(record()), secrets=[])
    assert (outcome, "Authentication required" in detail) == ("unreachable", True)


async def test_redis_connection_that_ended_between_two_calls_is_made_again(server: RedisKindServer) -> None:
    """As where the server ends idle ones: it is no failed attempt."""
    client = open_client(server.settings, SECRET)
    try:
        for _ in range(2):
            (result,) = await client.send([notification(record())])
            assert result.outcome == "accepted"
            server.redis.client_kill_filter(_type="normal", skipme=True)
            await wait_until(lambda: len(server.redis.client_list()) == 1)
    finally:
        await client.close()
