"""Rows of the web API: what stands in them, and what is left out. Whole answers are in tests/exchange/test_cdr.py."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from onhook.cdr.number_plan import NumberPlan
from onhook.pbx.yeastar.display import DisplayFormat
from onhook.pbx.yeastar.rest import (
    CSV_COLUMNS,
    format_call_row,
    format_csv_row,
    format_leg_row,
    format_recording_row,
    local_time,
    parse_utc_offset,
    row_id,
)
from tests.factories import QUEUE, call, record

DISPLAY = DisplayFormat()


@pytest.mark.parametrize(
    ("changes", "present", "absent"),
    [
        ({}, {"call_to_number": "1002", "call_to_name": "Bob", "call_from_name": "Alice"}, ["src_trunk", "did_number"]),
        ({"call_to": "Satisfaction Survey"}, {"call_to": "Satisfaction Survey"}, ["call_to_number", "call_to_name"]),
        ({"call_to": "1002"}, {"call_to_number": "1002", "call_to_name": ""}, []),
        ({"call_duration": 0, "talk_duration": 0}, {}, ["duration", "talk_duration", "ring_duration"]),
        ({"talk_duration": 0}, {"duration": 20, "ring_duration": 20}, ["talk_duration"]),
        ({"call_duration": None, "talk_duration": None}, {}, ["duration", "talk_duration", "ring_duration"]),
        ({"recording": "a.wav"}, {"record_file": "a.wav"}, ["recording"]),
        ({"src_trunk_name": "T", "did_number": "5", "did_name": "Main"}, {"src_trunk": "T", "did_name": "Main"}, []),
        ({"pin_code": "1234"}, {"pin_code": "1234", "dst_trunk": "", "call_note": None}, ["agent_ring_time"]),
        ({"extra": {"is_display": 1}}, {}, ["is_display", "extra"]),
    ],
)
def test_members_with_nothing_to_say_are_left_out(
    changes: dict[str, Any], present: dict[str, Any], absent: list[str]
) -> None:
    """As PBXs were seen to do (yeastar-p-series.md 2.9); nothing is made up, and none has the event's name."""
    row = format_leg_row(record(**changes), DISPLAY)
    assert {name: row[name] for name in present} == present
    assert not [name for name in absent if name in row]


def test_a_moment_is_told_twice() -> None:
    """By the PBX's own wall clock, and in Unix seconds."""
    row = format_leg_row(record(), DisplayFormat("MM/DD/YYYY", "12"))
    assert (row["time"], row["timestamp"]) == ("04/27/2026 07:04:36 PM", 1777287876)


def test_each_leg_has_an_id_of_its_own_that_stays() -> None:
    """Eight and eight hexadecimal digits, the same in every list; it follows from the record's id."""
    one = record(call_id="1777287876.1")
    other = record(call_id="1777287876.1", call_to="6400")
    assert row_id(one) == format_leg_row(one, DISPLAY)["new_id"] == format_recording_row(one, DISPLAY)["id"]
    assert row_id(one) != row_id(other)
    assert row_id(one).replace("-", "").lower() == one.record_id[:16]


def test_queues_are_told_by_the_plan() -> None:
    """Each once, whatever numbers queues have there."""
    whole = call(record(call_id="1777287876.1", call_to=QUEUE), record(call_id="1777287876.1"))
    assert format_call_row(whole, DISPLAY, NumberPlan())["queues"] == [{"number": "6400", "name": "Queue Team"}]
    assert format_call_row(whole, DISPLAY, NumberPlan(queue=("7000",)))["queues"] == []


def test_a_call_that_nobody_timed_leaves_its_durations_out() -> None:
    """Null is not zero."""
    row = format_call_row(call(record(call_duration=None, talk_duration=None)), DISPLAY, NumberPlan())
    assert not {"call_duration", "handling_duration"} & row.keys()


def test_a_line_of_csv_has_the_rows_words() -> None:
    """Each under its name; what is left out of a row is an empty cell."""
    cells = dict(zip(CSV_COLUMNS, format_csv_row(record(), DISPLAY), strict=True))
    assert (cells["call_from"], cells["duration"], cells["src_trunk"]) == ("Alice<1001>", "20", "")


@pytest.mark.parametrize(("text", "minutes"), [("+08:00", 480), ("-03:30", -210), ("+00:00", 0), ("+05:45", 345)])
def test_the_wall_clock_of_a_record_is_its_own(text: str, minutes: int) -> None:
    """Whatever the machine's."""
    one = msgspec.structs.replace(record(), utc_offset=text)
    assert parse_utc_offset(text) == timedelta(minutes=minutes)
    assert local_time(one) == one.started_at.replace(tzinfo=None) + timedelta(minutes=minutes)
