"""Oracle of queues: plain loops over the legs of calls, by the definitions of the trade, independent of the
implementation.
"""

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from onhook.cdr.call_details import fold_word
from onhook.cdr.identity import extract_number
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.record import Call, Record


def visits(call: Call, plan: NumberPlan) -> list[dict[str, Any]]:
    """Return for each queue and ring group that a call entered how it ended there, the wait, the talk, and the agents
    who rang.
    """
    result: list[dict[str, Any]] = []
    kinds = [plan.kind_of_leg(leg) for leg in call.legs]
    for position, leg in enumerate(call.legs):
        kind, queue = kinds[position], extract_number(leg.call_to)
        is_first = all((kinds[i], extract_number(call.legs[i].call_to)) != (kind, queue) for i in range(position))
        if kind in ("queue", "ring_group") and is_first:
            result.append(_visit(call, kinds, kind, queue))
    return result


def _visit(call: Call, kinds: Sequence[str], kind: str, queue: str) -> dict[str, Any]:
    seconds: float | None = 0.0
    answer: Record | None = None
    missed: list[str] = []
    last = -1
    for position, leg in enumerate(call.legs):
        if kinds[position] != kind or extract_number(leg.call_to) != queue:
            continue
        last = position
        agents = _agents(call, kinds, position)
        missed += [_number(agent) for agent in agents if fold_word(agent.status) in ("NOANSWER", "ABANDONED")]
        if answer is not None:
            continue
        for agent in agents:
            is_earlier = answer is None or _answered_at(agent) < _answered_at(answer)
            if fold_word(agent.status) == "ANSWERED" and is_earlier:
                answer = agent
        if answer is None:
            until = leg.ended_at
        else:
            has_times = answer.ended_at is not None and answer.talk_duration is not None
            until = _answered_at(answer) if has_times else None
        if seconds is not None:
            seconds = None if until is None else seconds + max(0.0, (until - leg.started_at).total_seconds())
    outcome = "answered" if answer is not None else _without_answer(call, kinds, last)
    return {
        "queue": queue,
        "kind": kind,
        "outcome": outcome,
        "wait": None if seconds is None else int(seconds),
        "talk": 0 if answer is None else answer.talk_duration,
        "agent": None if answer is None else _number(answer),
        "missed": sorted(missed),
    }


def _number(leg: Record) -> str:
    return extract_number(leg.call_to)


def _agent(leg: Record) -> tuple[str, bool]:
    """Return the number of an agent, and whether it was reached by a trunk."""
    return _number(leg), leg.dst_trunk_name != ""


def _answered_at(leg: Record) -> Any:
    if leg.ended_at is None or leg.talk_duration is None:
        return leg.started_at
    return leg.ended_at - timedelta(seconds=leg.talk_duration)


def _agents(call: Call, kinds: Sequence[str], position: int) -> list[Record]:
    """Return the legs of persons until the next queue or group: those that began while this one lasted."""
    queue_leg = call.legs[position]
    agents = []
    for leg, kind in zip(call.legs[position + 1 :], kinds[position + 1 :], strict=True):
        if kind in ("queue", "ring_group"):
            break
        is_over = queue_leg.ended_at is not None and queue_leg.ended_at <= leg.started_at
        if kind not in ("extension", "external") or is_over or fold_word(leg.status) == "VOICEMAIL":
            continue
        if fold_word(leg.status) == "ANSWERED" and fold_word(queue_leg.status) != "ANSWERED":
            continue  # the queue had no answer: the caller was sent there
        agents.append(leg)
    return agents


def _without_answer(call: Call, kinds: Sequence[str], last: int) -> str:
    queue_leg, agents = call.legs[last], _agents(call, kinds, last)
    if "queue" in kinds[last + 1 :]:
        return "overflowed"
    if fold_word(queue_leg.status) == "VOICEMAIL":
        return "forwarded"
    for leg, kind in zip(call.legs[last + 1 :], kinds[last + 1 :], strict=True):
        if leg in agents:
            continue
        is_late = queue_leg.ended_at is None or (leg.started_at - queue_leg.ended_at).total_seconds() >= -1
        if kind in ("extension", "external") or is_late:
            return "forwarded"
    return "abandoned"


