"""Rows of the web API: their members, and those that are left out. tests/pbx_api/test_cdr.py tests whole responses."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from onhook.cdr.number_plan import NumberPlan
from onhook.pbx.yeastar.display import DisplayFormat
from onhook.pbx.yeastar.rest import (
    CSV_COLUMNS,
    format_call_detail,
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
        ({"recording": "a.wav"}, {"record_file": "a.wav", "recording": "a.wav"}, []),
        ({"src_trunk_name": "T", "did_number": "5", "did_name": "Main"}, {"src_trunk": "T", "did_name": "Main"}, []),
        ({"did_number": "5"}, {"did_number": "5", "did": "5"}, []),
        ({"pin_code": "1234"}, {"pin_code": "1234", "dst_trunk": "", "call_note": None}, ["agent_ring_time"]),
        ({"extra": {"is_display": 1}}, {}, ["is_display", "extra"]),
    ],
)
def test_rest_row_leaves_out_members_without_value(
    changes: dict[str, Any], present: dict[str, Any], absent: list[str]
) -> None:
    """As observed from PBXs (yeastar-p-series.md 2.9); no value is invented, and no member has the event's name."""
    row = format_leg_row(record(**changes), DISPLAY)
    assert {name: row[name] for name in present} == present
    assert not [name for name in absent if name in row]


def test_rest_row_has_wall_clock_and_unix_time() -> None:
    row = format_leg_row(record(), DisplayFormat("MM/DD/YYYY", "12"))
    assert (row["time"], row["timestamp"]) == ("04/27/2026 07:04:36 PM", 1777287876)


def test_rest_row_id_is_stable_and_unique_per_leg() -> None:
    """The id is derived from the record id: twice eight hexadecimal digits; that of a recording is a number."""
    first_leg = record(call_id="1777287876.1")
    other_leg = record(call_id="1777287876.1", call_to="6400")
    assert row_id(first_leg) == format_leg_row(first_leg, DISPLAY)["new_id"]
    assert row_id(first_leg) != row_id(other_leg)
    assert format_recording_row(first_leg, DISPLAY)["id"] == int(first_leg.record_id[:13], 16)
    assert format_recording_row(first_leg, DISPLAY)["id"] != format_recording_row(other_leg, DISPLAY)["id"]
    assert row_id(first_leg).replace("-", "").lower() == first_leg.record_id[:16]


def test_rest_call_row_lists_queues_of_number_plan() -> None:
    assembled_call = call(record(call_id="1777287876.1", call_to=QUEUE), record(call_id="1777287876.1"))
    assert format_call_row(assembled_call, DISPLAY, NumberPlan())["queues"] == [
        {"number": "6400", "name": "Queue Team"}
    ]
    assert format_call_row(assembled_call, DISPLAY, NumberPlan(queue=("7000",)))["queues"] == []


def test_rest_call_row_without_durations_leaves_them_out() -> None:
    """Null is not zero."""
    row = format_call_row(call(record(call_duration=None, talk_duration=None)), DISPLAY, NumberPlan())
    assert not {"call_duration", "handling_duration"} & row.keys()


def test_rest_csv_row_has_values_of_leg_row() -> None:
    """A member that the row leaves out is an empty cell."""
    cells = dict(zip(CSV_COLUMNS, format_csv_row(record(), DISPLAY), strict=True))
    assert (cells["call_from"], cells["duration"], cells["src_trunk"]) == ("Alice<1001>", "20", "")


@pytest.mark.parametrize(("text", "minutes"), [("+08:00", 480), ("-03:30", -210), ("+00:00", 0), ("+05:45", 345)])
def test_rest_local_time_uses_offset_of_record(text: str, minutes: int) -> None:
    """The time zone of the machine has no effect."""
    leg = msgspec.structs.replace(record(), utc_offset=text)
    assert parse_utc_offset(text) == timedelta(minutes=minutes)
    assert local_time(leg) == leg.started_at.replace(tzinfo=None) + timedelta(minutes=minutes)


def test_rest_call_detail_lists_legs_in_order() -> None:
    """With the row of the call; a stage leaves out durations that are not known."""
    first = record(call_id="1777287876.1", call_to=QUEUE, call_duration=None, talk_duration=None)
    second = record(call_id="1777287876.1", time_start="2026-04-27 19:04:40")
    assembled_call = call(first, second)
    detail = format_call_detail(assembled_call, DISPLAY, NumberPlan())
    assert detail["basic"] == format_call_row(assembled_call, DISPLAY, NumberPlan())
    first_stage, second_stage = detail["timeline"]
    assert (first_stage["leg"], first_stage["call_to"], second_stage["leg"]) == (1, QUEUE, 2)
    assert not {"call_duration", "ring_duration", "talk_duration"} & first_stage.keys()
    durations = (second_stage["call_duration"], second_stage["ring_duration"], second_stage["talk_duration"])
    assert durations == (20, 6, 14)
