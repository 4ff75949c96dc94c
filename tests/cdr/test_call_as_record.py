"""Conversion of a whole call to one record."""

from datetime import timedelta

import msgspec
import pytest

from onhook.cdr.call_as_record import call_as_record
from onhook.cdr.identity import record_id, record_key
from tests.factories import BOB, IVR, QUEUE, STARTED_AT, call, record


def test_call_as_record_ivr_and_queue_uses_answering_leg() -> None:
    menu = record(call_to=IVR, seq=1, call_duration=9, talk_duration=9)
    queue = record(STARTED_AT + timedelta(seconds=9), call_id=menu.call_id, call_to=QUEUE, seq=2, call_duration=40)
    agent = record(STARTED_AT + timedelta(seconds=15), call_id=menu.call_id, seq=3, call_duration=30, talk_duration=25)
    whole_call = call(menu, queue, agent)
    whole = call_as_record(whole_call)
    assert (whole.call_id, whole.call_from, whole.call_to, whole.seq) == (menu.call_id, menu.call_from, BOB, 3)
    assert (whole.talk_duration, whole.status) == (25, whole_call.status)
    assert (whole.started_at, whole.ended_at) == (whole_call.started_at, whole_call.ended_at)
    assert whole.record_id == record_id(record_key(whole.sn, whole))


def test_call_as_record_unanswered_uses_dialled_number() -> None:
    whole = call_as_record(call(record(call_to=QUEUE, status="NO ANSWER", talk_duration=0)))
    assert (whole.call_to, whole.answered_at, whole.talk_duration) == (QUEUE, None, 0)


def test_call_as_record_each_field_is_that_of_the_call() -> None:
    """The first leg, that of the menu, has another value in each of these fields."""
    menu = record(call_to=IVR, seq=1, call_duration=9, talk_duration=9, type="", agent_ring_time=4)
    agent = record(
        STARTED_AT + timedelta(seconds=9),
        call_id=menu.call_id,
        seq=2,
        received_at=STARTED_AT + timedelta(minutes=1),
        call_duration=30,
        talk_duration=25,
        type="Inbound",
        recording="agent.wav",
        did_number="5550000",
        src_trunk_name="trunk-in",
        dst_trunk_name="trunk-out",
        agent_ring_time=7,
    )
    survey = record(
        STARTED_AT + timedelta(seconds=39),
        call_id=menu.call_id,
        call_to="Play Prompt",
        seq=3,
        received_at=STARTED_AT + timedelta(minutes=2),
        call_duration=12,
        talk_duration=12,
        recording="survey.wav",
        agent_ring_time=None,
    )
    whole = call_as_record(call(menu, agent, survey))
    assert whole == msgspec.structs.replace(
        menu,
        record_id=record_id((menu.sn, menu.call_id, menu.time_start, "1002")),
        call_to=BOB,
        call_duration=51,
        talk_duration=25,
        ring_duration=5,
        type="Inbound",
        recording="agent.wav",
        did_number="5550000",
        src_trunk_name="trunk-in",
        dst_trunk_name="trunk-out",
        agent_ring_time=7,
        answered_at=STARTED_AT + timedelta(seconds=14),
        ended_at=STARTED_AT + timedelta(seconds=51),
        received_at=STARTED_AT + timedelta(minutes=2),
        seq=3,
    )


def test_call_as_record_status_is_that_of_the_call() -> None:
    """The menu answered; the caller hung up in the queue."""
    menu = record(call_to=IVR, seq=1, call_duration=9, talk_duration=9)
    queue = record(
        STARTED_AT + timedelta(seconds=9),
        call_id=menu.call_id,
        call_to=QUEUE,
        seq=2,
        status="NO ANSWER",
        talk_duration=0,
    )
    whole = call_as_record(call(menu, queue))
    assert (whole.status, whole.call_to, whole.answered_at) == ("NO ANSWER", IVR, None)


@pytest.mark.parametrize(("agent_ring_times", "expected"), [((7, 4), 7), ((4, 7), 7), ((None, 7), 7), ((0, None), 0)])
def test_call_as_record_agent_ring_time_is_the_longest_known(
    agent_ring_times: tuple[int | None, int | None], expected: int
) -> None:
    queue_time, agent_time = agent_ring_times
    queue = record(call_to=QUEUE, agent_ring_time=queue_time)
    agent = record(call_id=queue.call_id, agent_ring_time=agent_time)
    assert call_as_record(call(queue, agent)).agent_ring_time == expected


def test_call_as_record_without_recording_has_empty_text() -> None:
    assert call_as_record(call()).recording == ""


def test_call_as_record_unknown_agent_ring_time_stays_none() -> None:
    """A missing number is None, never zero (cdr/call_details.py)."""
    assert call_as_record(call(record(agent_ring_time=None))).agent_ring_time is None
