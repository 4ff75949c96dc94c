"""Where the stores of several machines are, behind the slowest of which raw events are deleted."""

import asyncio
from pathlib import Path
from typing import cast

from onhook.appdb.appdb import AppDb
from onhook.config import Config
from onhook.lib.clock import SystemClock
from onhook.ops.event_deletion import report_position, report_positions, store_name
from onhook.store.contract import Store
from tests.waiting import polls, wait_until


class StoreAt:
    """A store with a position."""

    def __init__(self, position: int) -> None:
        self._position = position

    async def position(self) -> int:
        return self._position


def test_store_is_named_for_its_machine_where_several_share_a_ledger() -> None:
    shared = Config(appdb="postgresql://db1/onhook", ledger="nats://n1/ONHOOK?monitor=8222", node="berlin")
    assert store_name(shared) == "hub@berlin"
    assert store_name(Config(appdb="postgresql://db1/onhook", node="berlin")) == "hub"
    assert store_name(Config()) == "hub"


async def test_raw_events_are_deleted_behind_the_slowest_machine(tmp_path: Path) -> None:
    """The other one reports its position by itself."""
    async with AppDb(tmp_path / "onhook.db") as appdb:
        slow, fast = cast("Store", StoreAt(5)), cast("Store", StoreAt(9))
        task = asyncio.create_task(report_positions(appdb, slow, SystemClock(), "hub@slow"))
        now_us = SystemClock().microseconds()
        await wait_until(await appdb.store_positions.slowest(now_us=now_us) == 5 async for _ in polls())
        assert await report_position(appdb, fast, now_us=now_us, name="hub@fast") == 5
        task.cancel()
        await asyncio.wait([task])
