"""`onhook doctor --cluster` on real servers: three of NATS, PostgreSQL, two hubs and an intake."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from onhook.config import Config
from onhook.lib.clock import SystemClock
from onhook.ops.doctor.cluster import check_cluster
from onhook.ops.instance_lock import START_SECONDS_MAX, prepare_directory
from onhook.ops.lost_ledger import begin_ledger
from onhook.runtime.engines import ENGINES
from tests.ledger.jetstream_server import JetStreamCluster
from tests.postgresql_server import PostgresqlServer
from tests.runtime.harness import Server, create_server, wait_until, webhook_body
from tests.waiting import polls
from tests.waiting import wait_until as wait_until_async

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[JetStreamCluster]:
    folder = tmp_path / "nats"
    folder.mkdir()
    cluster = JetStreamCluster(folder)
    try:
        for server in cluster.servers:
            server.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
async def config(
    cluster: JetStreamCluster, postgresql_server: PostgresqlServer, tmp_path: Path
) -> AsyncIterator[Config]:
    """Yield the configuration of the machine on which the command runs: it has no server."""
    postgresql_server.query("CREATE DATABASE cluster_doctor")
    config = Config(
        data=tmp_path / "desk", appdb=postgresql_server.database_url("cluster_doctor"), ledger=cluster.url, node="desk"
    )
    prepare_directory(config)
    while True:
        try:
            await begin_ledger(config, ENGINES)
            break
        except Exception as error:
            if "leader" not in str(error) and "unavailable" not in str(error):
                raise
    yield config
    postgresql_server.query("DROP DATABASE cluster_doctor WITH (FORCE)")


def create_machine(stack: ExitStack, config: Config, tmp_path: Path, node: str, role: str) -> Server:
    folder = tmp_path / node
    folder.mkdir()
    settings = {"appdb": config.appdb, "ledger": config.ledger, "node": node, "role": role}
    (folder / "onhook.toml").write_text("".join(f'{name} = "{value}"\n' for name, value in settings.items()))
    return stack.enter_context(create_server(folder / "data"))


def start(server: Server, process: str) -> None:
    server.launch()
    wait_until(lambda: server.address(process) is not None, START_SECONDS_MAX, read_progress=server.read_progress)


async def list_checks(config: Config) -> list[str]:
    return [
        f"{check.status} {check.detail}: {check.hint}" async for check in check_cluster(config, SystemClock(), ENGINES)
    ]


def has_check(checks: list[str], status: str, *texts: str) -> bool:
    return any(check.startswith(status) and all(text in check for text in texts) for check in checks)


async def test_doctor_of_a_cluster_says_how_each_machine_and_server_is(
    config: Config, cluster: JetStreamCluster, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        first = create_machine(stack, config, tmp_path, "first", "hub")
        intake = create_machine(stack, config, tmp_path, "intake", "intake")
        start(first, "hub")
        start(intake, "intake")
        first.add_pbx()
        wait_until(lambda: intake.post(webhook_body(1)) == 200)
        await wait_until_async(
            has_check(await list_checks(config), "OK", "the hub of machine first has the leases", "job:retention")
            and has_check(await list_checks(config), "OK", "the intake of machine intake runs onhook")
            async for _ in polls()
        )
        checks = await list_checks(config)
        assert [check for check in checks if not check.startswith("OK")] == []
        for number in (1, 2, 3):
            assert has_check(checks, "OK", f"(n{number}) has version", "writes before it confirms")
        assert has_check(checks, "OK", "LEDGER has 3 replicas, all current")
        assert has_check(checks, "OK", "the application database answers: PostgreSQL", "0 standbys")
        assert has_check(checks, "OK", "the store of machine first is")
        cluster.servers[2].kill()
        first.stop()
        await wait_until_async(
            has_check(await list_checks(config), "WARNING", "no hub does", "job:retention") async for _ in polls()
        )
        checks = await list_checks(config)
        assert has_check(checks, "ERROR", "the NATS server 127.0.0.3 does not answer", "start it")
        assert has_check(checks, "OK", "(n1) has version")
    moved = msgspec.structs.replace(config, appdb="postgresql://onhook@127.0.0.1:1/onhook")
    assert has_check(await list_checks(moved), "ERROR", "application database")
