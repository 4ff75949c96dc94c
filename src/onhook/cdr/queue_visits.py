"""Visits of a call to queues and ring groups: how long the caller waited, how it ended, and which agents rang. Pure.

Invariants: a call visits a queue once, however often it returns there; each visit has one outcome; an answered visit
has one agent who answered. An agent's leg belongs to the last queue or ring group before it, if that still lasted when
it began.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, cast

import msgspec

from onhook.cdr.call_assembly import is_answered
from onhook.cdr.call_details import ABANDONED, VOICEMAIL, fold_word
from onhook.cdr.identity import extract_number
from onhook.cdr.number_plan import LegKind, NumberPlan
from onhook.cdr.record import Call, Record

GroupKind = Literal["queue", "ring_group"]

VisitOutcome = Literal["answered", "abandoned", "overflowed", "forwarded"]
"""`overflowed`: the PBX sent the caller on to another queue; `forwarded`: to something else, such as a mailbox;
`abandoned`: the call ended there without an answer.
"""

GROUP_KINDS: frozenset[LegKind] = frozenset({"queue", "ring_group"})
AGENT_KINDS: frozenset[LegKind] = frozenset({"extension", "external"})

_RANG_STATUSES = frozenset({fold_word("NO ANSWER"), ABANDONED})
"""Statuses of a leg whose telephone rang without an answer; a busy one did not ring."""

_ROUNDING = timedelta(seconds=1)
"""Starts and durations are each rounded to a second."""


class QueueVisit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A visit of a call to a queue or ring group. `wait_duration` begins with the queue's own leg and ends with the
    answer, else with the leg; None is unknown. `talk_duration` is that of the agent who answered first, 0 without one.
    """

    sn: str
    call_id: str
    call_started_at: datetime
    queue: str
    kind: GroupKind
    outcome: VisitOutcome
    wait_duration: int | None
    talk_duration: int | None


