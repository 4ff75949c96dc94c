"""Gathering of legs: calls of captured documents, in any order, after restarts, and with legs that come late."""

import asyncio
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest

from onhook.cdr.leg_groups import COMPLETE_MICROSECONDS, INCOMPLETE_MICROSECONDS
from onhook.ledger.contract import AppendResult, LedgerEntry
from onhook.lib.errors import Unavailable
from onhook.ops import leg_gatherer
from onhook.ops.leg_gatherer import KEPT_MICROSECONDS, LegGatherer
from onhook.pbx.joined_legs import DIALECT as JOINED
from onhook.pbx.joined_legs import join_bodies
from tests.counts import sampled
from tests.ops.leg_world import DIALECTS, SECOND, SN, LegWorld, describe, open_leg_world, read_store
from tests.pbx.freeswitch.captures import FREESWITCH, PAYLOADS, assemble, bodies, calls_of, constructed
from tests.waiting import polls, wait_until

A_LEG, B_LEG = constructed("fs_json_cdr_a_leg.json"), constructed("fs_json_cdr_b_leg.json")
A_ID, B_ID = "3da8bf84-c133-4959-9e24-e72875cb33a1", "f52c26f1-b018-4963-bf6d-a3111d1a0320"
COMPLETE_SECONDS = COMPLETE_MICROSECONDS / SECOND
INCOMPLETE_SECONDS = INCOMPLETE_MICROSECONDS / SECOND
SCENARIOS = sorted(path.name for path in PAYLOADS.glob("[swz][0-9]*"))


async def count_joined(world: LegWorld) -> int:
    return sum(raw_event.dialect == JOINED for raw_event in await world.ledger.read(0, 1_000))


@pytest.mark.parametrize("legs", [*itertools.permutations([A_LEG, B_LEG]), (A_LEG, B_LEG, B_LEG, A_LEG, B_LEG)])
async def test_leg_gatherer_fs1_both_legs_in_any_order_are_one_call(tmp_path: Path, legs: tuple[bytes, ...]) -> None:
    async with open_leg_world(tmp_path) as world:
        for leg in legs:
            await world.receive(leg)
            await world.gather()
        assert await count_joined(world) == 0
        await world.gather(COMPLETE_SECONDS)
        ((call,), quarantined) = await world.read_calls()
        (record,) = call.legs
        assert (call.call_id, record.uid, call.talk_duration, call.call_duration) == (A_ID, B_ID, 68, 71)
        assert (record.via, record.seq, quarantined) == ("webhook", await world.ledger.last_seq(), [])


@pytest.mark.parametrize(("first", "second"), [(A_LEG, B_LEG), (B_LEG, A_LEG)])
async def test_leg_gatherer_fs2_fs3_late_leg_makes_the_call_anew(tmp_path: Path, first: bytes, second: bytes) -> None:
    async with open_leg_world(tmp_path) as world:
        store, projector = await world.begin_store()
        await world.receive(first)
        await world.gather(INCOMPLETE_SECONDS - 0.1)
        assert await count_joined(world) == 0
        await world.gather(0.1)
        await projector.catch_up()
        (call,), _quarantined = await read_store(store)
        assert (call.call_id, call.talk_duration) == (A_ID, 68)
        await world.receive(second)
        await world.gather(COMPLETE_SECONDS)
        await projector.catch_up()
        (call,), _quarantined = await read_store(store)
        assert (call.call_id, call.talk_duration, len(call.legs)) == (A_ID, 68, 1)
        assert "missing_leg" not in call.legs[0].extra
        assert await read_store(store) == await world.read_calls()


@pytest.mark.parametrize("scenario", sampled(SCENARIOS))
async def test_leg_gatherer_captured_scenario_any_order_and_restarts_give_its_calls(
    tmp_path: Path, scenario: str
) -> None:
    """Two stores are equal: one that follows all the way, and one that is made at the end."""
    legs = bodies(scenario)
    expected = describe(assemble(details) for details in calls_of(legs))
    rng = random.Random(scenario)
    async with open_leg_world(tmp_path) as world:
        store, projector = await world.begin_store()
        for leg in rng.sample(legs, len(legs)):
            await world.receive(leg, *rng.sample(legs, rng.randint(0, 1)))
            await world.gather(rng.choice((0.0, 0.5, COMPLETE_SECONDS, INCOMPLETE_SECONDS)))
            if rng.random() < 0.5:
                world.restart()
            await projector.catch_up()
        await world.gather(INCOMPLETE_SECONDS)
        await projector.catch_up()
        followed = await read_store(store)
        assert describe(followed[0]) == expected
        assert followed == await world.read_calls()
        # The application database is lost: the ledger alone says which legs are joined.
        count = await count_joined(world)
        await world.appdb.leg_groups.clear()
        await world.gather(INCOMPLETE_SECONDS)
        assert await count_joined(world) == count


