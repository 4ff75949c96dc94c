"""Groups of legs that a PBX reported one by one, with the names by which a later leg finds its group.

Invariant: all of it is derived from the ledger. A row that cannot be read is left out, and due no longer: a later leg
of its call is a call of its own.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from onhook.appdb.contract import Database, Row
from onhook.appdb.stored_json import (
    CHECKED_ROWS_MAX,
    UnreadableRow,
    decode_column,
    encode_column,
    list_unreadable,
    read_rows,
)
from onhook.cdr.leg_groups import LegGroup

NAMES_AT_ONCE = 500
"""Parameters of one statement."""


class StoredGroup(msgspec.Struct, frozen=True):
    """A group with the number of its first leg and the serial number of its PBX."""

    group_id: int
    sn: str
    group: LegGroup


class LegGroupRepository:
    """Repository of the groups of some days. Times are microseconds since 1970, UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def position(self) -> int | None:
        """Return the number up to which the ledger was read; None before the first time."""
        rows = await self._database.rows("SELECT seq FROM leg_position")
        return int(rows[0][0]) if rows else None

    async def has_any(self) -> bool:
        """Return whether there is a group."""
        return bool(await self._database.rows("SELECT 1 FROM leg_groups LIMIT 1"))

    async def find(self, sn: str, names: Iterable[str]) -> dict[int, LegGroup]:
        """Return the groups of a PBX that have one of these names."""
        ordered_names = sorted(names)
        groups: dict[int, LegGroup] = {}
        for start in range(0, len(ordered_names), NAMES_AT_ONCE):
            part = ordered_names[start : start + NAMES_AT_ONCE]
            marks = ", ".join("?" * len(part))
            rows = await self._database.rows(
                "SELECT group_id, sn, legs FROM leg_groups WHERE group_id IN"
                f" (SELECT group_id FROM leg_names WHERE sn = ? AND name IN ({marks}))",
                (sn, *part),
            )
            groups |= {stored.group_id: stored.group for stored in read_rows(rows, _stored_group)}
        return groups

    async def list_due(self, now_us: int, limit: int) -> Sequence[StoredGroup]:
        """Return groups whose calls are to be made, those that wait for longest first. A row that cannot be read is due
        no longer: its call can never be made, and no other one waits for it.
        """
        while rows := await self._database.rows(
            "SELECT group_id, sn, legs FROM leg_groups WHERE due_at <= ? ORDER BY due_at, group_id LIMIT ?",
            (now_us, limit),
        ):
            groups = read_rows(rows, _stored_group)
            unreadable_ids = {row[0] for row in rows} - {stored.group_id for stored in groups}
            await self._database.write_many(
                "UPDATE leg_groups SET due_at = NULL WHERE group_id = ?", [(group_id,) for group_id in unreadable_ids]
            )
            if groups:
                return groups
        return []

    async def next_due_at(self) -> int | None:
        """Return when the next call is to be made; None where none is waited for."""
        rows = await self._database.rows("SELECT min(due_at) FROM leg_groups WHERE due_at IS NOT NULL")
        return None if rows[0][0] is None else int(rows[0][0])

    async def save(
        self, changes: Mapping[str, tuple[Mapping[int, LegGroup], Iterable[int]]], *, position: int | None = None
    ) -> None:
        """Store changed groups and remove others, by the serial number of their PBX, together with the position."""
        async with self._database.transaction():
            for sn, (changed, removed_ids) in changes.items():
                for group_id in removed_ids:
                    await self._database.write("DELETE FROM leg_groups WHERE group_id = ?", (group_id,))
                for group_id, group in changed.items():
                    await self._put(sn, group_id, group)
            if position is not None:
                await self._database.write(
                    "INSERT INTO leg_position VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET seq = excluded.seq",
                    (position,),
                )

    async def delete_before(self, received_at: int) -> None:
        """Delete groups without a leg since then whose calls are made."""
        await self._database.write("DELETE FROM leg_groups WHERE received_at < ? AND due_at IS NULL", (received_at,))

    async def clear(self) -> None:
        """Delete everything: the ledger was replaced by another one."""
        async with self._database.transaction():
            await self._database.write("DELETE FROM leg_groups")
            await self._database.write("DELETE FROM leg_position")

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the latest rows that cannot be read."""
        rows = await self._database.rows(
            "SELECT group_id, sn, legs FROM leg_groups ORDER BY group_id DESC LIMIT ?", (CHECKED_ROWS_MAX,)
        )
        return list_unreadable("leg_groups", rows, _stored_group)

    async def _put(self, sn: str, group_id: int, group: LegGroup) -> None:
        await self._database.write(
            "INSERT INTO leg_groups VALUES (?, ?, ?, ?, ?) ON CONFLICT (group_id) DO UPDATE SET"
            " received_at = excluded.received_at, due_at = excluded.due_at, legs = excluded.legs",
            (group_id, sn, group.received_at, group.due_at, encode_column(group)),
        )
        await self._database.write_many(
            "INSERT INTO leg_names VALUES (?, ?, ?) ON CONFLICT (sn, name) DO UPDATE SET group_id = excluded.group_id",
            [(sn, name, group_id) for name in sorted(group.names)],
        )


def _stored_group(row: Row) -> StoredGroup:
    group_id, sn, legs = row
    return StoredGroup(group_id, sn, decode_column(legs, LegGroup))
