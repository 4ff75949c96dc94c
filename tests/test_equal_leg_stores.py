"""Stores made from one ledger are equal where a PBX reports legs: whenever they come, whatever is read again, deleted
or erased meanwhile.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pytest

from onhook.cdr.call_details import CallDetails
from onhook.cdr.erasure import NumberPattern
from onhook.cdr.identity import CallKey
from onhook.cdr.record import Call, Record
from onhook.cdr.record_filter import RecordFilter
from onhook.ledger.contract import CONTROL_DIALECT
from onhook.ledger.control_entries import Erased
from onhook.pbx.freeswitch.writing import ENCODINGS, format_legs
from onhook.projector.erasure_plan import ErasurePlanner, to_entries
from onhook.projector.event_rewriting import EventRewriter
from onhook.projector.projector import Projector
from onhook.store.contract import QuarantineEntry, Store
from tests import counts
from tests.ops.leg_world import DIALECTS, LegWorld, open_leg_world
from tests.pbx.freeswitch.captures import bodies

STEPS = 30
NUMBERS = ("5550199", "5550177")
SCENARIOS = ("s01", "s10", "s14", "s20", "s24", "s40", "s64")


class Reader:
    """A store and its projector."""

    def __init__(self, store: Store, projector: Projector) -> None:
        self.store, self.projector = store, projector

    async def read(self) -> tuple[list[Call], list[QuarantineEntry], int]:
        await self.projector.catch_up()
        calls = sorted((await self.store.calls(RecordFilter(), 1_000)).data, key=lambda call: (call.sn, call.call_id))
        return calls, await self.store.quarantine(1_000), await self.store.position()


class World:
    """What happens to one ledger."""

    def __init__(self, legs: LegWorld, rng: random.Random) -> None:
        self.legs = legs
        self.ledger = legs.ledger
        self.rng = rng
        self.readers: list[Reader] = []
        self.waiting = self.create_legs()

    def create_legs(self) -> list[bytes]:
        """Return the legs of some calls, in any order: captured ones, and others with the numbers to erase."""
        legs = [leg for scenario in self.rng.sample(SCENARIOS, 3) for leg in bodies(scenario)]
        for number in range(4):
            encoding = self.rng.choice(tuple(ENCODINGS))
            legs += format_legs(
                [self.create_details(number, row) for row in range(self.rng.randint(1, 2))], "", encoding
            )
        self.rng.shuffle(legs)
        return legs

    def create_details(self, number: int, row: int) -> CallDetails:
        caller = f"Eve<{NUMBERS[number % 2]}>" if number < 3 else "1003"
        return CallDetails(
            call_id=f"00000000-0000-4000-8000-{number:012}",
            uid=f"00000000-0000-4000-8001-{10 * number + row:012}",
            time_start=f"2026-11-29 10:{number:02}:{row:02}",
            call_from=caller,
            call_to=f"100{row + 1}",
            call_duration=20 - row,
            talk_duration=10 if row else 0,
            status="ANSWERED" if row else "NO ANSWER",
            type="Internal",
        )

    async def begin_reader(self) -> Reader:
        self.readers.append(Reader(*await self.legs.begin_store()))
        return self.readers[-1]

    async def step(self) -> None:
        rng = self.rng
        changes = (self.retry, self.delete, self.erase, self.rewrite)
        await rng.choice((self.receive, self.receive, self.gather, self.gather, *changes))()
        if rng.random() < 0.6:
            await rng.choice(self.readers).projector.step()

    async def receive(self) -> None:
        for _leg in range(min(len(self.waiting), self.rng.randint(1, 4))):
            await self.legs.receive(self.waiting.pop())
        if self.rng.random() < 0.1:
            await self.legs.receive(b"no document")

    async def gather(self) -> None:
        if self.rng.random() < 0.3:
            self.legs.restart()
        if self.rng.random() < 0.1:
            await self.legs.appdb.leg_groups.clear()
        await self.legs.gather(self.rng.choice((0.0, 1.0, 30.0)))

    async def retry(self) -> None:
        reader = self.rng.choice(self.readers)
        if entries := await reader.store.quarantine(1_000):
            known_events = await self.ledger.get([quarantined.seq for quarantined in entries])
            if known_events:
                await reader.projector.retry([raw_event.seq for raw_event in known_events])

    async def delete(self) -> None:
        """Delete some calls, and then their events, behind the slowest store."""
        reader = self.rng.choice(self.readers)
        raw_events = [item for item in await self.ledger.read(0, 1_000) if self.rng.random() < 0.2]

        async def find_remaining(calls: Mapping[CallKey, Sequence[Record]]) -> Collection[CallKey]:
            chosen = {item.seq for item in raw_events}
            return {key for key, legs in calls.items() if any(leg.seq not in chosen for leg in legs)}

        result = await reader.projector.forget(raw_events, find_remaining)
        if result is not None:
            for each in self.readers:
                await each.projector.catch_up()
            await self.ledger.delete(result.entry.seqs)

    async def erase(self) -> None:
        """Erase a number from some calls; a leg may come between plan and entry."""
        pattern = NumberPattern([self.rng.choice(NUMBERS)], is_internal=False)

        async def plan_entries(planner: ErasurePlanner) -> Sequence[Erased]:
            plan = await planner.plan(pattern)
            if self.rng.random() < 0.5:
                await self.receive()
                await self.gather()
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
async def test_stores_of_one_ledger_with_legs_are_equal(tmp_path: Path, seed: int) -> None:
    async with open_leg_world(tmp_path) as legs:
        world = World(legs, random.Random(seed))
        await world.begin_reader()
        for step in range(STEPS):
            await world.step()
            if step in (STEPS // 3, STEPS - 1):
                await world.begin_reader()
        first, *further = [await reader.read() for reader in world.readers]
        for other in further:
            assert other == first


@pytest.mark.parametrize("encoding", tuple(ENCODINGS))
async def test_erasure_leaves_the_number_in_no_event_of_a_call_of_legs(tmp_path: Path, encoding: str) -> None:
    """Neither in legs, in whichever encoding, nor in the joined events of fewer legs."""
    async with open_leg_world(tmp_path) as legs:
        world = World(legs, random.Random(0))
        documents = format_legs([world.create_details(0, row) for row in range(2)], "", encoding)
        for document in documents:
            await legs.receive(document)
            await legs.gather(30.0)
        reader = await world.begin_reader()
        pattern = NumberPattern(["5550199"], is_internal=False)

        async def plan_entries(planner: ErasurePlanner) -> Sequence[Erased]:
            return to_entries(await planner.plan(pattern), "1")

        await reader.projector.catch_up()
        assert await reader.projector.erase(plan_entries)
        await world.rewrite()
        (call,), quarantined, _position = await reader.read()
        assert (quarantined, "5550199" in str(call), "Eve" in str(call)) == ([], False, False)
        for raw_event in await world.ledger.read(0, 100):
            assert raw_event.dialect in (CONTROL_DIALECT, "erased")
            assert b"5550199" not in raw_event.body
        rebuilt = await world.begin_reader()
        assert (await rebuilt.read())[0] == [call]