def figures(rows: Sequence[dict[str, Any]], in_time: int, short: int) -> dict[str, Any]:
    """Return the figures of visits by the formulas of the trade."""
    offered = len(rows)
    answered = [row for row in rows if row["outcome"] == "answered"]
    abandoned = [row for row in rows if row["outcome"] == "abandoned"]
    short_abandons = [row for row in abandoned if row["wait"] is not None and row["wait"] < short]
    rated = offered - len(short_abandons)
    waits = sorted(row["wait"] for row in answered if row["wait"] is not None)
    return {
        "offered": offered,
        "answered": len(answered),
        "abandoned": len(abandoned),
        "short_abandoned": len(short_abandons),
        "overflowed": sum(row["outcome"] == "overflowed" for row in rows),
        "forwarded": sum(row["outcome"] == "forwarded" for row in rows),
        "service_level": sum(wait <= in_time for wait in waits) / rated if rated else None,
        "answer_rate": len(answered) / rated if rated else None,
        "abandon_rate": (len(abandoned) - len(short_abandons)) / rated if rated else None,
        "wait_average": round(sum(waits) / len(waits)) if waits else None,
        "wait_p90": waits[math.ceil(9 * len(waits) / 10) - 1] if waits else None,
        "wait_longest": max((row["wait"] for row in rows if row["wait"] is not None), default=None),
        "talk_duration": sum(row["talk"] or 0 for row in rows),
    }


def agents(
    calls: Sequence[Call], plan: NumberPlan, zone: ZoneInfo
) -> dict[tuple[str, str, tuple[str, bool]], tuple[int, ...]]:
    """Return for each PBX, queue or group, and agent: answered, missed rings, talk, and seconds worked, which are from
    the first to the last answered call of each day on which the agent answered here.
    """
    ringing = _rings(calls, plan)

    def day(call: Call) -> Any:
        return call.started_at.astimezone(zone).date()

    result: dict[tuple[str, str, tuple[str, bool]], tuple[int, ...]] = {}
    for (pbx, queue, agent), rings in ringing.items():
        answered = [(call, leg) for call, leg, is_answered in rings if is_answered]
        seconds = 0.0
        for worked_day in {day(call) for call, _leg in answered}:
            spans = [
                (leg.started_at, leg.ended_at or leg.started_at)
                for (other_pbx, _queue, other_agent), other_rings in ringing.items()
                for call, leg, is_answered in other_rings
                if (other_pbx, other_agent) == (pbx, agent) and is_answered and day(call) == worked_day
            ]
            seconds += (max(end for _start, end in spans) - min(start for start, _end in spans)).total_seconds()
        talk = sum(leg.talk_duration or 0 for _call, leg in answered)
        result[pbx, queue, agent] = (len(answered), len(rings) - len(answered), talk, int(seconds))
    return result


def worked_seconds(calls: Sequence[Call], plan: NumberPlan, zone: ZoneInfo) -> dict[tuple[str, tuple[str, bool]], int]:
    """Return for each PBX and agent the seconds from the first to the last answered call of each day, whatever the
    queue.
    """
    days: dict[tuple[str, tuple[str, bool]], dict[Any, list[Record]]] = {}
    for (pbx, _queue, agent), rings in _rings(calls, plan).items():
        by_day = days.setdefault((pbx, agent), {})
        for call, leg, is_answered in rings:
            if is_answered:
                by_day.setdefault(call.started_at.astimezone(zone).date(), []).append(leg)
    return {
        key: int(
            sum(
                (
                    max(leg.ended_at or leg.started_at for leg in legs) - min(leg.started_at for leg in legs)
                ).total_seconds()
                for legs in by_day.values()
            )
        )
        for key, by_day in days.items()
    }


def _rings(
    calls: Sequence[Call], plan: NumberPlan
) -> dict[tuple[str, str, tuple[str, bool]], list[tuple[Call, Record, bool]]]:
    """Return the legs on which each agent rang for each queue or group, and whether the leg answered the visit."""
    ringing: dict[tuple[str, str, tuple[str, bool]], list[tuple[Call, Record, bool]]] = {}
    for call in calls:
        kinds = [plan.kind_of_leg(leg) for leg in call.legs]
        for visit in visits(call, plan):
            is_answered = False
            for position, leg in enumerate(call.legs):
                if (kinds[position], extract_number(leg.call_to)) != (visit["kind"], visit["queue"]):
                    continue
                members = _agents(call, kinds, position)
                answers = [member for member in members if fold_word(member.status) == "ANSWERED"]
                if answers and not is_answered:
                    is_answered = True
                    answer = min(answers, key=_answered_at)
                    ringing.setdefault((call.pbx, visit["queue"], _agent(answer)), []).append((call, answer, True))
                for member in members:
                    if fold_word(member.status) in ("NOANSWER", "ABANDONED"):
                        ringing.setdefault((call.pbx, visit["queue"], _agent(member)), []).append((call, member, False))
    return ringing
