"""Conversion of a whole call to one record."""

from datetime import timedelta

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
