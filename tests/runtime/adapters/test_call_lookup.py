"""What the PBX API asks of its calls, answered from a real store and real settings."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.cdr.number_plan import NumberPlan
from onhook.config import Config
from onhook.runtime.adapters.call_lookup import StoreCallSource
from onhook.store.contract import CallListing, RecordListing, Store, StoreBatch
from onhook.store.duckdb import open_store
from onhook.store.position_notifier import PositionNotifier
from tests.factories import SN, call, record

JUNE = datetime(2026, 6, 1, tzinfo=UTC)


class Rooms:
    """The store, the feed and the settings around the calls."""

    def __init__(self, store: Store, appdb: AppDb) -> None:
        self.store = store
        self.appdb = appdb
        self.feed = PositionNotifier()
        self.calls = StoreCallSource(store, self.feed, appdb, Config(zone="Asia/Kathmandu"))

    async def put(self, *seqs: int) -> None:
        calls = [call(record(seq=seq)) for seq in seqs]
        await self.store.put(StoreBatch(calls=calls, quarantined=[], reparsed_seqs=[], position=max(seqs)))
        self.feed.announce(max(seqs))


@pytest.fixture
async def rooms(tmp_path: Path) -> AsyncIterator[Rooms]:
    store, appdb = await open_store(tmp_path / "calls.duckdb"), AppDb(tmp_path / "onhook.db")
    yield Rooms(store, appdb)
    await store.close()
    appdb.close()


async def test_news_are_records_after_a_number(rooms: Rooms) -> None:
    """Numbered as the ledger numbers their reports; whoever waits is woken."""
    assert await rooms.calls.latest_sequence() == 0
    waiting = asyncio.create_task(rooms.calls.wait(0))
    await asyncio.sleep(0)
    assert not waiting.done()
    await rooms.put(1)
    await waiting
    assert await rooms.calls.latest_sequence() == 1
    (news,) = await rooms.calls.list_new_records(0, 10)
    assert (news.sequence, news.sn, news.body) == (1, SN, b"")
    assert await rooms.calls.list_new_records(1, 10) == []


async def test_lists_are_those_of_the_store(rooms: Rooms) -> None:
    """Records, calls, and one by its `uid`."""
    await rooms.put(1)
    (one,) = (await rooms.calls.list_records(RecordListing())).data
    assert (await rooms.calls.list_calls(CallListing())).total == 1
    assert one.uid == ""
    assert await rooms.calls.find_call_by_uid("unknown") is None


async def test_the_offset_is_the_zone_or_the_latest_calls(rooms: Rooms) -> None:
    """The zone that was set for a PBX; else what the latest call's ids told; else the zone in which people read."""
    assert await rooms.calls.utc_offset(JUNE, ()) == timedelta(hours=5, minutes=45)
    await rooms.put(1)
    assert await rooms.calls.utc_offset(JUNE, ()) == timedelta(hours=8)
    assert await rooms.calls.utc_offset(JUNE, ("other",)) == timedelta(hours=5, minutes=45)
    rooms.appdb.add_pbx(name="Office", sn=SN, secret=None, is_unsigned=True, zone="Europe/Berlin", now_us=1)
    assert await rooms.calls.utc_offset(JUNE, (SN,)) == timedelta(hours=2)


async def test_a_plan_is_that_of_its_pbx(rooms: Rooms) -> None:
    """The vendor's for one that nobody declared."""
    assert rooms.calls.number_plan(SN) == NumberPlan()
    plan = NumberPlan(queue=("7000",))
    rooms.appdb.add_pbx(name="Office", sn=SN, secret=None, is_unsigned=True, number_plan=plan, now_us=1)
    assert rooms.calls.number_plan(SN) == plan
