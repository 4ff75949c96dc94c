"""Records to notifications."""

from datetime import timedelta

import msgspec

from onhook.cdr.record_filter import RecordFilter
from onhook.delivery.payloads import calls_as_records, filter_records, make_notification_id, truncate_before
from onhook.delivery.record_reader import RecordBatch
from tests.factories import STARTED_AT, call, record

LATE = STARTED_AT + timedelta(minutes=1)


def test_filter_records_matches_all_filters() -> None:
    """That of the destination and that of a replay."""
    legs = [record(status="BUSY"), record(status="BUSY", call_to="Carol<1003>"), record()]
    assert filter_records(legs, [RecordFilter(status="BUSY"), RecordFilter(number="1003")]) == legs[1:2]


def test_truncate_before_leaves_out_recent_events() -> None:
    """And those behind them; the batch ends before."""
    old, young, older = record(seq=1), record(seq=3, received_at=LATE), record(seq=4)
    assert truncate_before(RecordBatch([old, young, older], 5, False), LATE) == RecordBatch([old], 2, True)
    quiet = RecordBatch([old], 5, False)
    assert truncate_before(quiet, LATE) is quiet


def test_calls_as_records_call_belongs_to_its_last_event() -> None:
    """Once, in the batch with that event; in a replay with the last one up to its end."""
    first = record(seq=4)
    second = record(STARTED_AT + timedelta(seconds=20), call_id=first.call_id, seq=6, call_to="Carol<1003>")
    two_leg_call = call(first, second)
    numbered = [leg.seq for leg in two_leg_call.legs]
    assert numbered == [4, 6]
    assert calls_as_records(RecordBatch([first], 5, True), [two_leg_call], [RecordFilter()], None) == []
    assert [
        calls_as_record.seq
        for calls_as_record in calls_as_records(RecordBatch([second], 6, True), [two_leg_call], [RecordFilter()], None)
    ] == [6]
    assert [
        calls_as_record.seq
        for calls_as_record in calls_as_records(RecordBatch([first], 5, True), [two_leg_call], [RecordFilter()], 5)
    ] == [4]
    assert calls_as_records(RecordBatch([second], 6, True), [two_leg_call], [RecordFilter(status="BUSY")], None) == []


def test_notification_id_differs_for_a_corrected_event() -> None:
    """The same event has the same id each time."""
    original = record(seq=4)
    assert make_notification_id(original) == make_notification_id(msgspec.structs.replace(original, talk_duration=1))
    assert make_notification_id(original) != make_notification_id(msgspec.structs.replace(original, seq=5))
