"""Figures of queues in the terms of the trade, from counts of visits. Pure.

Invariants: offered = answered + abandoned + overflowed + forwarded. A short abandon is in no rate. Only known waits
are averaged, and a visit whose wait is unknown is answered within no time.
"""

from collections.abc import Iterable
from itertools import accumulate

import msgspec

from onhook.cdr.queue_visits import GroupKind, VisitOutcome

SERVICE_LEVEL_SECONDS_DEFAULT = 20
"""Four of five calls within 20 seconds is the usual goal of call centres."""

SHORT_ABANDON_SECONDS_DEFAULT = 5
"""A caller who hangs up sooner has dialled a wrong number, or has what an announcement says."""


class QueueTargets(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a queue: an answer within `service_level_seconds` is in time, a caller who gives up before
    `short_abandon_seconds` is a short abandon.
    """

    service_level_seconds: int = SERVICE_LEVEL_SECONDS_DEFAULT
    short_abandon_seconds: int = SHORT_ABANDON_SECONDS_DEFAULT


class WaitCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many visits ended in one way after so many seconds, and how long they talked together; None is unknown."""

    outcome: VisitOutcome
    wait_duration: int | None
    calls: int
    talk_duration: int | None


class QueueCount(WaitCount, frozen=True, kw_only=True):
    """A count of visits to one queue or ring group of a PBX. `step` is an hour of the day, 0 to 23, or a weekday, 1
    (Monday) to 7; 0 where they are not counted by either.
    """

    sn: str
    pbx: str
    queue: str
    kind: GroupKind
    step: int


class AgentFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of an agent in one queue or ring group. `worked_seconds` are from the first to the last call that the
    agent answered for any of them, added up over the days with a call of this one; `all_worked_seconds` over all days,
    the same in each row of the agent. `is_outside` where the agent was reached by a trunk.
    """

    sn: str
    pbx: str
    queue: str
    kind: GroupKind
    agent: str
    is_outside: bool
    answered: int
    missed_rings: int
    talk_duration: int
    worked_seconds: int
    all_worked_seconds: int

    @property
    def talk_per_hour(self) -> int | None:
        """Return the seconds of talk in each hour worked; None without one."""
        return talk_per_hour(self.talk_duration, self.worked_seconds)


def talk_per_hour(talk_duration: int, worked_seconds: int) -> int | None:
    """Return the seconds of talk in each hour worked; None without one."""
    return round(3_600 * talk_duration / worked_seconds) if worked_seconds else None


def total_worked_seconds(rows: Iterable[AgentFigures]) -> int:
    """Return the seconds that the agents of these rows worked, those of each agent once."""
    return sum({(row.sn, row.agent, row.is_outside): row.all_worked_seconds for row in rows}.values())


class QueueFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one or several queues. Durations are whole seconds, `wait_p90` of answered visits by nearest rank;
    rates are between 0 and 1; None where there is nothing to divide by.
    """

    offered: int
    answered: int
    answered_in_time: int
    abandoned: int
    short_abandoned: int
    overflowed: int
    forwarded: int
    wait_average: int | None
    wait_p90: int | None
    wait_longest: int | None
    talk_duration: int

    @property
    def rated(self) -> int:
        """Return the visits that rates are of."""
        return self.offered - self.short_abandoned

    @property
    def service_level(self) -> float | None:
        """Return the share of visits that were answered in time."""
        return self.answered_in_time / self.rated if self.rated else None

    @property
    def answer_rate(self) -> float | None:
        """Return the share of visits that were answered."""
        return self.answered / self.rated if self.rated else None

    @property
    def abandon_rate(self) -> float | None:
        """Return the share of visits that were abandoned, short ones left out."""
        return (self.abandoned - self.short_abandoned) / self.rated if self.rated else None


def compute_figures(counts: Iterable[tuple[WaitCount, QueueTargets]]) -> QueueFigures:
    """Return the figures of all these visits, each by the settings of its queue."""
    calls_by_outcome: dict[VisitOutcome, int] = {}
    answered_waits: dict[int, int] = {}
    answered_in_time = short_abandoned = talk_duration = 0
    longest: int | None = None
    for count, targets in counts:
        calls_by_outcome[count.outcome] = calls_by_outcome.get(count.outcome, 0) + count.calls
        talk_duration += count.talk_duration or 0
        wait = count.wait_duration
        if wait is None:
            continue
        longest = wait if longest is None else max(longest, wait)
        if count.outcome == "answered":
            answered_waits[wait] = answered_waits.get(wait, 0) + count.calls
            answered_in_time += count.calls if wait <= targets.service_level_seconds else 0
        elif count.outcome == "abandoned" and wait < targets.short_abandon_seconds:
            short_abandoned += count.calls
    known_waits = sum(answered_waits.values())
    return QueueFigures(
        offered=sum(calls_by_outcome.values()),
        answered=calls_by_outcome.get("answered", 0),
        answered_in_time=answered_in_time,
        abandoned=calls_by_outcome.get("abandoned", 0),
        short_abandoned=short_abandoned,
        overflowed=calls_by_outcome.get("overflowed", 0),
        forwarded=calls_by_outcome.get("forwarded", 0),
        wait_average=round(sum(wait * calls for wait, calls in answered_waits.items()) / known_waits)
        if known_waits
        else None,
        wait_p90=_nearest_rank(answered_waits, 9, 10),
        wait_longest=longest,
        talk_duration=talk_duration,
    )


def _nearest_rank(calls_by_wait: dict[int, int], numerator: int, denominator: int) -> int | None:
    """Return the wait that this fraction of the calls does not exceed; None without calls."""
    waits, target = sorted(calls_by_wait), numerator * sum(calls_by_wait.values())
    ranks = accumulate(calls_by_wait[wait] for wait in waits)
    return next((wait for wait, rank in zip(waits, ranks, strict=True) if rank * denominator >= target), None)
