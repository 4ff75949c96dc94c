"""Calls of further serial numbers become those of the PBX: the store equals one that is rebuilt from the ledger."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.pbx_facts import AppDbPbxFacts
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.ledger.contract import CounterKey
from onhook.ledger.facts_publisher import FactsPublisher
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.ops.quarantine_retry import QuarantineRetrier
from onhook.ops.serial_number_joiner import SerialNumberJoiner
from onhook.pbx.registry import dialects
from onhook.projector.moved_calls import MOVED_CALLS_MAX
from onhook.projector.projector import Projector
from onhook.store.contract import QuarantineEntry, Store
from onhook.store.duckdb import open_store
from tests.test_projector import RECEIVED_AT, SN, entry, event
from tests.waiting import polls, wait_until

STANDBY, REPLACED, FOREIGN = "3631A2199ZZZ", "3631A2188YYY", "3631A2177XXX"
SECRET = "0123456789abcdef"


class JoinerHarness:
    """A ledger, a store, an application database, and what joins histories."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder = folder
        self.store = store
        self.ledger = SqliteLedger(folder / "ledger.db")
        self.appdb = AppDb(folder / "onhook.db")
        self.projector = self._create_projector(store)
        self.publisher = FactsPublisher(self.ledger, AppDbPbxFacts(self.appdb), SystemClock())
        self.joiner = SerialNumberJoiner(
            appdb=self.appdb,
            ledger=self.ledger,
            store=store,
            publisher=self.publisher,
            projector=self.projector,
            retrier=QuarantineRetrier(self.projector, self.appdb, SystemClock()),
        )

    def _create_projector(self, store: Store) -> Projector:
        return Projector(ledger=self.ledger, store=store, dialects=dialects(), clock=SystemClock())

    async def add_pbx(self, name: str, sn: str) -> None:
        await self.appdb.add_pbx(name=name, sn=sn, secret=SECRET, now_us=1)
        await self.publisher.publish()

    async def read_calls(self) -> list[Call]:
        return await read_calls(self.store)

    async def rebuilt_calls(self) -> list[Call]:
        """Return the calls of a store that is made from the ledger now."""
        store = await open_store(self.folder / "rebuilt.duckdb")
        try:
            await self._create_projector(store).catch_up()
            return await read_calls(store)
        finally:
            await store.close()

    async def close(self) -> None:
        await self.store.close()
        await self.ledger.close()
        await self.appdb.close()


async def read_calls(store: Store) -> list[Call]:
    """Return all calls, in order of their keys."""
    calls = (await store.calls(RecordFilter(), 1_000)).data
    return sorted(calls, key=lambda call: (call.sn, call.call_id))


@asynccontextmanager
async def open_harness(folder: Path) -> AsyncIterator[JoinerHarness]:
    harness = JoinerHarness(folder, await open_store(folder / "calls.duckdb"))
    try:
        yield harness
    finally:
        await harness.close()


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[JoinerHarness]:
    """Yield a harness with the PBX Office."""
    async with open_harness(tmp_path) as opened:
        await opened.add_pbx("Office", SN)
        yield opened


async def test_joiner_calls_of_a_removed_pbx_become_those_of_the_pbx(harness: JoinerHarness) -> None:
    """Joined with calls that are there under both serial numbers, as after a standby took over during a call."""
    await harness.add_pbx("Old", REPLACED)
    await harness.ledger.append(
        [
            entry(event(0, "1001", REPLACED), REPLACED),
            entry(event(1, "1001", REPLACED), REPLACED),
            entry(event(1, "6200")),
            entry(event(1, "1001")),
            entry(event(2, "1002")),
        ]
    )
    await harness.projector.catch_up()
    await harness.appdb.remove_pbx("Old")
    await harness.appdb.serial_numbers.add(SN, REPLACED)
    await harness.joiner.join_changed()
    calls = await harness.read_calls()
    assert [(call.sn, call.pbx, len(call.legs)) for call in calls] == [(SN, "Office", n) for n in (1, 2, 1)]
    assert calls == await harness.rebuilt_calls()


async def test_joiner_quarantined_events_of_the_serial_number_are_parsed_and_pending(harness: JoinerHarness) -> None:
    """Those of other serial numbers stay, and destinations that are past the events receive them."""
    await harness.ledger.append(
        [
            entry(event(0, "1001", STANDBY), via="unregistered"),
            entry(event(1, "1001", FOREIGN), via="unregistered"),
            entry(event(2, "1001", STANDBY), via="unregistered"),
        ]
    )
    await harness.projector.catch_up()
    await harness.joiner.join_changed()
    assert [quarantined.seq for quarantined in await harness.store.quarantine(10)] == [2, 3, 4]
    destination = DestinationSpec(url="http://a.example/")
    await harness.appdb.destinations.add("crm", destination, None, after=4, now_us=1)
    await harness.appdb.serial_numbers.add(SN, STANDBY)
    await harness.joiner.join_changed()
    assert [quarantined.seq for quarantined in await harness.store.quarantine(10)] == [3]
    assert [call.pbx for call in await harness.read_calls()] == ["Office", "Office"]
    assert await harness.read_calls() == await harness.rebuilt_calls()
    streams = await harness.appdb.destinations.streams(1)
    assert [(stream.cursor, stream.until) for stream in streams[1:]] == [(1, 2), (3, 4)]


