"""Groups of legs."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.leg_groups import NAMES_AT_ONCE, LegGroupRepository
from onhook.appdb.stored_json import encode_column
from onhook.cdr.leg_groups import LegGroup

pytestmark = pytest.mark.usefixtures("each_engine")

NOW = 1_795_848_000_000_000


@pytest.fixture
async def groups(tmp_path: Path) -> AsyncIterator[LegGroupRepository]:
    async with AppDb(tmp_path / "onhook.db") as appdb:
        yield appdb.leg_groups


def group(*names: str, received_at: int = NOW, **changes: frozenset[int]) -> LegGroup:
    return LegGroup(
        names=frozenset(names),
        leg_ids=frozenset(names),
        awaited_ids=frozenset(),
        sizes={7: 100},
        received_at=received_at,
        **changes,
    )


async def test_leg_group_is_found_by_each_of_its_names_and_in_its_pbx_alone(groups: LegGroupRepository) -> None:
    first, other = group("a", "b"), group("a", received_at=NOW + 5)
    await groups.save({"PBX": ({1: first}, ()), "OTHER": ({2: other}, ())}, position=9)
    assert await groups.find("PBX", ["b", "nothing"]) == {1: first}
    assert await groups.find("OTHER", ["a", "b"]) == {2: other}
    assert (await groups.position(), await groups.has_any()) == (9, True)
    due_us = await groups.next_due_at()
    assert due_us == first.due_at
    assert due_us is not None
    assert [stored.group_id for stored in await groups.list_due(due_us, 10)] == [1]
    assert await groups.list_due(due_us - 1, 10) == []
    joined = group("a", "b", "c", joined_seqs=frozenset({8}), settled_seqs=frozenset({7}))
    await groups.save({"PBX": ({1: joined}, ()), "OTHER": ({}, (2,))})
    assert await groups.find("PBX", ["c"]) == {1: joined}
    assert await groups.find("OTHER", ["a"]) == {}
    assert await groups.position() == 9


async def test_leg_groups_whose_calls_are_made_are_deleted_later(groups: LegGroupRepository) -> None:
    made = group("a", joined_seqs=frozenset({8}), settled_seqs=frozenset({7}))
    assert made.due_at is None
    await groups.save({"PBX": ({1: made, 2: msgspec.structs.replace(group("b"), received_at=NOW)}, ())})
    await groups.delete_before(NOW)
    assert set(await groups.find("PBX", ["a", "b"])) == {1, 2}
    await groups.delete_before(NOW + 1)
    assert set(await groups.find("PBX", ["a", "b"])) == {2}
    assert await groups.list_unreadable() == []
    await groups.clear()
    assert (await groups.has_any(), await groups.position(), await groups.next_due_at()) == (False, None, None)


async def test_leg_groups_are_found_by_more_names_than_one_statement_has(groups: LegGroupRepository) -> None:
    names = [f"n{number}" for number in range(2 * NAMES_AT_ONCE + 1)]
    await groups.save({"PBX": ({number: group(name) for number, name in enumerate(names)}, ())})
    assert len(await groups.find("PBX", names)) == len(names)


async def test_leg_groups_that_cannot_be_read_are_due_no_longer_and_named(groups: LegGroupRepository) -> None:
    """They delay no other one, and the gatherer waits for the time of none of them."""
    few = {number: group(f"leg-{number}", received_at=number) for number in range(1, 61)}
    await groups.save({"A": (few, ())})
    newer_form = encode_column(few[1]).replace('"version":1', '"version":2')
    await groups._database.write("UPDATE leg_groups SET legs = ? WHERE group_id < 60", (newer_form,))
    assert [stored.group_id for stored in await groups.list_due(NOW, 50)] == [60]
    assert await groups.next_due_at() == few[60].due_at
    assert len(await groups.list_unreadable()) == 59
    await groups.save({"A": ({}, [60])})
    assert await groups.list_due(NOW, 50) == []
    assert await groups.next_due_at() is None
    await groups.delete_before(NOW)
    assert await groups.list_unreadable() == []
