"""The queues at this moment, over two hubs."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from onhook.appdb.appdb import AppDb
from onhook.cdr.queue_states import QueueState
from onhook.lib.clock import SystemClock
from onhook.runtime.adapters import live_queues
from onhook.runtime.adapters.live_queues import HubQueues
from onhook.sync.ami_connections import LiveQueues
from tests.waiting import polls, wait_until

SALES = QueueState(queue="6400", name="sales", waiting=2, talking=1, longest_wait=None)


@pytest.fixture
async def appdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AppDb]:
    monkeypatch.setattr(live_queues, "SHARE_SECONDS", 0.01)
    async with AppDb(tmp_path / "onhook.db") as appdb:
        yield appdb


async def test_queues_of_a_pbx_are_shown_by_the_hub_without_its_connection_too(appdb: AppDb) -> None:
    """Until the connection is closed; they are written again while nothing changes."""
    own, clock = LiveQueues(), SystemClock()
    first = HubQueues(own, appdb, clock, "first")
    second = HubQueues(LiveQueues(), appdb, clock, "second")
    sharing = asyncio.create_task(first.share())
    assert await second.read() == {}
    own.connect("PBX", lambda: [SALES])
    await wait_until(await second.read() == {"PBX": [SALES]} async for _ in polls())
    assert await first.read() == {"PBX": [SALES]}
    own.disconnect("PBX")
    await wait_until(await second.read() == {} async for _ in polls())
    sharing.cancel()
    await asyncio.wait([sharing])


async def test_queues_that_do_not_change_are_written_before_they_are_too_old(
    appdb: AppDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_queues, "WRITE_SECONDS_MAX", 0.02)
    own = LiveQueues()
    own.connect("PBX", lambda: [SALES])
    sharing = asyncio.create_task(HubQueues(own, appdb, SystemClock(), "first").share())
    times: set[int] = set()

    async def has_two_times() -> bool:
        times.update(row[0] for row in await appdb._database.rows("SELECT written_at FROM live_queues"))
        return len(times) > 1

    await wait_until(await has_two_times() async for _ in polls())
    sharing.cancel()
    await asyncio.wait([sharing])


async def test_queues_of_one_machine_are_its_own(appdb: AppDb) -> None:
    own = LiveQueues()
    own.connect("PBX", lambda: [SALES])
    assert await HubQueues(own, appdb, SystemClock(), "").read() == {"PBX": [SALES]}


async def test_queues_in_which_only_the_wait_grows_are_not_written_each_second(
    appdb: AppDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_queues, "WRITE_SECONDS_MAX", 3_600.0)
    read_waits: list[int] = []
    written_counts: list[list[int]] = []
    waiting = 2

    def read() -> list[QueueState]:
        read_waits.append(len(read_waits))
        return [msgspec.structs.replace(SALES, waiting=waiting, longest_wait=read_waits[-1])]

    replace = appdb.live_queues.replace

    async def note(node: str, states: Mapping[str, Sequence[QueueState]], *, now_us: int) -> None:
        written_counts.append([state.waiting for state in states["PBX"]])
        await replace(node, states, now_us=now_us)

    monkeypatch.setattr(appdb.live_queues, "replace", note)
    own = LiveQueues()
    own.connect("PBX", read)
    sharing = asyncio.create_task(HubQueues(own, appdb, SystemClock(), "first").share())
    await wait_until(lambda: len(read_waits) > 20)
    assert written_counts == [[2]]
    waiting = 3
    await wait_until(lambda: len(written_counts) > 1)
    assert written_counts == [[2], [3]]
    sharing.cancel()
    await asyncio.wait([sharing])
