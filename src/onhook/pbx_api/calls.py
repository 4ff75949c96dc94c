"""Where the exchange has its calls from: the contract that the store and the made-up PBX both fulfil."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.record import Call
from onhook.store.contract import CallListing, CallListResult, RecordListing, RecordListResult


class NewRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record that is new, to be sent to whoever listens. `sequence` grows with each.

    With a `body` that is sent as it is, whatever was asked for: so a made-up PBX sends what cannot be read.
    """

    sequence: int
    sn: str
    details: CallDetails
    body: bytes = b""


class CallSource(Protocol):
    """Asked by the exchange, and never told anything."""

    async def list_records(self, listing: RecordListing) -> RecordListResult:
        """A page of records, and how many there are in all."""
        ...

    async def list_calls(self, listing: CallListing) -> CallListResult:
        """A page of calls, and how many there are in all."""
        ...

    async def find_call_by_uid(self, uid: str, sns: Sequence[str] = ()) -> Call | None:
        """One call, of these PBXs where some are named."""
        ...

    async def latest_sequence(self) -> int:
        """The number of the latest news."""
        ...

    async def list_new_records(self, after: int, limit: int) -> Sequence[NewRecord]:
        """About so many of the news after a number, in order; whole numbers only."""
        ...

    async def wait(self, after: int) -> None:
        """Return when there may be news after this number."""
        ...

    def number_plan(self, sn: str) -> NumberPlan:
        """Which numbers of that PBX are machines."""
        ...

    async def utc_offset(self, time: datetime, sns: Sequence[str]) -> timedelta:
        """What the wall clock of the PBXs that are named (none is all) is ahead of UTC; of the first that tells."""
        ...
