"""Stores made from one ledger are equal record by record, whenever each was begun and whatever changed meanwhile: facts
of PBXs, events that are read again, calls that are deleted, numbers that are erased.
"""

import asyncio
import random
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from onhook.cdr.call_assembly import PbxFacts
from onhook.cdr.erasure import NumberPattern
from onhook.cdr.identity import CallKey
from onhook.cdr.number_plan import parse_number_plan
from onhook.cdr.queue_figures import AgentFigures, QueueCount
from onhook.cdr.record import Call, Record
from onhook.cdr.record_filter import RecordFilter
from onhook.ledger.contract import CONTROL_DIALECT
from onhook.ledger.control_entries import Erased, ReRead
from onhook.ledger.facts_publisher import FactsPublisher
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.lib.errors import NotFound
from onhook.projector.erasure_plan import ErasurePlanner, to_entries
from onhook.projector.event_rewriting import EventRewriter
from onhook.projector.projector import Projector
from onhook.store.contract import QuarantineEntry, Store
from onhook.store.duckdb import open_store
from tests import counts
from tests.test_projector import DIALECTS, entry, event

SNS = ("A", "B", "C")
STEPS = 25
CALLS = 6
NUMBERS = ("1001", "5550199", "5550177", "(030) 901-820")
NAMES = ("1001", "Eve<5550177>", "6400", "王小明<1002>", "(030) 901-820")

CALLERS = ("5550199", "5550199", "Alice<5550199>", "1003", "5550177")


class Reader:
    """A store and its projector."""

    def __init__(self, ledger: SqliteLedger, store: Store) -> None:
        self.store = store
        self.projector = Projector(ledger=ledger, store=store, dialects=DIALECTS, clock=SystemClock())

    async def read(self) -> tuple[list[Call], list[QueueCount], list[AgentFigures], list[QuarantineEntry], int]:
        """Return everything that the store has, at the end of the ledger."""
        await self.projector.catch_up()
        calls = sorted((await self.store.calls(RecordFilter(), 1_000)).data, key=lambda call: (call.sn, call.call_id))
        visits = await self.store.count_visits(RecordFilter(), "hour_of_day", "UTC")
        agents = await self.store.agent_figures(RecordFilter(), "UTC")
        return calls, visits, agents, await self.store.quarantine(1_000), await self.store.position()

    async def is_outdated(self) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(0):
                await self.projector.wait_until_outdated()
            return True
        return False


