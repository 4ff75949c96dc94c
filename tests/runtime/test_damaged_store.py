"""A store whose damage is found while the server runs: it is rebuilt without a person, and nothing is lost."""

import asyncio
import json
from pathlib import Path

import pytest

from onhook.ledger.sqlite import SqliteLedger
from tests.runtime.harness import SN, Server, wait_until, webhook_body
from tests.store.damage import damage_calls
from tests.test_projector import entry

EVENTS = 4_000


@pytest.mark.slow
def test_server_rebuilds_a_store_whose_damage_it_finds_later(server: Server) -> None:
    """Events are acknowledged meanwhile."""
    asyncio.run(append(server.directory / "ledger.db"))
    server.start()
    wait_until(lambda: len(server.calls()) == EVENTS)
    server.stop()
    damage_calls(server.directory / "calls.duckdb")
    server.start()
    server.run_command("calls", "--limit", str(EVENTS), exit_code=None)
    wait_until(lambda: "the store is damaged: restarting to rebuild it" in server.log_text())
    assert server.post(webhook_body(EVENTS)) == 200
    wait_until(lambda: "rebuilt the store" in server.log_text())
    wait_until(lambda: count_calls(server) == EVENTS + 1)
    assert server.stop() == 0


def count_calls(server: Server) -> int:
    """Return the number of calls; 0 while the hub is restarted."""
    completed = server.execute("calls", "--format", "json", "--limit", "10000")
    return len(json.loads(completed.stdout)) if completed.returncode == 0 else 0


async def append(path: Path) -> None:
    ledger = SqliteLedger(path)
    await ledger.append([entry(webhook_body(number), SN) for number in range(EVENTS)])
    await ledger.close()
