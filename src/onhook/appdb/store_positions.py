"""How far each store that is made from the ledger is, and each destination that follows what is deleted.

Raw events are deleted behind the slowest store. A destination is no reason to keep them: for it the ledger keeps the
entries that name what was deleted.
"""

from datetime import timedelta

from onhook.appdb.contract import Database

ABSENCE_MAX = timedelta(days=7)
"""A store that was not seen for so long is not waited for: it is made anew when it comes back."""

ABSENCE_MICROSECONDS = ABSENCE_MAX // timedelta(microseconds=1)

COPY_PREFIX = "copy:"
"""Of the names of copies of stores, with which a new hub may begin."""

FOLLOWER_PREFIX = "destination:"
"""Of the names of destinations, before their number."""


class StorePositions:
    """Repository of the registered stores. Times passed in are microseconds since 1970, UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def report(self, name: str, position: int, *, now_us: int) -> None:
        """Register a store, or its new position."""
        await self._database.write(
            "INSERT INTO stores VALUES (?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET position = excluded.position, seen_at = excluded.seen_at",
            (name, position, now_us),
        )

    async def seen_at(self, name: str) -> int | None:
        """Return when a store was last reported, in microseconds since 1970, UTC; None where it is not registered."""
        rows = await self._database.rows("SELECT seen_at FROM stores WHERE name = ?", (name,))
        return rows[0][0] if rows else None

    async def all(self) -> dict[str, int]:
        """Return the positions of the stores by name, without those of destinations and of copies."""
        rows = await self._database.rows(
            "SELECT name, position FROM stores WHERE name NOT LIKE ? AND name NOT LIKE ? ORDER BY name",
            (f"{FOLLOWER_PREFIX}%", f"{COPY_PREFIX}%"),
        )
        return dict(rows)

    async def hold_copy(self, copy_id: str, position: int, period: timedelta, *, now_us: int) -> None:
        """Have a copy of a store waited for, for a period shorter than `ABSENCE_MAX`; forget those that no longer
        are.
        """
        async with self._database.transaction():
            await self._database.write(
                "DELETE FROM stores WHERE name LIKE ? AND seen_at <= ?",
                (f"{COPY_PREFIX}%", now_us - ABSENCE_MICROSECONDS),
            )
            seen_us = now_us - ABSENCE_MICROSECONDS + period // timedelta(microseconds=1)
            await self.report(f"{COPY_PREFIX}{copy_id}", position, now_us=seen_us)

    async def is_copy_held(self, copy_id: str, *, now_us: int) -> bool:
        """Return whether a copy is waited for."""
        seen_at = await self.seen_at(f"{COPY_PREFIX}{copy_id}")
        return seen_at is not None and seen_at > now_us - ABSENCE_MICROSECONDS

    async def release_copy(self, copy_id: str) -> None:
        """Wait for a copy no longer."""
        await self.remove(f"{COPY_PREFIX}{copy_id}")

    async def remove(self, name: str) -> None:
        """Wait for a store no longer."""
        await self._database.write("DELETE FROM stores WHERE name = ?", (name,))

    async def slowest(self, *, now_us: int) -> int | None:
        """Return the lowest position of the stores that were seen lately; None without one."""
        rows = await self._database.rows(
            "SELECT min(position) FROM stores WHERE seen_at > ? AND name NOT LIKE ?",
            (now_us - ABSENCE_MICROSECONDS, f"{FOLLOWER_PREFIX}%"),
        )
        position: int | None = rows[0][0]
        return position

    async def report_follower(self, destination_id: int, position: int) -> None:
        """Register a destination that follows deletions, or the number of the last entry that it has applied."""
        await self.report(f"{FOLLOWER_PREFIX}{destination_id}", position, now_us=0)

    async def follower(self, destination_id: int) -> int | None:
        """Return the number of the last entry that a destination has applied; None where it was never registered."""
        rows = await self._database.rows(
            "SELECT position FROM stores WHERE name = ?", (f"{FOLLOWER_PREFIX}{destination_id}",)
        )
        return int(rows[0][0]) if rows else None

    async def slowest_follower(self) -> int | None:
        """Return the lowest number of the destinations that follow deletions; None without one. One that cannot be
        reached is waited for until it is removed.
        """
        rows = await self._database.rows(
            "SELECT min(position) FROM stores WHERE name IN (SELECT ? || destination_id FROM destinations)",
            (FOLLOWER_PREFIX,),
        )
        position: int | None = rows[0][0]
        return position