class AgentRing(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A ring of an agent's telephone in a visit that the agent answered first, or that was not answered there.
    `is_outside` where the agent was reached by a trunk.
    """

    sn: str
    call_id: str
    call_started_at: datetime
    queue: str
    kind: GroupKind
    agent: str
    is_outside: bool
    is_answered: bool
    started_at: datetime
    ended_at: datetime | None
    talk_duration: int | None


class CallVisits(msgspec.Struct, frozen=True):
    """The visits of a call in the order of their beginnings, and the rings of agents in them."""

    visits: tuple[QueueVisit, ...] = ()
    rings: tuple[AgentRing, ...] = ()


class _Stage(msgspec.Struct, frozen=True):
    """A leg to a queue or ring group, its place among the legs, and the legs of its agents."""

    index: int
    leg: Record
    kind: GroupKind
    members: list[Record]

    @property
    def answering_leg(self) -> Record | None:
        """Return the leg of the agent who answered first."""
        answered_legs = [leg for leg in self.members if is_answered(leg)]
        return min(answered_legs, key=lambda leg: _answer_time(leg) or leg.started_at, default=None)


def find_visits(call: Call, plan: NumberPlan) -> CallVisits:
    """Return the visits of a call by the number plan of its PBX."""
    kinds = [plan.kind_of_leg(leg) for leg in call.legs]
    if GROUP_KINDS.isdisjoint(kinds):
        return CallVisits()
    stages = _find_stages(call.legs, kinds)
    stages_by_queue: dict[tuple[GroupKind, str], list[_Stage]] = {}
    for stage in stages:
        stages_by_queue.setdefault((stage.kind, extract_number(stage.leg.call_to)), []).append(stage)
    visits, rings = [], []
    for (_kind, queue), visit_stages in stages_by_queue.items():
        visits.append(_build_visit(call, kinds, queue, visit_stages))
        rings += _build_rings(call, queue, visit_stages)
    return CallVisits(tuple(visits), tuple(rings))


def _find_stages(legs: Sequence[Record], kinds: Sequence[LegKind]) -> list[_Stage]:
    stages: list[_Stage] = []
    for index, (leg, kind) in enumerate(zip(legs, kinds, strict=True)):
        if kind in GROUP_KINDS:
            stages.append(_Stage(index, leg, cast(GroupKind, kind), []))
        elif stages and kind in AGENT_KINDS and _is_member(stages[-1].leg, leg):
            stages[-1].members.append(leg)
    return stages


def _is_member(group: Record, leg: Record) -> bool:
    """Return whether a person's leg is one of an agent of a queue, and not where the queue sent the caller."""
    if group.ended_at is not None and leg.started_at >= group.ended_at:
        return False
    return is_answered(group) if is_answered(leg) else fold_word(leg.status) != VOICEMAIL


def _build_visit(call: Call, kinds: Sequence[LegKind], queue: str, stages: Sequence[_Stage]) -> QueueVisit:
    answered_stages = [stage for stage in stages if stage.answering_leg is not None]
    answering_leg = answered_stages[0].answering_leg if answered_stages else None
    waited_stages = stages[: stages.index(answered_stages[0]) + 1] if answered_stages else stages
    return QueueVisit(
        sn=call.sn,
        call_id=call.call_id,
        call_started_at=call.started_at,
        queue=queue,
        kind=stages[0].kind,
        outcome=_outcome_without_answer(call.legs, kinds, stages[-1]) if answering_leg is None else "answered",
        wait_duration=_wait_duration(waited_stages),
        talk_duration=0 if answering_leg is None else answering_leg.talk_duration,
    )


def _outcome_without_answer(legs: Sequence[Record], kinds: Sequence[LegKind], stage: _Stage) -> VisitOutcome:
    """Return the outcome by the legs after the last one to the queue."""
    later_legs = list(zip(legs, kinds, strict=True))[stage.index + 1 :]
    if any(kind == "queue" for _leg, kind in later_legs):
        return "overflowed"
    is_message = fold_word(stage.leg.status) == VOICEMAIL
    return "forwarded" if is_message or any(_is_onward(stage, leg, kind) for leg, kind in later_legs) else "abandoned"


def _is_onward(stage: _Stage, leg: Record, kind: LegKind) -> bool:
    """Return whether the caller came to this later leg from the queue: an announcement in between is no way out."""
    if any(member is leg for member in stage.members):
        return False
    return kind in AGENT_KINDS or stage.leg.ended_at is None or leg.started_at >= stage.leg.ended_at - _ROUNDING


def _wait_duration(stages: Sequence[_Stage]) -> int | None:
    """Return the seconds in the queue: until the answer in the last of these legs, whole before."""
    total = timedelta()
    for stage in stages:
        answering_leg = stage.answering_leg
        end = stage.leg.ended_at if answering_leg is None else _answer_time(answering_leg)
        if end is None:
            return None
        total += max(timedelta(), end - stage.leg.started_at)
    return round(total.total_seconds())


def _answer_time(leg: Record) -> datetime | None:
    if leg.ended_at is None or leg.talk_duration is None:
        return None
    return leg.ended_at - timedelta(seconds=leg.talk_duration)


def _build_rings(call: Call, queue: str, stages: Sequence[_Stage]) -> list[AgentRing]:
    """Return the rings without an answer, and the one that was answered first."""
    answering_leg = next((stage.answering_leg for stage in stages if stage.answering_leg is not None), None)
    return [
        AgentRing(
            sn=call.sn,
            call_id=call.call_id,
            call_started_at=call.started_at,
            queue=queue,
            kind=stages[0].kind,
            agent=extract_number(leg.call_to),
            is_outside=leg.dst_trunk_name != "",
            is_answered=leg is answering_leg,
            started_at=leg.started_at,
            ended_at=leg.ended_at,
            talk_duration=leg.talk_duration if leg is answering_leg else 0,
        )
        for stage in stages
        for leg in stage.members
        if leg is answering_leg or fold_word(leg.status) in _RANG_STATUSES
    ]
