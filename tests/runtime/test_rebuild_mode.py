"""The hub while it rebuilds its store: what it says on the terminal and to readers."""

import logging
import os
from pathlib import Path

import aiohttp
import pytest

from onhook.config import Address, Config
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.errors import UsageError
from onhook.projector import projector
from onhook.runtime import rebuild_mode
from onhook.runtime.rebuild_mode import open_rebuild_mode
from tests.test_projector import entry, event
from tests.waiting import wait_until

EVENTS = 6


async def test_rebuild_says_how_far_it_is_on_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The reason, each step, and the end, after which its process is to end; pages say so meanwhile."""
    config = Config(data=tmp_path, console=Address("127.0.0.1", 0))
    ledger = SqliteLedger(config.ledger_file)
    await ledger.append([entry(event(number, "1001")) for number in range(EVENTS)])
    await ledger.close()
    monkeypatch.setattr(rebuild_mode, "LOG_INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr(projector, "BATCH_RAW_EVENTS_MAX", 2)
    signals: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: signals.append(number) if pid == os.getpid() else None)
    caplog.set_level(logging.INFO)
    async with open_rebuild_mode(config, UsageError("the store is of another version")) as service:
        await wait_until(lambda: bool(signals))
        async with aiohttp.request("GET", f"http://{service.address}/readyz") as answer:
            assert (answer.status, (await answer.json())["lag"]) == (503, 0)
    records = [record for record in caplog.records if record.name == "rebuild"]
    begin, *steps, end = records
    assert (begin.message, begin.__dict__["reason"]) == ("rebuilding the store", "the store is of another version")
    assert end.message == "rebuilt the store"
    positions = [(record.__dict__["position"], record.__dict__["last_seq"]) for record in steps]
    assert positions == sorted(positions)
    assert positions[0][0] < positions[-1][0] == positions[-1][1] == end.__dict__["events"]
