"""Names learnt from records: the latest wins, and what is not learnt."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.erasures import NumberRows
from onhook.cdr.directory import DirectoryEntry
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.record import Record
from onhook.config import Config
from onhook.ops import name_learner
from onhook.ops.name_learner import NameLearner, find_new_names
from onhook.store.contract import StoreBatch
from onhook.store.duckdb import DuckDbStore, open_store
from onhook.store.position_notifier import PositionNotifier
from tests.factories import SN, STARTED_AT, call, record
from tests.ops.erasure_world import append, event, open_directory
from tests.waiting import polls, wait_until

DAY = timedelta(days=1)


class World:
    """A store, an application database, and a learner."""

    def __init__(self, store: DuckDbStore, appdb: AppDb) -> None:
        self.store = store
        self.appdb = appdb
        self.notifier = PositionNotifier()
        self.learner = self.create_learner()

    def create_learner(self) -> NameLearner:
        """Return another one, as after a start."""
        return NameLearner(appdb=self.appdb, store=self.store, position_notifier=self.notifier)

    async def put(self, *records: Record) -> None:
        position = max(leg.seq for leg in records)
        calls = [call(leg) for leg in records]
        await self.store.put(StoreBatch(calls=calls, quarantined=[], reparsed_seqs=[], position=position))
        self.notifier.announce(position)

    async def names(self) -> dict[str, str]:
        return {learnt.number: learnt.name for learnt in await self.appdb.directory.learnt_names()}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = await open_store(tmp_path / "calls.duckdb")
    async with AppDb(tmp_path / "onhook.db") as appdb:
        yield World(store, appdb)
    await store.close()


async def test_learner_latest_name_wins_in_whatever_order_calls_are_received(world: World) -> None:
    await world.put(
        record(STARTED_AT, call_from="Alice<1001>", call_to="Bob<1002>", seq=1),
        record(STARTED_AT + DAY, call_from="Alice Smith<1001>", call_to="Support<6400>", seq=2),
    )
    assert not await world.learner.learn_batch()
    assert await world.names() == {"1001": "Alice Smith", "1002": "Bob", "6400": "Support"}
    await world.put(record(STARTED_AT + DAY / 2, call_from="Al<1001>", call_to="1002", seq=3))
    await world.learner.learn_batch()
    assert (await world.names())["1001"] == "Alice Smith"
    await world.put(record(STARTED_AT + 2 * DAY, call_from="Eve<1001>", call_to="1002", seq=4))
    await world.create_learner().learn_batch()
    assert await world.names() == {"1001": "Eve", "1002": "Bob", "6400": "Support"}


async def test_learner_stores_nothing_where_no_name_is_new(world: World) -> None:
    await world.put(record(seq=1))
    await world.learner.learn_batch()
    version = await world.appdb.version()
    await world.put(record(STARTED_AT + timedelta(hours=1), seq=2))
    await world.learner.learn_batch()
    assert await world.appdb.version() == version
    assert (await world.appdb.directory.learnt_state()).position == 1


async def test_learner_back_filled_call_of_an_earlier_day_changes_nothing(world: World) -> None:
    """The name was the same for days; the time of the latest call counts, to a day."""
    for day in range(4):
        await world.put(record(STARTED_AT + day * DAY, seq=day + 1))
        await world.learner.learn_batch()
    await world.put(record(STARTED_AT + 2 * DAY, call_from="Old<1001>", seq=9))
    await world.create_learner().learn_batch()
    assert (await world.names())["1001"] == "Alice"


def test_learner_ignores_numbers_outside_and_features() -> None:
    records = [
        record(call_from="Carol<030901820>", call_to="Bob<1002>", src_trunk_name="line"),
        record(call_from="Mallory<1003>", call_to="1004<1004>", src_trunk_name="line"),
        record(call_from="Alice<1001>", call_to="Play Prompt<p>", dst_trunk_name=""),
        record(call_from="Dave", call_to="<1005>"),
        record(call_from=f"Long<{'9' * 50}>", call_to=f"{'n' * 300}<1006>"),
    ]
    names = {name.number: name.name for name in find_new_names(records, {SN: NumberPlan()}, {})}
    assert names == {"1001": "Alice", "1002": "Bob", "1006": "n" * 100}


def test_learner_numbers_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_learner, "LEARNT_NAMES_MAX", 3)
    records = [record(call_from=f"Name<10{number:02}>", call_to="") for number in range(9)]
    first = find_new_names(records, {}, {})
    assert len(first) == 3
    names_by_number = {(name.sn, name.number): name for name in first}
    assert find_new_names(records, {}, names_by_number) == []
    renamed = [record(STARTED_AT + DAY, call_from="Other<1001>", call_to="")]
    assert [name.name for name in find_new_names(renamed, {}, names_by_number)] == ["Other"]


async def test_learner_store_with_lower_numbers_is_read_again(world: World, tmp_path: Path) -> None:
    """That of a ledger that began anew."""
    await world.put(record(seq=1_000_000))
    await world.learner.learn_batch()
    store = await open_store(tmp_path / "new.duckdb")
    world.store = store
    learner = world.create_learner()
    await world.put(record(STARTED_AT + DAY, call_from="Eve<1001>", seq=1))
    await learner.learn_batch()
    await world.put(record(STARTED_AT + 2 * DAY, call_from="Zoe<1001>", seq=2))
    await learner.learn_batch()
    await store.close()
    assert (await world.names())["1001"] == "Zoe"


async def test_learner_after_an_erasure_reads_its_state_again(world: World) -> None:
    await world.put(record(seq=1))
    await world.learner.learn_batch()
    rows = NumberRows(learnt_names=(1, 2), learnt_after=2)
    await world.appdb.erasures.erase([], rows)
    assert await world.names() == {}
    await world.put(record(STARTED_AT + timedelta(hours=1), seq=2))
    await world.learner.learn_batch()
    assert await world.names() == {"1001": "Alice", "1002": "Bob"}


async def test_learner_runs_behind_the_projector(world: World) -> None:
    task = asyncio.create_task(world.learner.run())
    try:
        await world.put(record(seq=1))
        await wait_until(bool(await world.names()) async for _ in polls())
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert await world.names() == {"1001": "Alice", "1002": "Bob"}


async def test_erased_extension_is_not_learnt_again(tmp_path: Path) -> None:
    config = Config(data=tmp_path / "data", zone="Europe/Berlin")
    async with open_directory(config) as files:
        await append(files, event(0, "Alice<1007>", call_to="Bob<1001>"))
        learner = NameLearner(appdb=files.appdb, store=files.store, position_notifier=PositionNotifier())
        await learner.learn_batch()
        counts = await files.eraser.erase("1007")
        assert counts.directory_entries == 1
        await files.eraser.finish()
        for current in (
            learner,
            NameLearner(appdb=files.appdb, store=files.store, position_notifier=PositionNotifier()),
        ):
            await current.learn_batch()
            assert [learnt.number for learnt in await files.appdb.directory.learnt_names()] == ["1001"]


async def test_erased_contact_without_calls_is_gone(tmp_path: Path) -> None:
    config = Config(data=tmp_path / "data", zone="Europe/Berlin")
    async with open_directory(config) as files:
        contact = DirectoryEntry(number="+49 30 901820", kind="contact", name="Carol")
        await files.appdb.directory.put([contact])
        counts = await files.eraser.erase("030901820")
        assert (counts.calls, counts.directory_entries) == (0, 1)
        await files.eraser.finish()
        assert await files.appdb.directory.entries() == []
