"""Retention per PBX, where it differs from that of the installation."""

from collections.abc import Mapping

from onhook.appdb.contract import Database, Row
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_rows
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

DAYS_MAX = 36_500
"""A hundred years: use `always` for longer."""

FOR_EVER = 0
"""The value for data that is never deleted."""

_SELECT = "SELECT sn, days FROM retention_overrides ORDER BY sn"


class RetentionOverrides:
    """Days by serial number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> Mapping[str, int]:
        """Return the days of all PBXs that have their own."""
        return dict(read_rows(await self._database.rows(_SELECT), _override))

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read; nothing is deleted then."""
        return list_unreadable("retention_overrides", await self._database.rows(_SELECT), _override)

    async def put(self, sn: str, days: int | None) -> None:
        """Set the days of a registered PBX; None uses those of the installation."""
        if days is None:
            await self._database.write("DELETE FROM retention_overrides WHERE sn = ?", (sn,))
            return
        await self._database.write(
            "INSERT INTO retention_overrides VALUES (?, ?) ON CONFLICT (sn) DO UPDATE SET days = excluded.days",
            (sn, days),
        )


def _override(row: Row) -> tuple[str, int]:
    sn, days = row
    if not FOR_EVER <= days <= DAYS_MAX:
        raise ValueError(_("{days} is not a number of days", days=days))
    return sn, days


def parse_retention_days(text: str) -> int | None:
    """Return the days in a text: a number, `always`, or `auto` for those of the installation. Raises `UsageError`.

    >>> parse_retention_days("90"), parse_retention_days("always"), parse_retention_days("auto")
    (90, 0, None)
    """
    words = {"always": FOR_EVER, "auto": None}
    if text in words:
        return words[text]
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= DAYS_MAX):
        raise UsageError(
            _("{text} is not a number of days", text=repr(text[:20])),
            hint=_("write 1 to {maximum} days, always or auto", maximum=DAYS_MAX),
        )
    return int(text)
