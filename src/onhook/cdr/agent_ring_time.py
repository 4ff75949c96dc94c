"""The meaning of `agent_ring_time`, which has two documented ones (yeastar-p-series.md 2.8), detected from calls. Pure.

Older texts: how long the telephone of the agent rang. Newer ones: how long the caller waited, from entering the queue
until an agent answered.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from onhook.cdr.record import Call, Record

RingTimeMeaning = Literal["ring", "wait"]

TOLERANCE_SECONDS = 1
"""Both times are rounded."""

CALLS_MIN = 3
"""Calls that agree, before a meaning counts as detected."""

CALLS_PER_EXCEPTION_MIN = 10
"""Calls that agree, for each that does not: a single one may be odd, such as one during which the clock was set."""


def detect_meaning(calls: Iterable[Call]) -> RingTimeMeaning | None:
    """Return the meaning that nearly all calls of one PBX show; None where too few show one, or many another."""
    meanings = Counter(meaning for call in calls if (meaning := _meaning_of_call(call)) is not None)
    if not meanings:
        return None
    ((meaning, count),) = meanings.most_common(1)
    exception_count = meanings.total() - count
    return meaning if count >= max(CALLS_MIN, CALLS_PER_EXCEPTION_MIN * exception_count) else None


def _meaning_of_call(call: Call) -> RingTimeMeaning | None:
    """Return the meaning that a call shows: one whose agent rang for another time than its caller waited."""
    for agent_leg in call.legs:
        if not agent_leg.agent_ring_time or agent_leg.answered_at is None or agent_leg.ring_duration is None:
            continue
        if agent_leg.agent_ring_time > agent_leg.ring_duration + TOLERANCE_SECONDS:
            return "wait"
        if _wait_seconds(call, agent_leg) > agent_leg.agent_ring_time + 2 * TOLERANCE_SECONDS:
            return "ring"
    return None


def _wait_seconds(call: Call, agent_leg: Record) -> int:
    """Return how long the caller had waited at the latest leg before the agent's: that of the queue."""
    earlier = [leg.started_at for leg in call.legs if leg.started_at < agent_leg.started_at]
    answered_at = agent_leg.answered_at
    return round((answered_at - max(earlier)).total_seconds()) if earlier and answered_at is not None else 0
