"""Intakes that keep events while the NATS server is away: `on_quorum_loss = "spool"`."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from onhook.config import Config
from onhook.lib.clock import SystemClock
from onhook.ops.doctor.cluster import check_cluster
from onhook.ops.instance_lock import START_SECONDS_MAX
from onhook.ops.lost_ledger import begin_ledger
from onhook.runtime.engines import ENGINES
from tests.ledger.jetstream_server import JetStreamServer
from tests.runtime.harness import Server, call_id, call_ids, create_server, wait_until, webhook_body

pytestmark = pytest.mark.slow


@pytest.fixture
def machines(shared_config: Config, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """Yield a machine with a hub, and one with an intake that spools."""
    asyncio.run(begin_ledger(shared_config, ENGINES))
    with ExitStack() as stack:
        servers = []
        for role in ("hub", "intake"):
            folder = tmp_path / role
            folder.mkdir()
            settings = {"appdb": shared_config.appdb, "ledger": shared_config.ledger, "node": role, "role": role}
            text = "".join(f'{name} = "{value}"\n' for name, value in settings.items())
            (folder / "onhook.toml").write_text(text + 'on_quorum_loss = "spool"\n')
            servers.append(stack.enter_context(create_server(folder / "data")))
        hub, intake = servers
        yield hub, intake


def start(server: Server, process: str) -> None:
    server.launch()
    wait_until(lambda: server.address(process) is not None, START_SECONDS_MAX, read_progress=server.read_progress)


def is_acknowledged(intake: Server, number: int) -> bool:
    """Send an event, also while the intake starts."""
    try:
        return intake.address("intake") is not None and intake.post(webhook_body(number)) == 200
    except OSError:
        return False


def list_checks(config: Config) -> list[str]:
    async def read() -> list[str]:
        return [f"{check.status} {check.detail}" async for check in check_cluster(config, SystemClock(), ENGINES)]

    return asyncio.run(read())


def test_events_are_acknowledged_without_the_servers_and_forwarded_later(
    machines: tuple[Server, Server], nats_server: JetStreamServer, shared_config: Config
) -> None:
    """Over a kill of the intake, and a start without the servers; `doctor` says what waits."""
    hub, intake = machines
    start(hub, "hub")
    hub.add_pbx()
    start(intake, "intake")
    wait_until(lambda: intake.post(webhook_body(1)) == 200)
    desk = msgspec.structs.replace(shared_config, node="desk")
    nats_server.kill()
    try:
        for number in (2, 3, 2):
            assert intake.post(webhook_body(number)) == 200
        intake.kill("intake")
        wait_until(lambda: is_acknowledged(intake, 4), read_progress=intake.read_progress)
        text = "machine intake keeps 3 events that the ledger lacks"
        wait_until(lambda: any(text in check for check in list_checks(desk)))
    finally:
        nats_server.start()
    wait_until(lambda: call_ids(hub.calls()) == [call_id(number) for number in (1, 2, 3, 4)])
    wait_until(lambda: not any("that the ledger lacks" in check for check in list_checks(desk)))
    assert intake.post(webhook_body(3)) == 200
    assert intake.post(webhook_body(5)) == 200
    wait_until(lambda: call_ids(hub.calls()) == [call_id(number) for number in (1, 2, 3, 4, 5)])
