"""Contract of the source of calls, implemented by the store and the simulated PBX."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.store.contract import (
    CallListing,
    CallListResult,
    MissedCalls,
    RecordListing,
    RecordListResult,
)
from onhook.store.seen_parties import SeenParty, SeenTrunk


class NewRecord(msgspec.Struct, frozen=True, kw_only=True):
    """New record for the sockets. `sequence` grows with each record."""

    sequence: int
    sn: str
    details: CallDetails


class CallSource(Protocol):
    """Source of calls, read only."""

    async def list_records(self, listing: RecordListing) -> RecordListResult:
        """Return a page of records, and their total number."""
        ...

    async def list_calls(self, listing: CallListing) -> CallListResult:
        """Return a page of calls, and their total number."""
        ...

    async def find_call_by_uid(self, uid: str, sns: Sequence[str] = ()) -> Call | None:
        """Return one call of these PBXs, or of all when none is named; None when it does not exist."""
        ...

    async def list_parties(self, sns: Sequence[str], *, is_external: bool) -> Sequence[SeenParty]:
        """Return the numbers in the calls of these PBXs, or of all; some seconds old at most."""
        ...

    async def list_trunks(self, sns: Sequence[str]) -> Sequence[SeenTrunk]:
        """Return the trunks in the calls of these PBXs, or of all; some seconds old at most."""
        ...

    async def missed_calls(self, record_filter: RecordFilter, limit: int) -> MissedCalls:
        """Return the missed calls that no later call has returned."""
        ...

    async def latest_sequence(self) -> int:
        """Return the number of the latest record."""
        ...

    async def list_new_records(self, after: int, limit: int) -> Sequence[NewRecord]:
        """Return about `limit` new records after a number, in order. Records of one number are never split."""
        ...

    async def wait(self, after: int) -> None:
        """Return when there may be new records after this number."""
        ...

    async def number_plan(self, sn: str) -> NumberPlan:
        """Return which numbers of the PBX are IVRs, queues and the like."""
        ...

    async def recording_file(self, sn: str, name: str) -> Path | None:
        """Return the file of a recording on this machine, or None."""
        ...

    async def sns(self) -> Sequence[str]:
        """Return the serial numbers of all PBXs."""
        ...

    async def utc_offset(self, time: datetime, sns: Sequence[str]) -> timedelta:
        """Return the offset from UTC of the local time of these PBXs (empty means all): that of the first with a known
        offset.
        """
        ...
