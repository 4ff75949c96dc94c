"""The simulated office: a stream of calls, each a list of rows. Pure: the same seed, zone and plan give the same calls.

The calls of a day depend on the seed and the date only. So a day that is generated twice has the same calls with the
same ids, and a receiver stores them once.
"""

import heapq
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import count
from random import Random
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.simulator.journeys import Journey, generate_journey
from onhook.simulator.numbers import create_directory
from onhook.simulator.rows import CallIds, build_rows
from onhook.simulator.traffic_profile import generate_call_starts

CALLS_PER_DAY_MAX = 1_000_000
"""Twelve calls a second around the clock; the start times of one day are held in memory."""

LOOKBACK_DAYS_MAX = 400
"""How far back `latest` looks for calls. Only offices with very few calls a day reach this limit."""

EXTENSION_COUNT = 24
FIRST_SEQUENCE_MAX = 5000
"""A PBX counts channels since its last restart; the simulated one restarts at midnight, from a number below this."""

LIVE_SEQUENCE_MAX = 1_000_000
"""Highest start of the counter of live calls, as after months without a restart."""


class OfficePlan(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of an office. `start` (aware) is where `calls` begins.

    `calls_per_day` is the mean of a working day. With `with_names` an event has `Alice<1001>`, else `1001`.
    `clock_error_seconds` is how far the PBX's own clock is ahead of true time.
    """

    start: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    calls_per_day: int = 200
    extensions: int = EXTENSION_COUNT
    with_names: bool = False
    clock_error_seconds: int = 0


class OfficeCall(NamedTuple):
    """One call: its begin and end in true time, and the rows that the PBX reports."""

    started_at: datetime
    ended_at: datetime
    legs: list[CallDetails]


class Office:
    """One office behind one PBX."""

    def __init__(self, seed: int, zone: ZoneInfo, plan: OfficePlan) -> None:
        """Raises `UsageError` for an impossible plan."""
        if not 1 <= plan.calls_per_day <= CALLS_PER_DAY_MAX:
            raise UsageError(
                _("an office cannot have {count} calls a day", count=plan.calls_per_day),
                hint=_("use 1 to {maximum:,}", maximum=CALLS_PER_DAY_MAX),
            )
        self._seed = seed
        self._zone = zone
        self._plan = plan
        self._directory = create_directory(seed, plan.extensions)

    def calls(self) -> Iterator[list[CallDetails]]:
        """Yield all calls from the plan's start on, without end, in the order in which they end."""
        return (call.legs for call in self.calls_since(self._plan.start))

    def calls_since(self, start: datetime) -> Iterator[OfficeCall]:
        """Yield the calls that begin at `start` or later, without end, in the order in which they end."""
        first_day = start.astimezone(self._zone).date()
        days = (self._calls_of_day(first_day + timedelta(days=n)) for n in count())
        return _order_by_end(call for day in days for call in day if call.started_at >= start)

    def latest(self, now: datetime, limit: int) -> list[OfficeCall]:
        """Return the last calls, at most `limit`, that had ended by `now`, in the order in which they ended."""
        today = now.astimezone(self._zone).date()
        matches: list[OfficeCall] = []
        for days_back in range(LOOKBACK_DAYS_MAX):
            if len(matches) >= limit:
                break
            matches += [call for call in self._calls_of_day(today - timedelta(days=days_back)) if call.ended_at <= now]
        matches.sort(key=lambda call: call.ended_at)
        return matches[-limit:] if limit else []

    def live_calls(self, end_times: Iterable[datetime]) -> Iterator[OfficeCall]:
        """Yield one call for each time, which ends then. A time is read from the iterator when its call is."""
        sequence = 0
        for index, end_time in enumerate(end_times):
            rng = Random(f"{self._seed}/{end_time}/{index}")
            # Two offices of one seed that are live at the same time rarely generate the same ids.
            sequence = sequence or rng.randrange(1, LIVE_SEQUENCE_MAX)
            journey = generate_journey(rng, self._directory)
            ended_at = end_time.replace(microsecond=0)
            yield self._build_call(rng, journey, ended_at - timedelta(seconds=journey.duration_seconds), sequence)
            sequence += 1 + len(journey.legs)

    def _calls_of_day(self, day: date) -> Iterator[OfficeCall]:
        """Yield the calls that begin on one day of the office's local time, in the order in which they begin."""
        rng = Random(f"{self._seed}/{day}")
        sequence = rng.randrange(FIRST_SEQUENCE_MAX)
        for started_at in generate_call_starts(rng, day, self._zone, self._plan.calls_per_day):
            journey = generate_journey(rng, self._directory)
            yield self._build_call(rng, journey, started_at, sequence)
            sequence += 1 + len(journey.legs)

    def _build_call(self, rng: Random, journey: Journey, started_at: datetime, sequence: int) -> OfficeCall:
        pbx_started_at = started_at + timedelta(seconds=self._plan.clock_error_seconds)
        ids = CallIds(sequence, _random_hex_suffix(rng), _random_hex_suffix(rng))
        legs = build_rows(journey, pbx_started_at, self._zone, ids, with_names=self._plan.with_names)
        return OfficeCall(started_at, started_at + timedelta(seconds=journey.duration_seconds), legs)


def _order_by_end(calls: Iterable[OfficeCall]) -> Iterator[OfficeCall]:
    """Yield calls in the order of their end. The input is in the order of their begin; calls in progress are held in
    memory.
    """
    ongoing_calls: list[tuple[datetime, int, OfficeCall]] = []
    for index, call in enumerate(calls):
        while ongoing_calls and ongoing_calls[0][0] <= call.started_at:
            yield heapq.heappop(ongoing_calls)[2]
        heapq.heappush(ongoing_calls, (call.ended_at, index, call))
    while ongoing_calls:
        yield heapq.heappop(ongoing_calls)[2]


def _random_hex_suffix(rng: Random) -> str:
    return f"{rng.randrange(16**5):05X}"
