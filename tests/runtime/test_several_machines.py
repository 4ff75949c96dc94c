"""Two hubs and an intake with data directories of their own: one installation, on one PostgreSQL and one NATS
server.
"""

import asyncio
import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from onhook.config import Config, parse_address
from onhook.ops.instance_lock import START_SECONDS_MAX
from onhook.ops.lost_ledger import begin_ledger
from onhook.runtime.engines import ENGINES
from tests.runtime.harness import Server, call_id, call_ids, create_server, wait_until, webhook_body

pytestmark = pytest.mark.slow


@pytest.fixture
def machines(shared_config: Config, tmp_path: Path) -> Iterator[Mapping[str, Server]]:
    """Yield the servers of three machines, not started, by their names, and a fourth with the name of the first."""
    asyncio.run(begin_ledger(shared_config, ENGINES))
    with ExitStack() as stack:
        servers = {}
        for folder, node, role in (
            *(("first", "first", "hub"), ("second", "second", "hub")),
            *(("intake", "intake", "intake"), ("copy", "first", "hub")),
        ):
            (tmp_path / folder).mkdir()
            settings = {"appdb": shared_config.appdb, "ledger": shared_config.ledger, "node": node, "role": role}
            text = "".join(f'{name} = "{value}"\n' for name, value in settings.items())
            (tmp_path / folder / "onhook.toml").write_text(text)
            servers[folder] = stack.enter_context(create_server(tmp_path / folder / "data"))
        yield servers


def start(server: Server, process: str) -> None:
    server.launch()
    wait_until(lambda: server.address(process) is not None, START_SECONDS_MAX, read_progress=server.read_progress)


def read_api(server: Server, path: str, token: str = "") -> tuple[int, Any]:
    """Return the status and the document of a response of the console."""
    address = parse_address(str(server.address("hub")), "running.json")
    connection = http.client.HTTPConnection(address.host, address.port, timeout=60)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def token_of(server: Server) -> str:
    return (server.directory / "admin.token").read_text().strip()


def wait_for_calls(server: Server, *numbers: int) -> None:
    wait_until(lambda: call_ids(server.calls()) == [call_id(number) for number in numbers])


def test_two_hubs_and_an_intake_are_one_installation(machines: Mapping[str, Server]) -> None:
    """Each hub has all calls, and each token is valid at both; one goes on when the other is gone."""
    first, second, intake = machines["first"], machines["second"], machines["intake"]
    start(first, "hub")
    first.add_pbx()
    start(second, "hub")
    start(intake, "intake")
    assert intake.process_info("hub") is None
    assert first.process_info("intake") is None
    assert intake.post(webhook_body(1)) == 200
    for hub in (first, second):
        wait_for_calls(hub, 1)
        for token in (token_of(first), token_of(second)):
            assert read_api(hub, "/api/v1/pbxs", token)[0] == 200
    assert read_api(first, "/readyz") == read_api(second, "/readyz")
    assert "this machine runs the intake alone" in intake.execute("calls").stderr
    copy = machines["copy"]
    assert "another hub runs under the name first" in copy.execute("serve").stderr
    assert read_api(second, "/api/v1/pbxs", token_of(first))[0] == 200
    assert first.stop() == 0
    assert intake.post(webhook_body(2)) == 200
    assert intake.post(webhook_body(1)) == 200
    wait_for_calls(second, 1, 2)
    start(first, "hub")
    wait_for_calls(first, 1, 2)
    assert not (intake.directory / "admin.token").exists()


def test_new_hub_begins_with_the_store_of_another_one(machines: Mapping[str, Server], tmp_path: Path) -> None:
    """Which runs meanwhile."""
    first, second, intake = machines["first"], machines["second"], machines["intake"]
    start(first, "hub")
    first.add_pbx()
    start(intake, "intake")
    for number in (1, 2):
        assert intake.post(webhook_body(number)) == 200
    wait_for_calls(first, 1, 2)
    output = first.run_command("cluster", "save-store", str(tmp_path / "store"))
    assert output.startswith("Copied the store up to entry ")
    assert intake.post(webhook_body(3)) == 200
    output = second.run_command("cluster", "load-store", str(tmp_path / "store"))
    assert output.startswith("The store is that of machine first up to entry ")
    start(second, "hub")
    for hub in (first, second):
        wait_for_calls(hub, 1, 2, 3)
    entries = read_api(first, "/api/v1/audit", token_of(first))[1]["data"]
    for words in ("copy the store of first up to entry ", "begin the store of second with that of first up to entry "):
        (entry,) = [entry for entry in entries if entry["action"].startswith(words)]
        assert entry["way"] == "cli"
