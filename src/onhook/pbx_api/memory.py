"""Calls in memory, with the same answers as the store: for a made-up PBX, and for whoever tests against one.

Laws: what is told of a call is there at once for whoever asks, whatever befalls the event about it. Memory is bounded:
the calls that came first are forgotten first, as a PBX does with its own.
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
"""Some 140 MB: most of a year of the made-up office."""

NEW_RECORDS_MAX = 10_000
"""Who is further behind has lost its connection long ago."""

RecordOrCall = TypeVar("RecordOrCall", Record, Call)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall clocks are compared as they are


class MemoryCalls:
    """See the contract, `exchange.calls.Calls`. One PBX; `zone` is where it is."""

    def __init__(self, sn: str, zone: ZoneInfo, clock: Clock, *, calls_kept_max: int = CALLS_MAX) -> None:
        self._sn = sn
        self._facts = PbxFacts(name=sn, zone=zone)
        self._zone = zone
        self._clock = clock
        self._calls_kept_max = calls_kept_max
        self._said: OrderedDict[str, list[ReportedLeg]] = OrderedDict()
        self._calls: dict[str, Call] = {}
        self._news: deque[NewRecord] = deque(maxlen=NEW_RECORDS_MAX)
        self._told = 0
        self._announced = 0
        self._changed = asyncio.Event()

    def tell(self, details: CallDetails) -> None:
        """Keep a leg: from now on whoever asks finds it."""
        self._told += 1
        reported_leg = ReportedLeg(details=details, seq=self._told, via="made up", received_at=self._clock.now())
        legs = self._said.setdefault(details.call_id, [])
        legs.append(reported_leg)
        self._calls[details.call_id] = assemble_call(self._sn, legs, self._facts)
        while len(self._said) > self._calls_kept_max:
            call_id, _ = self._said.popitem(last=False)
            self._calls.pop(call_id, None)

    def announce(self, details: CallDetails, body: bytes = b"") -> None:
        """Send the event about a leg to whoever listens; with a body, that instead."""
        self._announced += 1
        self._news.append(NewRecord(number=self._announced, sn=self._sn, details=details, body=body))
        self._changed.set()
        self._changed = asyncio.Event()

    # -- the contract

    async def listed_records(self, asked: RecordListing) -> RecordListResult:
        return await asyncio.to_thread(_list_records, list(self._calls.values()), asked)

    async def listed_calls(self, asked: CallListing) -> CallListResult:
        return await asyncio.to_thread(_list_calls, list(self._calls.values()), asked)

    async def call_with_uid(self, uid: str, sns: Sequence[str] = ()) -> Call | None:
        matches = [call for call in self._calls.values() if any(leg.uid == uid for leg in call.legs)]
        return max(matches, key=lambda call: call.started_at) if matches and (not sns or self._sn in sns) else None

    async def newest(self) -> int:
        return self._announced

    async def news(self, after: int, limit: int) -> Sequence[NewRecord]:
        # Numbers follow each other without a gap, so the place of the next one is known.
        begin = max(0, after - self._announced + len(self._news))
        return list(islice(self._news, begin, begin + limit))

    async def wait(self, after: int) -> None:
        while self._announced <= after:
            await self._changed.wait()

    def plan_of(self, sn: str) -> NumberPlan:
        return self._facts.plan

    async def offset_at(self, moment: datetime, sns: Sequence[str]) -> timedelta:
        return moment.astimezone(self._zone).utcoffset() or timedelta()


def _list_records(calls: Sequence[Call], asked: RecordListing) -> RecordListResult:
    """In a thread: to look through a hundred thousand legs takes a second."""
    matches = [leg for call in calls for leg in call.legs if _matches_record(asked, leg)]
    return RecordListResult(len(matches), _page(matches, asked, RECORD_ORDERS))


def _list_calls(calls: Sequence[Call], asked: CallListing) -> CallListResult:
    matches = [call for call in calls if _matches_call(asked, call)]
    return CallListResult(len(matches), _page(matches, asked, CALL_ORDERS))


def _matches_record(asked: RecordListing, leg: Record) -> bool:
    return (
        asked.where.matches(leg)
        and _matches_time(asked, leg)
        and (asked.pin_code is None or leg.pin_code == asked.pin_code)
        and (not asked.has_recording or bool(leg.recording))
        and (not asked.ids or leg.record_id[:16] in asked.ids)
        and (not asked.dids or any(_matches_did(leg, did, trunk) for did, trunk in asked.dids))
    )


def _matches_did(leg: Record, did: str, trunk: str) -> bool:
    return did in (leg.did_number, leg.did_name) and trunk in ("", leg.src_trunk_name)


def _matches_call(asked: CallListing, call: Call) -> bool:
    return (
        asked.where.matches_call(call)
        and _matches_time(asked, call.legs[0])
        and (not asked.queues or any(extract_number(leg.call_to) in asked.queues for leg in call.legs))
    )


def _matches_time(asked: Listing, leg: Record) -> bool:
    """By the wall clock, and of one of the PBXs that are meant."""
    local_seconds = int((local_time(leg) - _EPOCH).total_seconds())
    return (
        (not asked.sns or leg.sn in asked.sns)
        and (asked.local_since is None or local_seconds >= asked.local_since)
        and (asked.local_until is None or local_seconds < asked.local_until)
    )


def _page(found: list[RecordOrCall], asked: Listing, known: Sequence[str]) -> list[RecordOrCall]:
    """In order; what nobody reported comes last, whichever way round."""
    assert asked.order_by in known
    assert 1 <= asked.limit <= LISTING_ROWS_MAX
    with_value = [row for row in found if getattr(row, asked.order_by) is not None]
    with_value.sort(key=lambda row: (getattr(row, asked.order_by), *_tie_breaker(row)), reverse=asked.is_descending)
    without_value = [row for row in found if getattr(row, asked.order_by) is None]
    without_value.sort(key=_tie_breaker, reverse=asked.is_descending)
    return (with_value + without_value)[asked.offset : asked.offset + asked.limit]


def _tie_breaker(one: Record | Call) -> tuple[Any, ...]:
    """What decides between equals."""
    seq = one.seq if isinstance(one, Record) else 0
    return one.started_at, seq, one.sn, one.call_id
