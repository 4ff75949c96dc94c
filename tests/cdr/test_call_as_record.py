"""A whole call as one record."""

from datetime import timedelta

from onhook.cdr.call_as_record import call_as_record
from onhook.cdr.identity import record_id, record_key
from tests.factories import BOB, IVR, QUEUE, STARTED_AT, call, record


def test_a_call_through_ivr_and_queue_is_told_once() -> None:
    """To the person who answered, with the talk of that person, under the number of its last report."""
    menu = record(call_to=IVR, seq=1, call_duration=9, talk_duration=9)
    queue = record(STARTED_AT + timedelta(seconds=9), call_id=menu.call_id, call_to=QUEUE, seq=2, call_duration=40)
    agent = record(STARTED_AT + timedelta(seconds=15), call_id=menu.call_id, seq=3, call_duration=30, talk_duration=25)
    journey = call(menu, queue, agent)
    whole = call_as_record(journey)
    assert (whole.call_id, whole.call_from, whole.call_to, whole.seq) == (menu.call_id, menu.call_from, BOB, 3)
    assert (whole.talk_duration, whole.status) == (25, journey.status)
    assert (whole.started_at, whole.ended_at) == (journey.started_at, journey.ended_at)
    assert whole.record_id == record_id(record_key(whole.sn, whole))


def test_a_call_that_nobody_answered_is_to_what_was_dialled() -> None:
    """Nobody is made up."""
    whole = call_as_record(call(record(call_to=QUEUE, status="NO ANSWER", talk_duration=0)))
    assert (whole.call_to, whole.answered_at, whole.talk_duration) == (QUEUE, None, 0)
