"""A store whose damage is found while the server runs: it is rebuilt without a person, and nothing is lost."""

import asyncio
import json
import signal
from pathlib import Path

import pytest

from onhook.ledger.sqlite import SqliteLedger
from onhook.store.open_attempts import DEATHS_MAX, opening_mark
from tests.runtime.harness import SN, Server, wait_until, webhook_body
from tests.store.damage import damage_calls
from tests.store.test_open_attempts import die_while_opening
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


@pytest.mark.slow
def test_server_rebuilds_a_store_that_ends_each_process_that_opens_it(server: Server) -> None:
    """Instead of restarting the hub for ever."""
    server.start()
    assert server.post(webhook_body(1)) == 200
    wait_until(lambda: len(server.calls()) == 1)
    server.stop()
    for _death in range(DEATHS_MAX):
        die_while_opening(server.directory / "calls.duckdb", signal.SIGSEGV)
    server.start()
    assert server.post(webhook_body(2)) == 200
    wait_until(lambda: "rebuilt the store" in server.log_text())
    wait_until(lambda: count_calls(server) == 2)
    assert "opening it has ended the process 3 times in a row" in server.log_text()
    assert server.stop() == 0
    assert not opening_mark(server.directory / "calls.duckdb").exists()


def count_calls(server: Server) -> int:
    """Return the number of calls; 0 while the hub is restarted."""
    completed = server.execute("calls", "--format", "json", "--limit", "10000")
    return len(json.loads(completed.stdout)) if completed.returncode == 0 else 0


async def append(path: Path) -> None:
    ledger = SqliteLedger(path)
    await ledger.append([entry(webhook_body(number), SN) for number in range(EVENTS)])
    await ledger.close()
