"""Calls in memory with the same results as the store, for a simulated PBX and for tests.

Invariants: a call can be found at once, whatever the faults of its event. Memory is bounded: the oldest calls are
removed first, as on a PBX.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call
from onhook.cdr.call_details import CallDetails
from onhook.cdr.identity import extract_number
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.record import Call, Record
from onhook.lib.clock import Clock
from onhook.pbx.yeastar.rest import local_time
from onhook.pbx_api.calls import NewRecord
from onhook.store.contract import (
    CALL_ORDERS,
    LISTING_ROWS_MAX,
    RECORD_ORDERS,
    CallListing,
    CallListResult,
    Listing,
    RecordListing,
    RecordListResult,
)

CALLS_MAX = 50_000
"""Some 140 MB: most of a year of the simulated office."""

NEW_RECORDS_MAX = 10_000
"""A reader that is further behind has already lost its connection."""

RecordOrCall = TypeVar("RecordOrCall", Record, Call)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - local times are compared as they are


class MemoryCalls:
    """See the contract, `pbx_api.calls.CallSource`. One PBX; `zone` is its time zone."""

    def __init__(self, sn: str, zone: ZoneInfo, clock: Clock, *, calls_max: int = CALLS_MAX) -> None:
        self._sn = sn
        self._facts = PbxFacts(name=sn, zone=zone)
        self._zone = zone
        self._clock = clock
        self._calls_max = calls_max
        self._reported_legs: OrderedDict[str, list[ReportedLeg]] = OrderedDict()
        self._calls: dict[str, Call] = {}
        self._new_records: deque[NewRecord] = deque(maxlen=NEW_RECORDS_MAX)
        self._leg_count = 0
        self._announced_count = 0
        self._changed = asyncio.Event()

    def add(self, details: CallDetails) -> None:
        """Add a leg, which can be found from now on."""
        self._leg_count += 1
        reported_leg = ReportedLeg(details=details, seq=self._leg_count, via="simulated", received_at=self._clock.now())
        legs = self._reported_legs.setdefault(details.call_id, [])
        legs.append(reported_leg)
        self._calls[details.call_id] = assemble_call(self._sn, legs, self._facts)
        while len(self._reported_legs) > self._calls_max:
            call_id, _ = self._reported_legs.popitem(last=False)
            self._calls.pop(call_id, None)

    def publish(self, details: CallDetails, body: bytes = b"") -> None:
        """Send the event of a leg to the sockets; a `body` replaces it."""
        self._announced_count += 1
        self._new_records.append(NewRecord(sequence=self._announced_count, sn=self._sn, details=details, body=body))
        self._changed.set()
        self._changed = asyncio.Event()

    # The contract

    async def list_records(self, listing: RecordListing) -> RecordListResult:
        return await asyncio.to_thread(_list_records, list(self._calls.values()), listing)

    async def list_calls(self, listing: CallListing) -> CallListResult:
        return await asyncio.to_thread(_list_calls, list(self._calls.values()), listing)

    async def find_call_by_uid(self, uid: str, sns: Sequence[str] = ()) -> Call | None:
        matches = [call for call in self._calls.values() if any(leg.uid == uid for leg in call.legs)]
        return max(matches, key=lambda call: call.started_at) if matches and (not sns or self._sn in sns) else None

    async def latest_sequence(self) -> int:
        return self._announced_count

    async def list_new_records(self, after: int, limit: int) -> Sequence[NewRecord]:
        # Numbers are consecutive, so the index of the next one is known.
        begin = max(0, after - self._announced_count + len(self._new_records))
        return list(islice(self._new_records, begin, begin + limit))

    async def wait(self, after: int) -> None:
        while self._announced_count <= after:
            await self._changed.wait()

    def number_plan(self, sn: str) -> NumberPlan:
        return self._facts.number_plan

    async def utc_offset(self, time: datetime, sns: Sequence[str]) -> timedelta:
        return time.astimezone(self._zone).utcoffset() or timedelta()


def _list_records(calls: Sequence[Call], listing: RecordListing) -> RecordListResult:
    """Return a page; runs in a thread, because a hundred thousand legs take a second."""
    matches = [leg for call in calls for leg in call.legs if _matches_record(listing, leg)]
    return RecordListResult(len(matches), _page(matches, listing, RECORD_ORDERS))


def _list_calls(calls: Sequence[Call], listing: CallListing) -> CallListResult:
    matches = [call for call in calls if _matches_call(listing, call)]
    return CallListResult(len(matches), _page(matches, listing, CALL_ORDERS))


def _matches_record(listing: RecordListing, leg: Record) -> bool:
    return (
        listing.filter.matches(leg)
        and _matches_time(listing, leg)
        and (listing.pin_code is None or leg.pin_code == listing.pin_code)
        and (not listing.has_recording or bool(leg.recording))
        and (not listing.ids or leg.record_id[:16] in listing.ids)
        and (not listing.dids or any(_matches_did(leg, did, trunk) for did, trunk in listing.dids))
    )


def _matches_did(leg: Record, did: str, trunk: str) -> bool:
    return did in (leg.did_number, leg.did_name) and trunk in ("", leg.src_trunk_name)


def _matches_call(listing: CallListing, call: Call) -> bool:
    return (
        listing.filter.matches_call(call)
        and _matches_time(listing, call.legs[0])
        and (not listing.queues or any(extract_number(leg.call_to) in listing.queues for leg in call.legs))
    )


def _matches_time(listing: Listing, leg: Record) -> bool:
    """Return whether the local time and the PBX match."""
    local_seconds = int((local_time(leg) - _EPOCH).total_seconds())
    return (
        (not listing.sns or leg.sn in listing.sns)
        and (listing.local_since is None or local_seconds >= listing.local_since)
        and (listing.local_until is None or local_seconds < listing.local_until)
    )


def _page(matches: list[RecordOrCall], listing: Listing, order_columns: Sequence[str]) -> list[RecordOrCall]:
    """Return the page in order; missing values are last, in both directions."""
    assert listing.order_by in order_columns
    assert 1 <= listing.limit <= LISTING_ROWS_MAX
    with_value = [row for row in matches if getattr(row, listing.order_by) is not None]
    with_value.sort(key=lambda row: (getattr(row, listing.order_by), *_tie_breaker(row)), reverse=listing.is_descending)
    without_value = [row for row in matches if getattr(row, listing.order_by) is None]
    without_value.sort(key=_tie_breaker, reverse=listing.is_descending)
    return (with_value + without_value)[listing.offset : listing.offset + listing.limit]


def _tie_breaker(row: Record | Call) -> tuple[Any, ...]:
    """Return the order of rows with equal sort keys."""
    seq = row.seq if isinstance(row, Record) else 0
    return row.started_at, seq, row.sn, row.call_id
