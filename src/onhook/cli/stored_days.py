"""Records that were stored before an import, read by day: a file is mostly in order of time, so that each day is read
once.

Invariant: memory holds the days of a few hundred lines.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import date, datetime, timedelta

from onhook.cli.server_lookup import DataClient, open_data_client
from onhook.config import Config
from onhook.sync.file_import import StoredRecords

DAY_RECORDS_MAX = 100_000
"""Records of one day that are read: more than any PBX has. Lines of further ones count as new."""

ONE_DAY = timedelta(days=1)


class StoredDays:
    """Stored records of one PBX by day of their start in UTC, as far as they were received before `started_at`."""

    def __init__(self, config: Config, sn: str, started_at: datetime) -> None:
        self._config = config
        self._sn = sn
        self._started_at = started_at
        self._days: Mapping[date, StoredRecords] = {}

    async def find(self, days: Collection[date]) -> StoredRecords:
        """Return the records of these days; those of other days are forgotten."""
        missing_days = sorted(set(days) - self._days.keys())
        loaded_days: dict[date, StoredRecords] = {}
        if missing_days:
            async with await open_data_client(self._config) as client:
                for first_day, last_day in _join_days(missing_days):
                    loaded_days |= await self._load(client, first_day, last_day)
        self._days = {day: records for day, records in {**self._days, **loaded_days}.items() if day in days}
        return StoredRecords(
            record_ids=frozenset().union(*(records.record_ids for records in self._days.values())),
            call_ids=frozenset().union(*(records.call_ids for records in self._days.values())),
        )

    async def _load(self, client: DataClient, first_day: date, last_day: date) -> Mapping[date, StoredRecords]:
        count = (last_day - first_day).days + 1
        record_ids: dict[date, set[str]] = {first_day + index * ONE_DAY: set() for index in range(count)}
        call_ids: dict[date, set[str]] = {day: set() for day in record_ids}
        filters = {
            "sn": self._sn,
            "since": f"{first_day}T00:00:00+00:00",
            "until": f"{last_day + ONE_DAY}T00:00:00+00:00",
        }
        async for row in client.records(filters, DAY_RECORDS_MAX * count):
            day = datetime.fromisoformat(row["started_at"]).date()
            if datetime.fromisoformat(row["received_at"]) < self._started_at and day in record_ids:
                record_ids[day].add(row["record_id"])
                call_ids[day].add(row["call_id"])
        return {
            day: StoredRecords(record_ids=frozenset(record_ids[day]), call_ids=frozenset(call_ids[day]))
            for day in record_ids
        }


def _join_days(days: list[date]) -> Iterator[tuple[date, date]]:
    """Yield the first and the last day of each run of consecutive days.

    >>> list(_join_days([date(2026, 4, 1), date(2026, 4, 2), date(2026, 4, 9)]))
    [(datetime.date(2026, 4, 1), datetime.date(2026, 4, 2)), (datetime.date(2026, 4, 9), datetime.date(2026, 4, 9))]
    """
    first_day = last_day = days[0]
    for day in days[1:]:
        if day - last_day > ONE_DAY:
            yield first_day, last_day
            first_day = day
        last_day = day
    yield first_day, last_day
