"""Visits to queues, by example and against plain loops over random calls."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings

from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.queue_visits import CallVisits, QueueVisit, find_visits
from onhook.cdr.record import Call, Record
from tests.cdr import plain_queues
from tests.cdr.queue_calls import queue_calls
from tests.counts import examples
from tests.factories import BOB, IVR, QUEUE, STARTED_AT, call, record

PLAN = NumberPlan()
OTHER_QUEUE = "Overflow<6401>"
CALL_ID = f"{int(STARTED_AT.timestamp())}.1"


def leg(seconds: int, call_to: str, duration: int, talk: int = 0, status: str = "NO ANSWER", **changes: Any) -> Record:
    started_at = STARTED_AT + timedelta(seconds=seconds)
    return record(
        started_at,
        **{
            "call_id": CALL_ID,
            "call_to": call_to,
            "call_duration": duration,
            "talk_duration": talk,
            "status": status,
            **changes,
        },
    )


def only_visit(*legs: Record) -> QueueVisit:
    (visit,) = find_visits(call(*legs), PLAN).visits
    return visit


def test_visit_wait_begins_at_the_leg_of_the_queue() -> None:
    """The six legs of a real call: three menus, the queue, its agent, a survey."""
    visit = only_visit(
        leg(0, IVR, 13, 13, "ANSWERED"),
        leg(52, QUEUE, 85, 74, "ANSWERED"),
        leg(52, BOB, 85, 74, "ANSWERED"),
        leg(137, "Satisfaction Survey", 4, 4, "ANSWERED"),
    )
    assert (visit.queue, visit.kind, visit.outcome, visit.wait_duration, visit.talk_duration) == (
        *("6400", "queue", "answered", 11, 74),
    )


@pytest.mark.parametrize(
    ("legs", "outcome"),
    [
        ([leg(0, QUEUE, 30)], "abandoned"),
        ([leg(0, QUEUE, 30, 30, "ANSWERED")], "abandoned"),
        ([leg(0, QUEUE, 30), leg(0, BOB, 30)], "abandoned"),
        ([leg(0, QUEUE, 30), leg(5, "Play Prompt", 4, 4, "ANSWERED")], "abandoned"),
        ([leg(0, QUEUE, 30, status="VOICEMAIL")], "forwarded"),
        ([leg(0, QUEUE, 30), leg(30, BOB, 9, 9, "VOICEMAIL")], "forwarded"),
        ([leg(0, QUEUE, 30), leg(30, BOB, 60, 50, "ANSWERED")], "forwarded"),
        ([leg(0, QUEUE, 31), leg(30, BOB, 60, 50, "ANSWERED")], "forwarded"),
        ([leg(0, QUEUE, 31), leg(30, IVR, 6, 6, "ANSWERED")], "forwarded"),
        ([leg(0, QUEUE, 30), leg(30, "6300", 60)], "forwarded"),
    ],
)
def test_visit_without_answer_outcome_is_where_the_caller_went(legs: list[Record], outcome: str) -> None:
    assert find_visits(call(*legs), PLAN).visits[0].outcome == outcome
    assert find_visits(call(*legs), PLAN).visits[0].wait_duration == legs[0].call_duration


def test_visit_overflow_to_another_queue_is_not_abandoned() -> None:
    call_visits = find_visits(
        call(
            leg(0, QUEUE, 30),
            leg(0, BOB, 15),
            leg(30, OTHER_QUEUE, 50, 40, "ANSWERED"),
            leg(32, "1003", 48, 40, "ANSWERED"),
        ),
        PLAN,
    )
    assert [(visit.queue, visit.outcome, visit.wait_duration) for visit in call_visits.visits] == [
        ("6400", "overflowed", 30),
        ("6401", "answered", 10),
    ]
    assert [(ring.queue, ring.agent, ring.is_answered, ring.talk_duration) for ring in call_visits.rings] == [
        ("6400", "1002", False, 0),
        ("6401", "1003", True, 40),
    ]


def test_visit_that_returns_to_its_queue_is_one_with_both_waits() -> None:
    visits = find_visits(
        call(
            leg(0, QUEUE, 30),
            leg(30, OTHER_QUEUE, 20),
            leg(50, QUEUE, 45, 40, "ANSWERED"),
            leg(50, BOB, 45, 40, "ANSWERED"),
        ),
        PLAN,
    ).visits
    assert [(visit.queue, visit.outcome, visit.wait_duration) for visit in visits] == [
        ("6400", "answered", 35),
        ("6401", "overflowed", 20),
    ]


def test_visit_colleague_after_the_agent_is_no_agent_of_the_queue() -> None:
    call_visits = find_visits(
        call(
            leg(0, QUEUE, 50, 40, "ANSWERED"),
            leg(2, "1003", 6),
            leg(3, "1004", 0, status="BUSY"),
            leg(8, BOB, 42, 40, "ANSWERED"),
            leg(20, "1005", 30, 25, "ANSWERED"),
            leg(50, "1006", 30, 25, "ANSWERED"),
        ),
        PLAN,
    )
    assert [(ring.agent, ring.is_answered) for ring in call_visits.rings] == [("1003", False), ("1002", True)]


def test_visit_ring_group_has_a_kind_of_its_own() -> None:
    visit = only_visit(leg(0, "6300", 20, 14, "ANSWERED"), leg(0, BOB, 20, 14, "ANSWERED"))
    assert (visit.kind, visit.wait_duration) == ("ring_group", 6)


def test_visit_with_an_unknown_duration_has_an_unknown_wait() -> None:
    assert only_visit(leg(0, QUEUE, 30, call_duration=None)).wait_duration is None
    visit = only_visit(leg(0, QUEUE, 30, 14, "ANSWERED"), leg(0, BOB, 30, status="ANSWERED", talk_duration=None))
    assert (visit.outcome, visit.wait_duration, visit.talk_duration) == ("answered", None, None)


def test_call_without_a_queue_has_no_visit() -> None:
    assert find_visits(call(), PLAN) == CallVisits()


@settings(max_examples=examples(1000))
@given(random_call=queue_calls())
def test_visits_equal_plain_loop(random_call: Call) -> None:
    call_visits = find_visits(random_call, PLAN)
    rows = []
    for visit in call_visits.visits:
        rings = [ring for ring in call_visits.rings if (ring.kind, ring.queue) == (visit.kind, visit.queue)]
        rows.append(
            {
                "queue": visit.queue,
                "kind": visit.kind,
                "outcome": visit.outcome,
                "wait": visit.wait_duration,
                "talk": visit.talk_duration,
                "agent": next((ring.agent for ring in rings if ring.is_answered), None),
                "missed": sorted(ring.agent for ring in rings if not ring.is_answered),
            }
        )
    assert rows == plain_queues.visits(random_call, PLAN)
