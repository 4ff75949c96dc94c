"""A ledger that was lost without a backup, up to the next event at a destination."""

import asyncio
import logging
import os
import re
import shlex
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.swept_files import SweptFile
from onhook.appdb.swept_folders import SweptFolder
from onhook.config import Address, Config
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.lib.errors import UsageError
from onhook.ops.instance_lock import check_ledger_file
from onhook.ops.lost_ledger import begin_ledger
from onhook.ops.rebuild import check_begin, rebuild
from onhook.projector.ledger_check import check_ledger
from onhook.runtime.data_files import open_files
from onhook.runtime.engines import ENGINES
from onhook.runtime.hub_process import open_hub
from onhook.runtime.intake_process import open_intake
from tests.ledger.entries import read_events
from tests.runtime.harness import ONHOOK, command_environment
from tests.runtime.test_intake_process import create_appdb, post
from tests.test_projector import SN

EVENTS = 5

LAST_SEQ = 1 + EVENTS
"""Number of the last event: the facts of the PBX, which are published first, have one too."""


class Receiver:
    """A destination on this machine that counts notifications."""

    def __init__(self) -> None:
        self.bodies: asyncio.Queue[bytes] = asyncio.Queue()

    async def receive(self, request: web.BaseRequest) -> web.Response:
        await self.bodies.put(await request.read())
        return web.Response()


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    """Yield the receiver of the only destination; it is in the application database, beside a PBX."""
    opened_receiver = Receiver()
    runner = web.ServerRunner(web.Server(opened_receiver.receive))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    await create_appdb(tmp_path / "onhook.db")
    async with AppDb(tmp_path / "onhook.db") as appdb:
        spec = DestinationSpec(url=f"http://{host}:{port}/", allow_private=True)
        await appdb.destinations.add("CRM", spec, None, after=0, now_us=1)
    yield opened_receiver
    await runner.cleanup()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    anywhere = Address("127.0.0.1", 0)
    return Config(data=tmp_path, intake=anywhere, console=anywhere, pbx_api=anywhere)


@asynccontextmanager
async def serve(config: Config) -> AsyncIterator[str]:
    """Run intake and hub; yield the address of the intake."""
    async with open_intake(config, SystemClock()) as intake, open_hub(config, SystemClock()):
        yield intake.address


async def receive_events(config: Config, receiver: Receiver, first: int, last: int) -> None:
    """Post events, and wait until each of them has reached the destination."""
    async with serve(config) as address, aiohttp.ClientSession() as client, asyncio.timeout(60):
        for number in range(first, last + 1):
            assert await post(client, address, number) == 200
        for _ in range(first, last + 1):
            await receiver.bodies.get()


async def list_sequences(config: Config) -> list[int]:
    """Return the numbers of the events of PBXs in the ledger."""
    ledger = SqliteLedger(config.ledger_file)
    raw_events = await read_events(ledger)
    await ledger.close()
    return [raw_event.seq for raw_event in raw_events]


def lose_ledger(config: Config) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{config.ledger_file}{suffix}").unlink(missing_ok=True)


async def test_lost_ledger_remedy_leads_to_the_next_notification(config: Config, receiver: Receiver) -> None:
    """The printed command is run as it is; the calls from before stay."""
    await receive_events(config, receiver, 1, EVENTS)
    lose_ledger(config)
    with pytest.raises(UsageError) as caught:
        check_ledger_file(config)
    command = re.findall("`([^`]+)`", caught.value.hint)[-1]
    environment = command_environment() | {"PATH": f"{ONHOOK.parent}:{os.environ['PATH']}"}
    completed = await asyncio.to_thread(
        subprocess.run, shlex.split(command), env=environment, capture_output=True, text=True, check=True
    )
    assert f"number {LAST_SEQ + 1}" in completed.stdout
    async with open_files(config) as files:
        await check_ledger(files.ledger, files.store)
        # The facts of the PBX are published in the new ledger too.
        assert await files.store.position() == await files.ledger.last_seq() == LAST_SEQ + 1
    await receive_events(config, receiver, EVENTS + 1, EVENTS + 1)
    assert await list_sequences(config) == [LAST_SEQ + 2]
    async with open_files(config) as files:
        await check_ledger(files.ledger, files.store)
        assert await files.store.position() == LAST_SEQ + 2
        assert len(await files.store.records_after(0, 100)) == EVENTS + 1


@pytest.mark.slow
async def test_rebuild_keeps_the_store_with_calls_from_before_the_ledger(config: Config, receiver: Receiver) -> None:
    """The command refuses; a rebuild by itself renames the old store, once."""
    await receive_events(config, receiver, 1, EVENTS)
    lose_ledger(config)
    assert await begin_ledger(config, ENGINES) == LAST_SEQ
    await receive_events(config, receiver, EVENTS + 1, EVENTS + 1)
    with pytest.raises(UsageError, match="begins after event 6"):
        await check_begin(config, ENGINES)
    content = config.store_file.read_bytes()
    retired_path = config.store_file.with_name("calls.duckdb.replaced")
    for _ in range(2):
        await rebuild(config, lambda _position, _last_seq: None, ENGINES)
        assert retired_path.read_bytes() == content
    await check_begin(config, ENGINES)


async def test_begin_ledger_replaces_no_ledger(config: Config, receiver: Receiver) -> None:
    await receive_events(config, receiver, 1, 1)
    with pytest.raises(UsageError, match="the ledger is there"):
        await begin_ledger(config, ENGINES)
    assert await list_sequences(config) == [LAST_SEQ - EVENTS + 1]


@pytest.mark.parametrize("has_store", [True, pytest.param(False, marks=pytest.mark.slow)])
async def test_begin_ledger_goes_on_after_the_destinations(config: Config, receiver: Receiver, has_store: bool) -> None:
    """An empty file is set aside with its write-ahead log."""
    await receive_events(config, receiver, 1, EVENTS)
    if not has_store:
        config.store_file.unlink()
    os.truncate(config.ledger_file, 0)
    wal_path = Path(f"{config.ledger_file}-wal")
    wal_path.write_bytes(b"old")
    async with AppDb(config.appdb_file) as appdb:
        await appdb.swept_folders.put(SN, SweptFolder(path="/err"))
        await appdb.swept_folders.files.save(SN, "/err", [SweptFile("a.json", 1, 2, 3)], (), last_seq=1)
    assert await begin_ledger(config, ENGINES) == LAST_SEQ
    async with AppDb(config.appdb_file) as appdb:
        assert await appdb.swept_folders.files.load(SN, "/err", last_seq=LAST_SEQ) == [], "their events are lost too"
    assert Path(f"{wal_path}.replaced").read_bytes() == b"old"
    await receive_events(config, receiver, EVENTS + 1, EVENTS + 1)
    assert await list_sequences(config) == [LAST_SEQ + 2]


@pytest.mark.slow
async def test_destination_past_the_end_of_the_ledger_gets_the_next_event(
    config: Config, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """As after ledger and store were both moved away."""
    await receive_events(config, receiver, 1, EVENTS)
    lose_ledger(config)
    config.store_file.unlink()
    await receive_events(config, receiver, EVENTS + 1, EVENTS + 1)
    errors = [record.message for record in caplog.records if record.levelno >= logging.ERROR]
    assert any("past the end of the ledger" in message for message in errors)
