"""Retention of the installation, where an administrator has set it on a page instead of in the configuration."""

from onhook.appdb.contract import Database, Row
from onhook.appdb.retention_overrides import DAYS_MAX, FOR_EVER
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_rows
from onhook.lib.messages import _

_SELECT = "SELECT days FROM installation_retention"


class InstallationRetention:
    """Days for all PBXs without days of their own; `FOR_EVER` deletes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self) -> int | None:
        """Return the days; None where those of the configuration apply, or where they cannot be read."""
        return next(iter(read_rows(await self._database.rows(_SELECT), _days)), None)

    async def put(self, days: int | None) -> None:
        """Set the days; None uses those of the configuration."""
        if days is None:
            await self._database.write("DELETE FROM installation_retention")
            return
        await self._database.write(
            "INSERT INTO installation_retention VALUES (1, ?)"
            " ON CONFLICT (settings_id) DO UPDATE SET days = excluded.days",
            (days,),
        )

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the row, where it cannot be read; nothing is deleted then."""
        return list_unreadable("installation_retention", await self._database.rows(_SELECT), _days)


def _days(row: Row) -> int:
    (days,) = row
    if not FOR_EVER <= days <= DAYS_MAX:
        raise ValueError(_("{days} is not a number of days", days=days))
    return int(days)