async def test_leg_gatherer_late_leg_joins_calls_to_one(tmp_path: Path) -> None:
    """One of the calls is gone then, under its id and its legs under another one."""
    calls = [bodies("s01"), bodies("s64")]
    first_ids, second_ids = ([FREESWITCH.read_links(leg).leg_id.encode() for leg in legs] for legs in calls)
    third_id = b"00000000-0000-4000-8000-000000000003"
    joining_leg = calls[0][0].replace(first_ids[0], third_id).replace(first_ids[1], second_ids[1])
    joining_leg = joining_leg.replace(b'"signal_bond"', b'"fifo_target":"%s","signal_bond"' % first_ids[1])
    async with open_leg_world(tmp_path) as world:
        store, projector = await world.begin_store()
        call_counts = []
        for legs in (*calls, [joining_leg]):
            await world.receive(*legs)
            await world.gather(INCOMPLETE_SECONDS)
            await projector.catch_up()
            call_counts.append(len((await read_store(store))[0]))
        assert call_counts == [1, 2, 1]
        assert await read_store(store) == await world.read_calls()


async def test_leg_gatherer_unreadable_leg_is_quarantined_and_gathered_when_it_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeswitch = DIALECTS["freeswitch"]
    async with open_leg_world(tmp_path) as world:
        store, projector = await world.begin_store()
        with monkeypatch.context() as patch:
            patch.setattr(freeswitch, "read_links", read_nothing)
            await world.receive(A_LEG, B_LEG)
            await world.gather(INCOMPLETE_SECONDS)
            await projector.catch_up()
        assert [entry.seq for entry in await store.quarantine(10)] == [1, 2]
        assert await projector.retry([1, 2]) == []
        await world.gather(INCOMPLETE_SECONDS)
        await projector.catch_up()
        ((call,), quarantined) = await read_store(store)
        assert (call.talk_duration, quarantined) == (68, [])
        assert await read_store(store) == await world.read_calls()


def read_nothing(_body: bytes) -> Any:
    raise ValueError("unreadable")


async def test_leg_gatherer_fs6_broken_encoding_is_quarantined_with_the_setting(tmp_path: Path) -> None:
    async with open_leg_world(tmp_path) as world:
        await world.receive(constructed("fs_json_cdr_post_encode_true_before_pr3152.txt"), *bodies("e02"))
        await world.gather(INCOMPLETE_SECONDS)
        calls, quarantined = await world.read_calls()
        assert calls == []
        assert len(quarantined) == 1 + len(bodies("e02"))
        assert all("`encode`" in entry.reason for entry in quarantined)


async def test_leg_gatherer_fs10_damaged_documents_are_quarantined(tmp_path: Path) -> None:
    document = json.loads(A_LEG)
    damaged = [
        {name: value for name, value in document.items() if name != "callflow"},
        document | {"variables": []},
        document | {"variables": document["variables"] | {"start_epoch": 1515666344}},
        document | {"variables": document["variables"] | {"start_epoch": "0", "start_uepoch": "0"}},
    ]
    async with open_leg_world(tmp_path) as world:
        await world.receive(*[json.dumps(members).encode() for members in damaged])
        await world.gather(INCOMPLETE_SECONDS)
        calls, quarantined = await world.read_calls()
        assert (calls, len(quarantined)) == ([], len(damaged))


async def test_leg_gatherer_pbxs_are_kept_apart(tmp_path: Path) -> None:
    """Of two PBXs with the same uuids, as of a copied machine, each has its own calls."""
    async with open_leg_world(tmp_path) as world:
        await world.add_pbx("FUSION-2")
        await world.receive(A_LEG)
        await world.receive(A_LEG + b"\n", sn="FUSION-2", key=bytes(16))
        await world.gather(INCOMPLETE_SECONDS)
        calls, _quarantined = await world.read_calls()
        assert [(call.sn, call.call_id) for call in calls] == [(SN, A_ID), ("FUSION-2", A_ID)]


async def test_leg_gatherer_interrupted_after_an_append_appends_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_leg_world(tmp_path) as world:
        await world.receive(A_LEG, B_LEG)
        await world.gather()
        with monkeypatch.context() as patch:

            async def fail(*_values: object, **_options: object) -> None:
                raise Unavailable("the disk is full")

            patch.setattr(world.appdb.leg_groups, "save", fail)
            world.clock.us += COMPLETE_MICROSECONDS
            with pytest.raises(Unavailable):
                await world.gatherer.step()
        assert await count_joined(world) == 1
        world.restart()
        await world.gather()
        assert await count_joined(world) == 1
        assert await world.appdb.leg_groups.next_due_at() is None


async def test_leg_gatherer_entry_that_cannot_be_stored_stays_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_leg_world(tmp_path) as world:
        await world.receive(A_LEG)
        await world.gather()
        world.clock.us += INCOMPLETE_MICROSECONDS
        with monkeypatch.context() as patch:

            async def refuse(entries: list[LedgerEntry]) -> list[AppendResult]:
                return [AppendResult(0, "unavailable") for _entry in entries]

            patch.setattr(world.ledger, "append", refuse)
            await world.gatherer.step()
        await world.gather()
        assert await count_joined(world) == 1


