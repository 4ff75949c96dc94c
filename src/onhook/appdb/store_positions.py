"""How far each store that is made from the ledger is."""

from datetime import timedelta

from onhook.appdb.contract import Database

ABSENCE_MAX = timedelta(days=7)
"""A store that was not seen for so long is not waited for: it is made anew when it comes back."""

_MICROSECOND = timedelta(microseconds=1)


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

    async def slowest(self, *, now_us: int) -> int | None:
        """Return the lowest position of the stores that were seen lately; None without one."""
        rows = await self._database.rows(
            "SELECT min(position) FROM stores WHERE seen_at > ?", (now_us - ABSENCE_MAX // _MICROSECOND,)
        )
        position: int | None = rows[0][0]
        return position
