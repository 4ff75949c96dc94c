"""Calls and records that were stored before an import, read by one client that stays open. Records are read by day: a
file is mostly in order of time, so that each day is read once.

Invariant: memory holds the days of a few hundred lines.
"""

import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import date, datetime, timedelta
from typing import Self, TypeVar

from onhook.cdr.identity import extract_number
from onhook.cli.server_lookup import DataClient, open_data_client
from onhook.config import Config
from onhook.lib.errors import Unavailable
from onhook.pbx.client import StoredLeg
from onhook.sync.file_import import StoredCall, StoredRecords

DAY_RECORDS_MAX = 100_000
"""Records of one day that are read: more than any PBX has. Lines of further ones count as new."""

UID_RECORDS_MAX = 100_000
"""Records that are searched for the ids of the calls of some lines: those of a few days."""

ONE_DAY = timedelta(days=1)

T = TypeVar("T")


class StoredCalls:
    """Asynchronous context manager of the stored calls of one PBX; of records those received before `started_at`."""

    def __init__(self, config: Config, sn: str, started_at: datetime) -> None:
        self._config = config
        self._sn = sn
        self._started_at = started_at
        self._days: Mapping[date, StoredRecords] = {}
        self._stack = AsyncExitStack()
        self._client: DataClient | None = None
        self._is_unreadable = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._close()

    async def find_records(self, days: Collection[date]) -> StoredRecords | None:
        """Return the records of these days, and forget those of other days; None once they could not be read, as while
        the hub starts.
        """
        missing_days = sorted(set(days) - self._days.keys())
        loaded_days: dict[date, StoredRecords] = {}
        try:
            for first_day, last_day in _join_days(missing_days) if missing_days and not self._is_unreadable else ():
                loaded_days |= await self._load(await self._open(), first_day, last_day)
        except Unavailable:
            self._is_unreadable = True
            await self._close()
        if self._is_unreadable:
            return None
        self._days = {day: records for day, records in {**self._days, **loaded_days}.items() if day in days}
        return StoredRecords(
            record_ids=frozenset().union(*(records.record_ids for records in self._days.values())),
            call_ids=frozenset().union(*(records.call_ids for records in self._days.values())),
        )

    async def find_calls(self, uids: Sequence[str]) -> Mapping[str, StoredCall]:
        """Return the calls by the records of the days in the uids: no zone is more than a day from UTC. Raises
        `Unavailable`: without them lines would be stored as other calls.
        """
        days: list[datetime] = []
        for uid in uids:
            with contextlib.suppress(ValueError):  # a text that a spreadsheet has changed
                days.append(datetime.strptime(uid[:8], "%Y%m%d"))  # noqa: DTZ007 - a margin follows
        if not days:
            return {}
        filters = {
            "sn": self._sn,
            "since": f"{min(days) - timedelta(days=1):%Y-%m-%d}",
            "until": f"{max(days) + timedelta(days=3):%Y-%m-%d}",
        }

        async def read(client: DataClient) -> Mapping[str, StoredCall]:
            await client.catch_up()  # with the lines before these
            return await _read_calls(client, filters, frozenset(uids))

        return await self._with_client(read)

    async def _with_client(self, work: Callable[[DataClient], Awaitable[T]]) -> T:
        """Return the result of work with the client; with a new one where the server was started or stopped since."""
        try:
            return await work(await self._open())
        except Unavailable:
            await self._close()
        return await work(await self._open())

    async def _open(self) -> DataClient:
        if self._client is None:
            self._client = await self._stack.enter_async_context(await open_data_client(self._config))
        return self._client

    async def _close(self) -> None:
        self._client = None
        await self._stack.aclose()

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


async def _read_calls(
    client: DataClient, filters: Mapping[str, str], uids: Collection[str]
) -> Mapping[str, StoredCall]:
    calls: dict[str, StoredCall] = {}
    async for row in client.records(filters, UID_RECORDS_MAX):
        if row["uid"] in uids:
            call = calls.get(row["uid"], StoredCall())
            leg = StoredLeg(extract_number(row["call_to"]), row["time_start"])
            # A row that was itself imported without an id has its uid instead.
            call_id = call.call_id if row["call_id"] == row["uid"] else row["call_id"]
            calls[row["uid"]] = StoredCall(call_id=call_id, legs=(*call.legs, leg))
    return calls


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