async def test_leg_gatherer_legs_that_were_deleted_or_erased_make_no_call(tmp_path: Path) -> None:
    async with open_leg_world(tmp_path) as world:
        await world.receive(A_LEG)
        await world.gather()
        await world.ledger.delete([1])
        await world.ledger.append(
            [LedgerEntry(sn="Y", dialect="yeastar", via="webhook", received_at=1, key=bytes(16), body=b"{}")]
        )
        await world.ledger.delete([1])
        await world.gather(INCOMPLETE_SECONDS)
        assert await count_joined(world) == 0
        assert await world.appdb.leg_groups.next_due_at() is None


async def test_leg_gatherer_late_leg_of_a_call_without_its_earlier_legs_uses_the_joined_ones(tmp_path: Path) -> None:
    """Retention has deleted the raw event of the first leg; the joined event has its document."""
    async with open_leg_world(tmp_path) as world:
        await world.receive(A_LEG)
        await world.gather(INCOMPLETE_SECONDS)
        await world.ledger.delete([1])
        await world.receive(B_LEG)
        await world.gather(COMPLETE_SECONDS)
        ((call,), _quarantined) = await world.read_calls()
        assert "missing_leg" not in call.legs[0].extra


async def test_leg_gatherer_legs_of_last_week_are_no_longer_waited_for(tmp_path: Path) -> None:
    async with open_leg_world(tmp_path) as world:
        await world.receive(A_LEG)
        await world.gather(INCOMPLETE_SECONDS)
        assert await world.appdb.leg_groups.has_any()
        await world.gather(KEPT_MICROSECONDS / SECOND + 1)
        assert not await world.appdb.leg_groups.has_any()


async def test_leg_gatherer_without_a_pbx_that_reports_legs_reads_nothing(tmp_path: Path) -> None:
    """It begins with what comes after the last moment without one."""
    async with open_leg_world(tmp_path) as world:
        await world.appdb.remove_pbx(SN)
        await world.receive(A_LEG, B_LEG)
        await world.gather(INCOMPLETE_SECONDS)
        assert await world.appdb.leg_groups.position() is None
        await world.add_pbx()
        await world.receive(*bodies("s01"))
        await world.gather(COMPLETE_SECONDS)
        assert await count_joined(world) == 1
        assert await world.appdb.leg_groups.position() == 5


async def test_leg_gatherer_another_ledger_is_read_from_its_beginning(tmp_path: Path) -> None:
    async with open_leg_world(tmp_path) as world:
        await world.receive(A_LEG)
        await world.gather()
        await world.appdb.leg_groups.save({}, position=100)
        await world.gather(INCOMPLETE_SECONDS)
        assert await count_joined(world) == 1


async def test_leg_gatherer_joined_event_of_a_newer_onhook_is_left_alone(tmp_path: Path) -> None:
    async with open_leg_world(tmp_path) as world:
        newer = join_bodies("freeswitch", {1: A_LEG}, ()).replace(b'"version":1', b'"version":2')
        other = join_bodies("another", {1: A_LEG}, ())
        keys = (bytes(16), bytes(15) + b"1")
        await world.ledger.append(
            [
                LedgerEntry(sn=SN, dialect=JOINED, via="webhook", received_at=1, key=key, body=body)
                for key, body in zip(keys, (newer, other), strict=True)
            ]
        )
        await world.gather(INCOMPLETE_SECONDS)
        calls, quarantined = await world.read_calls()
        assert (calls, [entry.seq for entry in quarantined]) == ([], [1, 2])


async def test_leg_gatherer_group_that_cannot_be_read_is_not_waited_for(tmp_path: Path) -> None:
    async with open_leg_world(tmp_path) as world:
        await world.receive(A_LEG)
        await world.gather()
        await world.appdb._database.write("UPDATE leg_groups SET legs = '{}'")
        await world.gather(INCOMPLETE_SECONDS)
        assert await world.appdb.leg_groups.next_due_at() is None
        assert [row.table for row in await world.appdb.list_unreadable()] == ["leg_groups"]
        await world.receive(*bodies("s03"))
        await world.gather(INCOMPLETE_SECONDS)
        assert await count_joined(world)


async def test_leg_gatherer_runs_waits_and_goes_on_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leg_gatherer, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(leg_gatherer, "IDLE_SECONDS", 0.01)
    async with open_leg_world(tmp_path) as world:
        await world.appdb.remove_pbx(SN)
        gatherer = FailingGatherer(appdb=world.appdb, ledger=world.ledger, dialects=DIALECTS, clock=world.clock)
        task = asyncio.create_task(gatherer.run())
        await gatherer.stepped.wait()
        await world.add_pbx()
        await world.receive(A_LEG, B_LEG)
        await wait_until(await world.appdb.leg_groups.position() is not None async for _ in polls())
        world.clock.us += COMPLETE_MICROSECONDS
        await world.receive(*bodies("s03"))
        await wait_until(bool(await count_joined(world)) async for _ in polls())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class FailingGatherer(LegGatherer):
    """A gatherer whose first step fails."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.stepped = asyncio.Event()

    async def step(self) -> bool:
        if not self.stepped.is_set():
            self.stepped.set()
            raise Unavailable("the disk is full")
        return await super().step()
