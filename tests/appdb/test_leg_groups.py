"""Groups of legs: rows that cannot be decoded delay no other one."""

from pathlib import Path

from onhook.appdb.appdb import AppDb
from onhook.appdb.stored_json import encode_column
from onhook.cdr.leg_groups import LegGroup

NOW = 1_777_000_000_000_000


def group(number: int) -> LegGroup:
    """Return a group with one leg, which is due."""
    names = frozenset([f"leg-{number}"])
    return LegGroup(names=names, leg_ids=names, awaited_ids=frozenset(), sizes={number: 1}, received_at=number)


async def test_leg_groups_that_cannot_be_read_are_due_no_longer_and_named(tmp_path: Path) -> None:
    """The gatherer waits for the time of none of them."""
    async with AppDb(tmp_path / "onhook.db") as appdb:
        await appdb.leg_groups.save({"A": ({number: group(number) for number in range(1, 61)}, ())})
        newer_form = encode_column(group(1)).replace('"version":1', '"version":2')
        await appdb._database.write("UPDATE leg_groups SET legs = ? WHERE group_id < 60", (newer_form,))
        assert [stored.group_id for stored in await appdb.leg_groups.list_due(NOW, 50)] == [60]
        assert await appdb.leg_groups.next_due_at() == group(60).due_at
        assert len(await appdb.leg_groups.list_unreadable()) == 59
        await appdb.leg_groups.save({"A": ({}, [60])})
        assert await appdb.leg_groups.list_due(NOW, 50) == []
        assert await appdb.leg_groups.next_due_at() is None
        await appdb.leg_groups.delete_before(NOW)
        assert await appdb.leg_groups.list_unreadable() == []