class World:
    """One ledger, and what happens to it."""

    def __init__(self, stack: AsyncExitStack, folder: Path, rng: random.Random) -> None:
        self.stack = stack
        self.folder = folder
        self.rng = rng
        self.ledger = SqliteLedger(folder / "ledger.db")
        self.facts: Mapping[str, PbxFacts] = {}
        self.owners: dict[str, str] = {}
        self.publisher = FactsPublisher(self.ledger, self.read_facts, SystemClock())
        self.readers: list[Reader] = []

    async def read_facts(self) -> Mapping[str, PbxFacts]:
        return self.facts

    async def begin_reader(self) -> Reader:
        store = await open_store(self.folder / f"calls-{len(self.readers)}.duckdb")
        self.stack.push_async_callback(store.close)
        self.readers.append(Reader(self.ledger, store))
        return self.readers[-1]

    async def step(self) -> None:
        """Do one thing by chance."""
        changes = (self.change_facts, self.retry, self.delete, self.erase, self.rewrite)
        await self.rng.choice((self.append, self.append, self.append, self.append, *changes))()
        if self.rng.random() < 0.6:
            await self.rng.choice(self.readers).projector.step()

    async def append(self) -> None:
        rng = self.rng
        for _event in range(rng.randint(1, 4)):
            sn = rng.choice(SNS)
            details = {"status": rng.choice(("ANSWERED", "NO ANSWER")), "call_from": rng.choice(CALLERS)}
            body = event(rng.randrange(CALLS), rng.choice(NAMES), sn, **details)
            if rng.random() < 0.2:
                body = body.decode("unicode_escape").encode("gbk", "replace")
            via, signer = ("unregistered", rng.choice(SNS)) if rng.random() < 0.3 else ("webhook", sn)
            await self.ledger.append([entry(body, signer, via)])

    async def change_facts(self) -> None:
        """Other names and encodings, and PBXs that are removed. A serial number that was joined to a PBX stays so."""
        rng = self.rng
        sn, owner = rng.choice(SNS), rng.choice(SNS)
        if rng.random() < 0.4 and sn not in self.owners and self.find_owner(owner) != sn:
            self.owners[sn] = owner
        pbxs = {
            sn: PbxFacts(sn=sn, name=f"{sn}{rng.randrange(2)}", encoding=rng.choice(("", "gbk")))
            for sn in SNS
            if rng.random() < 0.8
        }
        joined = {sn: self.find_owner(sn) for sn in self.owners}
        self.facts = pbxs | {sn: pbxs.get(owner) or PbxFacts(sn=owner) for sn, owner in joined.items()}
        await self.publisher.publish()

    def find_owner(self, sn: str) -> str:
        while sn in self.owners:
            sn = self.owners[sn]
        return sn

    async def retry(self) -> None:
        reader = self.rng.choice(self.readers)
        if entries := await reader.store.quarantine(1_000):
            chosen = self.rng.sample(entries, self.rng.randint(1, len(entries)))
            try:
                await reader.projector.retry([quarantined.seq for quarantined in chosen])
            except NotFound:
                assert not await self.ledger.get([quarantined.seq for quarantined in chosen])

    async def delete(self) -> None:
        """Delete some calls, and then their events, behind the slowest store."""
        reader = self.rng.choice(self.readers)
        raw_events = [item for item in await self.ledger.read(0, 1_000) if self.rng.random() < 0.3]

        async def find_remaining(calls: Mapping[CallKey, Sequence[Record]]) -> Collection[CallKey]:
            chosen = {(item.sn, item.seq) for item in raw_events}
            return {
                key
                for key, legs in calls.items()
                if self.rng.random() < 0.3 or any((leg.sn, leg.seq) not in chosen for leg in legs)
            }

        result = await reader.projector.forget(raw_events, find_remaining)
        if result is not None:
            for each in self.readers:
                await each.projector.catch_up()
            await self.ledger.delete(result.entry.seqs)

    async def erase(self) -> None:
        """Erase a number from some calls; an event may come between plan and entry."""
        text = self.rng.choice(NUMBERS)
        pattern = NumberPattern([text], is_internal=len(text) < 5)

        async def plan_entries(planner: ErasurePlanner) -> Sequence[Erased]:
            plan = await planner.plan(pattern)
            if self.rng.random() < 0.5:
                await self.append()
            return to_entries(plan, f"{self.rng.random()}") if plan.calls or plan.seqs else []

        await self.rng.choice(self.readers).projector.erase(plan_entries)

    async def rewrite(self) -> None:
        """Rewrite events behind the slowest store."""
        behind = min([await reader.store.position() for reader in self.readers])
        rewriter = EventRewriter(self.ledger, self.readers[0].store, DIALECTS)
        await rewriter.load()
        for seq, erased in rewriter.entries.items():
            if seq <= behind:
                await rewriter.rewrite_listed(seq, erased)
                await rewriter.reduce_entries(seq)
        await rewriter.rewrite_later(behind)
        await self.ledger.set_erasure_position(behind)


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=[] if seed < 1 else [pytest.mark.slow]) for seed in counts.seeds(40)]
)
async def test_stores_of_one_ledger_are_equal(tmp_path: Path, seed: int) -> None:
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path, random.Random(seed))
        stack.push_async_callback(world.ledger.close)
        world.facts = {sn: PbxFacts(sn=sn, name=sn) for sn in SNS}
        await world.publisher.publish()
        await world.begin_reader()
        for step in range(STEPS):
            await world.step()
            if step in (STEPS // 3, STEPS - 1):
                await world.begin_reader()
        first, *further = [await reader.read() for reader in world.readers]
        for other in further:
            assert other == first


async def test_store_that_begins_after_all_was_read_again_has_the_last_facts(tmp_path: Path) -> None:
    """So has each that begins later; one that was begun before keeps the number plans of each time. All have the last
    name.
    """
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path, random.Random(1))
        stack.push_async_callback(world.ledger.close)
        before = await world.begin_reader()
        person, machine = parse_number_plan({"extension": "1001"}), parse_number_plan({"ivr": "1001"})
        for number, plan in enumerate((person, machine, person), 1):
            world.facts = {"A": PbxFacts(sn="A", name=f"name {number}", number_plan=plan)}
            await world.publisher.publish()
            await world.ledger.append([entry(event(number, "1001", "A"), "A")])
            if plan == machine:
                await before.projector.catch_up()
                await before.projector.append(ReRead())
        calls = [(await each.read())[0] for each in (before, await world.begin_reader())]
        assert [[call.answered_by for call in each] for each in calls] == [["1001", "", "1001"], ["", "", "1001"]]
        assert {call.pbx for each in calls for call in each} == {"name 3"}
        assert await world.readers[-1].store.re_read_seq() > await before.store.re_read_seq() == 0
        assert CONTROL_DIALECT not in {item.dialect for item in await world.ledger.get([2])}


async def test_store_that_was_not_made_by_the_last_order_to_read_all_again_is_outdated(tmp_path: Path) -> None:
    """It finds it where the order is, and again after a restart; one that begins anew by that order is not."""
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path, random.Random(1))
        stack.push_async_callback(world.ledger.close)
        world.facts = {"A": PbxFacts(sn="A", name="first")}
        await world.publisher.publish()
        await world.ledger.append([entry(event(1, "1001", "A"), "A")])
        before = await world.begin_reader()
        await before.projector.catch_up()
        await before.projector.append(ReRead(seqs=(2,)))
        await before.projector.catch_up()
        assert not await before.is_outdated()
        await before.projector.append(ReRead())
        await before.projector.catch_up()
        later, restarted = await world.begin_reader(), Reader(world.ledger, before.store)
        await later.projector.catch_up()
        await restarted.projector.catch_up()
        assert [await each.is_outdated() for each in (before, later, restarted)] == [True, False, True]
