"""How much of the disk was free at which time: from this follows how fast it fills."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from onhook.appdb.contract import Database
from onhook.appdb.stored_json import read_rows
from onhook.lib.timestamps import to_datetime

SAMPLE_INTERVAL = timedelta(hours=1)

KEPT_PERIOD = timedelta(days=7)
"""The period over which the rate is measured: a week has the work of each weekday."""

_MICROSECOND = timedelta(microseconds=1)


class DiskSample(msgspec.Struct, frozen=True):
    """The free space of the data directory's disk at one time."""

    measured_at: datetime
    free_bytes: int


class DiskSamples:
    """Repository of the samples of a week, those of each machine by its name, which is empty where there is one.
    Times passed in are microseconds since 1970, UTC.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, node: str = "") -> Sequence[DiskSample]:
        """Return the samples of a machine, the oldest first."""
        rows = await self._database.rows(
            "SELECT measured_at, free_bytes FROM disk_samples WHERE node = ? ORDER BY measured_at", (node,)
        )
        return read_rows(rows, lambda row: DiskSample(to_datetime(row[0]), row[1]))

    async def add(self, free_bytes: int, *, node: str = "", now_us: int) -> None:
        """Add a sample of a machine if its latest is an hour old. Delete those that are too old, and those of a future
        that a clock which was put back has shown.
        """
        oldest_us = now_us - KEPT_PERIOD // _MICROSECOND
        recent_us = now_us - SAMPLE_INTERVAL // _MICROSECOND
        if await self._database.rows(
            "SELECT 1 FROM disk_samples WHERE node = ? AND measured_at > ? AND measured_at <= ? LIMIT 1",
            (node, recent_us, now_us),
        ):
            return
        async with self._database.transaction():
            await self._database.write(
                "DELETE FROM disk_samples WHERE measured_at < ? OR (node = ? AND measured_at > ?)",
                (oldest_us, node, now_us),
            )
            await self._database.write("INSERT INTO disk_samples VALUES (?, ?, ?)", (node, now_us, free_bytes))
