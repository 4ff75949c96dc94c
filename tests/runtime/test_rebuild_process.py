"""A hub whose store was not made by the last order to read all events again rebuilds it by itself."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from onhook.config import Config
from onhook.ledger.control_entries import ReRead
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.lib.file_lock import file_lock
from onhook.ops.rebuild import LOCK_NAME
from onhook.projector.projector import Projector
from onhook.runtime import rebuild_process
from onhook.runtime.rebuild_process import rebuild_when_outdated, run_rebuild_process
from onhook.store.duckdb import open_store
from tests.runtime.harness import Server, wait_until, webhook_body
from tests.test_projector import DIALECTS
from tests.waiting import wait_until as wait_async


@asynccontextmanager
async def open_outdated(config: Config) -> AsyncIterator[Projector]:
    """Yield the projector of an outdated store."""
    ledger, store = SqliteLedger(config.ledger_file), await open_store(config.store_file)
    projector = Projector(ledger=ledger, store=store, dialects=DIALECTS, clock=SystemClock())
    try:
        await projector.append(ReRead(seqs=(1,)))
        await projector.catch_up()
        await projector.append(ReRead())
        await projector.catch_up()
        yield projector
    finally:
        await store.close()
        await ledger.close()


@asynccontextmanager
async def running(config: Config, projector: Projector, failures: list[str]) -> AsyncIterator[None]:
    """Watch while the context is open; each rebuild takes its result from `failures`."""

    async def run_rebuild(_config: Config) -> str:
        return failures.pop()

    task = asyncio.create_task(rebuild_when_outdated(config, projector, run_rebuild))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_outdated_store_is_rebuilt_again_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild_process, "RETRY_SECONDS", 0.0)
    config = Config(data=tmp_path)
    failures = ["", "the disk is full"]
    async with open_outdated(config) as projector, running(config, projector, failures):
        await wait_async(lambda: not failures)


async def test_outdated_store_is_not_rebuilt_while_a_person_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild_process, "LOCKED_SECONDS", 0.0)
    config = Config(data=tmp_path)
    failures = [""]
    async with open_outdated(config) as projector:
        with file_lock(tmp_path / LOCK_NAME):
            async with running(config, projector, failures):
                await asyncio.sleep(0.1)
        assert failures
        async with running(config, projector, failures):
            await wait_async(lambda: not failures)


async def test_rebuild_process_reports_why_it_failed(tmp_path: Path) -> None:
    """And leaves the store as it is."""
    config = Config(data=tmp_path)
    await (await open_store(config.store_file)).close()
    config.ledger_file.write_bytes(b"no database" * 1_000)
    old_bytes = config.store_file.read_bytes()
    assert "ledger" in await run_rebuild_process(config)
    assert config.store_file.read_bytes() == old_bytes


@pytest.mark.slow
@pytest.mark.parametrize("is_running", [True, False], ids=["running", "stopped"])
def test_server_with_an_outdated_store_rebuilds_it_by_itself(server: Server, is_running: bool) -> None:
    """The order comes from another hub, as an entry of the ledger, while this one runs or before it starts."""
    server.start()
    for number in range(3):
        assert server.post(webhook_body(number)) == 200
    wait_until(lambda: len(server.calls()) == 3)
    # Calls that are stored are read by the new number plan when they are read again.
    server.run_command("pbx", "change", "Office", "--queue", "1000-1009")
    assert server.post(webhook_body(3)) == 200
    wait_until(lambda: statuses(server) == ["ABANDONED", "ANSWERED", "ANSWERED", "ANSWERED"])
    if not is_running:
        assert server.stop() == 0
    asyncio.run(order_to_read_all_again(server))
    if not is_running:
        server.start()
    wait_until(lambda: statuses(server) == ["ABANDONED"] * 4)
    assert server.post(webhook_body(4)) == 200
    wait_until(lambda: statuses(server) == ["ABANDONED"] * 5)
    assert "rebuilt beside the one in use" in server.log_text()
    assert server.stop() == 0


def statuses(server: Server) -> list[str]:
    """Return the statuses of the calls; none while the hub is restarted."""
    completed = server.execute("calls", "--format", "json")
    with suppress(json.JSONDecodeError):
        return sorted(row["status"] for row in json.loads(completed.stdout))
    return []


async def order_to_read_all_again(server: Server) -> None:
    """Append what `onhook rebuild` of another hub appends."""
    ledger = SqliteLedger(server.directory / "ledger.db")
    try:
        store = await open_store(server.directory.parent / "other.duckdb")
        projector = Projector(ledger=ledger, store=store, dialects=DIALECTS, clock=SystemClock())
        await projector.append(ReRead())
        await store.close()
    finally:
        await ledger.close()
