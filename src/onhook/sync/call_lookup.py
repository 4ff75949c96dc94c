"""Look-up of stored calls, for a back-fill that compares them with what it fetches."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from onhook.cdr.record import Record
from onhook.cdr.record_filter import RecordFilter
from onhook.pbx.client import TimeWindow
from onhook.store.contract import PAGE_MAX, Store

UID_MARGIN = timedelta(days=1)
"""A call is searched by its `uid` in the requested window extended by this: the largest offset from UTC."""


class StoreCallLookup:
    """See the contract, `sync.contract.CallLookup`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def find_legs(self, keys: Sequence[tuple[str, str]]) -> Sequence[Record]:
        return await self._store.legs(keys)

    async def find_call_ids(self, sn: str, uids: Sequence[str], window: TimeWindow) -> Mapping[str, str]:
        since, until = (datetime.fromtimestamp(seconds, UTC) for seconds in (window.since, window.until))
        record_filter = RecordFilter(sn=sn, since=since - UID_MARGIN, until=until + UID_MARGIN)
        requested_uids, call_id_by_uid, cursor = set(uids), dict[str, str](), None
        while requested_uids - call_id_by_uid.keys():
            page = await self._store.records(record_filter, PAGE_MAX, cursor)
            call_id_by_uid |= {
                record.uid: record.call_id for record in page.data if _has_call_id(record, requested_uids)
            }
            cursor = page.next
            if cursor is None:
                break
        return call_id_by_uid

    async def find_records_between(self, sn: str, since: datetime, until: datetime) -> Sequence[Record]:
        """Return the records of a PBX that began in a time, its end included."""
        record_filter = RecordFilter(sn=sn, since=since, until=until + timedelta(seconds=1))
        records: list[Record] = []
        cursor = None
        while True:
            page = await self._store.records(record_filter, PAGE_MAX, cursor)
            records += page.data
            cursor = page.next
            if cursor is None:
                return records


class EmptyCallLookup:
    """See the contract, `sync.contract.CallLookup`. For processes that cannot open the store because a server has
    it open; the ledger alone detects duplicates.
    """

    async def find_legs(self, keys: Sequence[tuple[str, str]]) -> Sequence[Record]:
        return ()

    async def find_call_ids(self, sn: str, uids: Sequence[str], window: TimeWindow) -> Mapping[str, str]:
        return {}

    async def find_records_between(self, sn: str, since: datetime, until: datetime) -> Sequence[Record]:
        return ()


def _has_call_id(record: Record, uids: set[str]) -> bool:
    """Return whether a record has a `call_id` of its own; a record that was itself fetched without one has its uid
    instead.
    """
    return record.uid in uids and record.call_id != record.uid
