"""Calls of the PBX API, from a real store and a real application database."""

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
from tests.factories import BOB, SN, call, record

JUNE = datetime(2026, 6, 1, tzinfo=UTC)


class CallSourceHarness:
    """The store, the position notifier and the application database around the calls."""

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
async def harness(tmp_path: Path) -> AsyncIterator[CallSourceHarness]:
    store, appdb = await open_store(tmp_path / "calls.duckdb"), AppDb(tmp_path / "onhook.db")
    yield CallSourceHarness(store, appdb)
    await store.close()
    await appdb.close()


async def test_call_source_new_records_follow_a_number(harness: CallSourceHarness) -> None:
    """With the numbers of their events; a waiting reader is woken."""
    assert await harness.calls.latest_sequence() == 0
    waiting = asyncio.create_task(harness.calls.wait(0))
    await asyncio.sleep(0)
    assert not waiting.done()
    await harness.put(1)
    await waiting
    assert await harness.calls.latest_sequence() == 1
    (news,) = await harness.calls.list_new_records(0, 10)
    assert (news.sequence, news.sn, news.details.call_to) == (1, SN, BOB)
    assert await harness.calls.list_new_records(1, 10) == []


async def test_call_source_lists_are_those_of_the_store(harness: CallSourceHarness) -> None:
    """Records, calls, and one by its `uid`."""
    await harness.put(1)
    (row,) = (await harness.calls.list_records(RecordListing())).data
    assert (await harness.calls.list_calls(CallListing())).total == 1
    assert row.uid == ""
    assert await harness.calls.find_call_by_uid("unknown") is None


async def test_call_source_utc_offset_is_that_of_the_zone_or_the_latest_call(harness: CallSourceHarness) -> None:
    """The configured zone of a PBX; else that of the latest call's ids; else the display zone."""
    assert await harness.calls.utc_offset(JUNE, ()) == timedelta(hours=5, minutes=45)
    await harness.put(1)
    assert await harness.calls.utc_offset(JUNE, ()) == timedelta(hours=8)
    assert await harness.calls.utc_offset(JUNE, ("other",)) == timedelta(hours=5, minutes=45)
    await harness.appdb.add_pbx(name="Office", sn=SN, secret=None, is_unsigned=True, zone="Europe/Berlin", now_us=1)
    assert await harness.calls.utc_offset(JUNE, (SN,)) == timedelta(hours=2)


async def test_call_source_number_plan_is_that_of_the_pbx(harness: CallSourceHarness) -> None:
    """The vendor's default for an unknown one."""
    assert await harness.calls.number_plan(SN) == NumberPlan()
    plan = NumberPlan(queue=("7000",))
    await harness.appdb.add_pbx(name="Office", sn=SN, secret=None, is_unsigned=True, number_plan=plan, now_us=1)
    assert await harness.calls.number_plan(SN) == plan


async def test_call_source_utc_offset_of_pbxs_in_several_zones_is_that_of_the_display(
    harness: CallSourceHarness,
) -> None:
    """An app that sees all of them is not given the clock of one."""
    await harness.appdb.add_pbx(name="berlin", sn="B", secret="s" * 32, zone="Europe/Berlin", now_us=1)
    await harness.appdb.add_pbx(name="paris", sn="P", secret="s" * 32, zone="Europe/Paris", now_us=1)
    assert await harness.calls.utc_offset(JUNE, ("B", "P")) == timedelta(hours=2)
    await harness.appdb.add_pbx(name="lima", sn="L", secret="s" * 32, zone="America/Lima", now_us=1)
    assert await harness.calls.utc_offset(JUNE, ("L",)) == timedelta(hours=-5)
    assert await harness.calls.utc_offset(JUNE, ("B", "P", "L")) == timedelta(hours=5, minutes=45)