async def test_joiner_events_of_unknown_senders_are_not_retried(
    harness: JoinerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither at the start nor after a change: nothing is written for them."""
    retried: list[Sequence[int]] = []
    retry = harness.projector.retry

    async def record_retry(seqs: Sequence[int]) -> list[QuarantineEntry]:
        retried.append(seqs)
        return await retry(seqs)

    monkeypatch.setattr(harness.projector, "retry", record_retry)
    senders = (FOREIGN, STANDBY, FOREIGN, STANDBY)
    await harness.ledger.append(
        [entry(event(number, "1001", sn), via="unregistered") for number, sn in enumerate(senders)]
    )
    await harness.projector.catch_up()
    await harness.joiner.join_changed()
    assert retried == []
    await harness.appdb.serial_numbers.add(SN, STANDBY)
    await harness.joiner.join_changed()
    assert retried == [[3, 5]]


async def test_joiner_sender_that_becomes_a_pbx_of_its_own_is_parsed(harness: JoinerHarness) -> None:
    await harness.ledger.append([entry(event(0, "1001", FOREIGN), via="unregistered")])
    await harness.projector.catch_up()
    await harness.joiner.join_changed()
    await harness.add_pbx("Branch", FOREIGN)
    await harness.joiner.join_changed()
    assert [call.pbx for call in await harness.read_calls()] == ["Branch"]


async def test_joiner_events_that_the_secret_of_another_pbx_signs_stay_in_the_quarantine(
    harness: JoinerHarness,
) -> None:
    await harness.appdb.add_pbx(name="Branch", sn=FOREIGN, secret="a secret of its own", now_us=1)
    await harness.ledger.append([entry(event(0, "1001", STANDBY), FOREIGN, "unregistered")])
    await harness.projector.catch_up()
    await harness.appdb.serial_numbers.add(SN, STANDBY)
    await harness.joiner.join_changed()
    assert (await harness.read_calls(), len(await harness.store.quarantine(10))) == ([], 1)


async def test_joiner_events_of_a_registered_serial_number_are_counted_no_longer(harness: JoinerHarness) -> None:
    """Those that are kept of it are read; of other serial numbers as many are kept as before."""
    counts = {CounterKey("unregistered", sn, SN): 10_000 for sn in (STANDBY.lower(), FOREIGN, REPLACED)}
    await harness.ledger.add_counts({**counts, CounterKey("unknown_pbx", STANDBY, ""): 1}, 1)
    await harness.appdb.serial_numbers.add(SN, STANDBY)
    await harness.add_pbx("Branch", FOREIGN)
    await harness.joiner.join_changed()
    counters = {(counter.kind, counter.sn): counter.count for counter in await harness.ledger.counters()}
    assert counters == {("unregistered", REPLACED): 10_000, ("unknown_pbx", STANDBY): 1}


async def test_joiner_serial_number_that_is_added_again_is_joined(harness: JoinerHarness) -> None:
    """What came while it was removed is in the quarantine until then; what came before stays the PBX's."""
    await harness.ledger.append([entry(event(0, "1001", STANDBY), via="unregistered")])
    await harness.appdb.serial_numbers.add(SN, STANDBY)
    await harness.appdb.serial_numbers.remove(SN, STANDBY, now_us=RECEIVED_AT + 1)
    late = msgspec.structs.replace(entry(event(1, "1001", STANDBY), via="unregistered"), received_at=RECEIVED_AT + 1)
    await harness.ledger.append([late])
    await harness.projector.catch_up()
    await harness.joiner.join_changed()
    assert [quarantined.seq for quarantined in await harness.store.quarantine(10)] == [3]
    assert len(await harness.read_calls()) == 1
    await harness.appdb.serial_numbers.add(SN, STANDBY)
    await harness.joiner.join_changed()
    assert await harness.store.quarantine(10) == []
    assert len(await harness.read_calls()) == 2
    assert await harness.read_calls() == await harness.rebuilt_calls()


@pytest.mark.slow
async def test_joiner_long_history_is_moved_in_parts(harness: JoinerHarness) -> None:
    await harness.add_pbx("Old", REPLACED)
    bodies = [event(0, "1001", REPLACED, call_id=f"{1782844637 + number}.1") for number in range(1_300)]
    assert len(bodies) > MOVED_CALLS_MAX
    await harness.ledger.append([entry(body, REPLACED) for body in bodies])
    await harness.projector.catch_up()
    await harness.appdb.remove_pbx("Old")
    await harness.appdb.serial_numbers.add(SN, REPLACED)
    await harness.joiner.join_changed()
    rows = await harness.store.summary(RecordFilter(), "pbx", "UTC")
    assert [(row["pbx"], row["calls"]) for row in rows] == [("Office", 1_300)]


async def test_joiner_beside_new_events_leaves_a_store_like_a_rebuilt_one(harness: JoinerHarness) -> None:
    """Serial numbers are added while their events arrive, before and after."""
    rng = random.Random(7)
    await harness.add_pbx("Old", REPLACED)
    senders = [(SN, SN, "webhook"), (REPLACED, REPLACED, "webhook"), (STANDBY, SN, "unregistered")]
    tasks = [
        asyncio.create_task(harness.projector.run(lambda _position: None)),
        asyncio.create_task(harness.joiner.run()),
    ]
    for number in range(60):
        sn, ledger_sn, via = rng.choice(senders)
        await harness.ledger.append([entry(event(number // 2, rng.choice(["1001", "6200"]), sn), ledger_sn, via)])
        if number == 25:
            await harness.appdb.serial_numbers.add(SN, STANDBY)
        if number == 35:
            await harness.appdb.remove_pbx("Old")
            await harness.appdb.serial_numbers.add(SN, REPLACED)
        await asyncio.sleep(rng.random() / 50)

    async def is_joined() -> bool:
        last_seq = await harness.ledger.last_seq()
        has_moved = not await harness.store.call_keys(REPLACED, 1) and not await harness.store.quarantine(1)
        return has_moved and await harness.store.position() == last_seq

    await wait_until(await is_joined() async for _ in polls())
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert {call.sn for call in await harness.read_calls()} == {SN}
    assert await harness.read_calls() == await harness.rebuilt_calls()
