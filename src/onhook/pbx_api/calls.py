"""Contract of the source of calls, implemented by the store and the simulated PBX."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.record import Call
from onhook.store.contract import CallListing, CallListResult, RecordListing, RecordListResult


class NewRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A new record for the sockets. `sequence` grows with each.

    A `body` is sent as it is, whatever the payload format: so a simulated PBX sends malformed events.
    """

    sequence: int
    sn: str
    details: CallDetails
    body: bytes = b""


class CallSource(Protocol):
    """Source of calls, read only."""

    async def list_records(self, listing: RecordListing) -> RecordListResult:
        """Return a page of records, and their total number."""
        ...

    async def list_calls(self, listing: CallListing) -> CallListResult:
        """Return a page of calls, and their total number."""
        ...

    async def find_call_by_uid(self, uid: str, sns: Sequence[str] = ()) -> Call | None:
        """Return one call, of these PBXs where some are named."""
        ...

    async def latest_sequence(self) -> int:
        """Return the number of the latest new record."""
        ...

    async def list_new_records(self, after: int, limit: int) -> Sequence[NewRecord]:
        """Return about so many new records after a number, in order; never a part of one number."""
        ...

    async def wait(self, after: int) -> None:
        """Return when there may be new records after this number."""
        ...

    def number_plan(self, sn: str) -> NumberPlan:
        """Return which numbers of the PBX are IVRs, queues and the like."""
        ...

    async def utc_offset(self, time: datetime, sns: Sequence[str]) -> timedelta:
        """Return the offset from UTC of the local time of these PBXs (none is all); of the first that has one."""
        ...
