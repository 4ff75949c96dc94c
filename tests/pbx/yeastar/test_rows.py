"""Rows of the PBX's call list give the same call details as the event."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call
from onhook.cdr.identity import record_key
from onhook.lib.errors import ParseError
from onhook.pbx.client import SystemFacts
from onhook.pbx.yeastar.payload import Yeastar
from onhook.pbx.yeastar.rows import ROW_LABEL, RowContext, parse_date_order, parse_start_seconds, wrap_row
from tests.factories import STARTED_AT

SN = "3651XXXXXXXX"
YEASTAR = Yeastar()
SIX_LEGS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "payloads" / "rest_six_legs.json").read_text()
)["data"]
IVR = SIX_LEGS[0]


def build_body(row: dict[str, Any], *, date_format: str = "", call_id: str = "", detail: Any = None) -> bytes:
    context = RowContext(sn=SN, date_format=date_format, call_id=call_id)
    return wrap_row(msgspec.json.encode(row), context, b"" if detail is None else msgspec.json.encode(detail))


def remove_members(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def test_row_each_leg_of_call_is_parsed_to_its_record() -> None:
    """The record keys equal those of the events, and the legs are assembled in order."""
    parsed_legs = [YEASTAR.parse(build_body(row))[0] for row in SIX_LEGS]
    assert len({record_key(SN, details) for details in parsed_legs}) == 6
    assert record_key(SN, parsed_legs[0]) == (SN, "1782844637.854", "2026-06-30 21:37:17", "6200")
    assert parsed_legs[5].call_to == "Satisfaction Survey"
    reported_legs = [
        ReportedLeg(details=details, seq=seq, via="backfill", received_at=STARTED_AT)
        for seq, details in enumerate(parsed_legs, 1)
    ]
    call = assemble_call(SN, reported_legs, PbxFacts())
    assert [leg.call_to for leg in call.legs] == [row["call_to"] for row in SIX_LEGS]
    assert (call.answered_by, call.talk_duration, call.legs[0].utc_offset) == ("4005", 74, "+03:00")


def test_row_renamed_members_are_mapped_to_event_names() -> None:
    """yeastar-p-series.md 7.4: for example `duration` in the list is `call_duration` in the event."""
    (leg,) = YEASTAR.parse(build_body(SIX_LEGS[4]))
    assert (leg.call_duration, leg.talk_duration, leg.status, leg.type) == (85, 74, "ANSWERED", "Inbound")
    assert (leg.src_trunk_name, leg.did_number, leg.uid) == ("Trunk-A", "5550000", "20260630213717AB3D1")
    assert leg.recording.startswith("20260630213820-")
    assert (leg.call_from, leg.call_to) == ("5550199", "Agent Name<4005>")
    assert leg.agent_ring_time is None, "the list has no ring time of the agent"
    assert leg.extra["new_id"] == SIX_LEGS[4]["new_id"]
    (other,) = YEASTAR.parse(build_body(remove_members(IVR, "record_file") | {"recording": "a.wav"}))
    assert other.recording == "a.wav"


def test_row_missing_durations_are_none() -> None:
    """Not zero: 14.5 % of rows have no `talk_duration` (yeastar-p-series.md 2.9)."""
    (leg,) = YEASTAR.parse(build_body(remove_members(IVR, "duration", "talk_duration")))
    assert (leg.call_duration, leg.talk_duration) == (None, None)


@pytest.mark.parametrize(
    ("displayed", "date_format"),
    [
        ("05/04/2026 09:37:17 PM", "DD/MM/YYYY"),
        ("04/05/2026 21:37:17", "MM/DD/YYYY"),
        ("2026/04/05 09:37:17 PM", ""),
        ("2026-04-05 21:37:17", "DD/MM/YYYY"),
        ("5/4/2026 9:37:17 PM", "DD/MM/YYYY"),
    ],
)
def test_row_time_is_parsed_in_every_display_format(displayed: str, date_format: str) -> None:
    """By the date format of the PBX; a date with the year first is unambiguous."""
    (leg,) = YEASTAR.parse(
        build_body(remove_members(IVR, "timestamp", "uid") | {"time": displayed}, date_format=date_format)
    )
    assert leg.time_start == "2026-04-05 21:37:17"


def test_row_date_order_is_proven_by_seconds_or_uid() -> None:
    """Even against the date format of the PBX, which may have changed since."""
    ambiguous = IVR | {"time": "05/04/2026 09:37:17 PM", "timestamp": 1775414237, "call_id": "1775414237.1"}
    for row in (ambiguous, remove_members(ambiguous, "timestamp") | {"uid": "20260405213717AB3D1"}):
        (leg,) = YEASTAR.parse(build_body(row, date_format="MM/DD/YYYY"))
        assert leg.time_start == "2026-04-05 21:37:17"


def test_row_without_time_uses_seconds_and_offset_from_ids() -> None:
    (leg,) = YEASTAR.parse(build_body(remove_members(SIX_LEGS[2], "time")))
    assert leg.time_start == "2026-06-30 21:37:35"


@pytest.mark.parametrize(
    ("displayed", "date_format", "reason"),
    [
        ("05/04/2026 21:37:17", "", "the order of day and month in"),
        ("27/04/2026 21:37:17", "MM/DD/YYYY", "does not match the PBX's date format"),
        ("yesterday", "DD/MM/YYYY", "unknown time format"),
        ("", "", "unknown time format"),
    ],
)
def test_row_ambiguous_or_unknown_time_is_rejected(displayed: str, date_format: str, reason: str) -> None:
    """The reason is stored with the row in the quarantine."""
    row = remove_members(IVR, "timestamp", "uid") | {"time": displayed}
    with pytest.raises(ParseError, match=reason):
        YEASTAR.parse(build_body(row, date_format=date_format))


def test_row_name_equal_to_number_is_written_once() -> None:
    """The list writes `number<number>`; name and number in separate members are joined."""
    (leg,) = YEASTAR.parse(build_body(IVR | {"call_from": "5550199<5550199>"}))
    assert leg.call_from == "5550199"
    parts = remove_members(IVR, "call_to") | {"call_to_name": "Bob", "call_to_number": "1002"}
    assert YEASTAR.parse(build_body(parts))[0].call_to == "Bob<1002>"


V2_ROW = {
    "id": "67AE6498-7D80008A",
    "uid": "20260630213717AB3D1",
    "time": "2026/06/30 21:37:17",
    "call_type": "Inbound",
    "call_from_number": "5550199",
    "call_to_number": "6400",
    "call_to_name": "Queue Team",
    "last_status": "ANSWERED",
    "call_duration": 119,
    "handling_duration": 74,
}
V2_DETAIL: dict[str, Any] = {
    "basic": V2_ROW,
    "timeline": [
        {
            "leg": 1,
            "time": "2026/06/30 21:37:17",
            "status": "ANSWERED",
            "call_from": "5550199",
            "call_to": "IVR Welcome<6200>",
            "call_duration": 13,
            "talk_duration": 13,
        },
        {
            "leg": 2,
            "time": "2026/06/30 21:38:09",
            "status": "ANSWERED",
            "call_from": "5550199",
            "call_to": "Agent Name<4005>",
            "call_duration": 85,
            "ring_duration": 11,
            "talk_duration": 74,
        },
    ],
}


def test_row_v2_is_parsed_to_legs_of_its_detail() -> None:
    """With the stored call id, the records equal those of the events."""
    legs = YEASTAR.parse(build_body(V2_ROW, call_id="1782844637.854", detail=V2_DETAIL))
    assert [record_key(SN, leg)[1:] for leg in legs] == [
        ("1782844637.854", "2026-06-30 21:37:17", "6200"),
        ("1782844637.854", "2026-06-30 21:38:09", "4005"),
    ]
    assert [(leg.status, leg.type, leg.call_duration, leg.talk_duration) for leg in legs] == [
        ("ANSWERED", "Inbound", 13, 13),
        ("ANSWERED", "Inbound", 85, 74),
    ]


def test_row_v2_without_detail_is_parsed_to_one_leg() -> None:
    """An unknown call has its `uid` as its call id."""
    (leg,) = YEASTAR.parse(build_body(V2_ROW))
    assert (leg.call_id, leg.call_to, leg.status) == ("20260630213717AB3D1", "Queue Team<6400>", "ANSWERED")
    assert (leg.call_duration, leg.talk_duration) == (119, 74)


@pytest.mark.parametrize("withheld", [{"call_from": ""}, {"call_from": None}, {"Call From": " "}])
def test_row_withheld_number_is_accepted(withheld: dict[str, Any]) -> None:
    """The list and its download leave the number blank; a row without such a column is rejected."""
    row_without_caller = remove_members(SIX_LEGS[4], "call_from", "call_from_number", "call_from_name")
    (leg,) = YEASTAR.parse(build_body(row_without_caller | withheld))
    assert (leg.call_from, leg.call_duration) == ("", 85)
    with pytest.raises(ParseError, match="call_from"):
        YEASTAR.parse(build_body(row_without_caller))


def test_row_of_web_page_download_is_parsed_by_headings() -> None:
    """Its `ID` is the `uid` of the list."""
    row = {
        "ID": "20260630213717AB3D1", "Time": "30/06/2026 09:38:09 PM", "Call From": "5550199",
        "Call To": "Agent Name<4005>", "Call Duration(s)": "85", "Ring Duration(s)": "11", "Talk Duration(s)": "74",
        "Status": "ANSWERED", "Source Trunk": "Trunk-A", "Communication Type": "Inbound", "DID/DDI": "5550000",
        "Recording File": "", "PIN Code": "",
    }  # fmt: skip
    (leg,) = YEASTAR.parse(build_body(row, call_id="1782844637.854"))
    (listed_leg,) = YEASTAR.parse(build_body(SIX_LEGS[4]))
    assert record_key(SN, leg) == record_key(SN, listed_leg)
    assert (leg.call_duration, leg.talk_duration, leg.status, leg.type) == (85, 74, "ANSWERED", "Inbound")
    assert (leg.src_trunk_name, leg.did_number) == ("Trunk-A", "5550000")


def test_row_key_ignores_context_and_member_order() -> None:
    """Another row has another key."""
    first = YEASTAR.peek(build_body(IVR))
    reordered_row = dict(reversed(IVR.items()))
    assert (first.kind, first.label, first.sn) == ("details", ROW_LABEL, SN)
    assert YEASTAR.peek(build_body(reordered_row, date_format="DD/MM/YYYY")).key == first.key
    assert YEASTAR.peek(build_body(IVR | {"duration": 14})).key != first.key
    assert first.key[:4] == (1782844637).to_bytes(4)


@pytest.mark.parametrize("row", [b"[]", b"null", b'"text"', b"{}", b'{"call_id": "1782844637.854"}', b"{broken"])
def test_row_without_call_is_rejected(row: bytes) -> None:
    """It has a key, so that it can be stored in the quarantine."""
    with pytest.raises(ParseError):
        YEASTAR.parse(wrap_row(row, RowContext(sn=SN)))
    assert len(YEASTAR.peek(wrap_row(row, RowContext(sn=SN))).key) == 16


@pytest.mark.parametrize(
    ("date_format", "order"),
    [("DD/MM/YYYY", "dmy"), ("mm/dd/yyyy", "mdy"), ("d-m-Y", "dmy"), ("YYYY/MM/DD", "ymd"), ("12", ""), ("", "")],
)
def test_parse_date_order_ignores_separators(date_format: str, order: str) -> None:
    assert parse_date_order(date_format) == order


def test_row_with_seconds_alone_is_rejected_if_ids_show_no_offset() -> None:
    """The wall clock of the PBX cannot be derived, and is not guessed."""
    with pytest.raises(ParseError, match="unknown time format"):
        YEASTAR.parse(build_body(remove_members(IVR, "time", "uid")))


@pytest.mark.parametrize("uid", ["20261340213717AB3D1", "20260630253717AB3D1"])
def test_row_uid_that_contains_no_date_proves_nothing(uid: str) -> None:
    """The date format of the PBX decides."""
    row = remove_members(IVR, "timestamp") | {"time": "05/04/2026 09:37:17 PM", "uid": uid}
    (leg,) = YEASTAR.parse(build_body(row, date_format="MM/DD/YYYY"))
    assert leg.time_start == "2026-05-04 21:37:17"


def test_row_v2_stage_that_is_no_object_is_skipped() -> None:
    detail = V2_DETAIL | {"timeline": ["leg", *V2_DETAIL["timeline"], None]}
    assert len(YEASTAR.parse(build_body(V2_ROW, call_id="1782844637.854", detail=detail))) == 2


@pytest.mark.parametrize(
    ("row", "seconds"),
    [
        ({"timestamp": 1782844637, "time": "01/01/2020 00:00:00"}, 1782844637),
        ({"timestamp": "1782844637"}, 1782844637),
        ({"timestamp": True, "time": "30/06/2026 09:37:17 PM"}, 1782844637),
        ({"time": "2026/06/30 21:37:17"}, 1782844637),
        ({"time": "soon"}, None),
        ({}, None),
    ],
)
def test_parse_start_seconds_uses_seconds_then_displayed_time(row: dict[str, Any], seconds: int | None) -> None:
    facts = SystemFacts(date_format="DD/MM/YYYY", time_format="12", offset_seconds=10800)
    assert parse_start_seconds(row, facts) == seconds


def test_parse_start_seconds_without_date_format_is_none() -> None:
    """The order of day and month is not guessed."""
    assert parse_start_seconds({"time": "05/04/2026 09:37:17 PM"}, SystemFacts()) is None


PAGE_ROW = {
    "ID": "20260630213717AB3D1",
    "Time": "2026/06/30 21:37:17",
    "Call From": "5550199",
    "Call To": "1002",
    "Call Duration(s)": "0:00:37",
    "Status": "ANSWERED",
}


@pytest.mark.parametrize("uid", ["2026063021371710000", "2.02611E+18", "2,02611e18"])
def test_row_of_a_file_with_a_rounded_id_is_rejected(uid: str) -> None:
    with pytest.raises(ParseError, match="a spreadsheet rounded the ids: download the file again"):
        YEASTAR.parse(build_body(PAGE_ROW | {"ID": uid}))


def test_row_of_the_api_is_not_mistaken_for_a_rounded_one() -> None:
    """It has a call id besides."""
    (leg,) = YEASTAR.parse(build_body(PAGE_ROW | {"uid": "2026063021371710000", "call_id": "1782844637.854"}))
    assert leg.call_id == "1782844637.854"


@pytest.mark.parametrize(("duration", "seconds"), [("0:00:37", 37), ("01:00:05", 3_605), ("02:05", 125), ("37", 37)])
def test_row_duration_may_be_a_clock(duration: str, seconds: int) -> None:
    (leg,) = YEASTAR.parse(build_body(PAGE_ROW | {"Call Duration(s)": duration}))
    assert leg.call_duration == seconds


@pytest.mark.parametrize("duration", ["9999:59:59", "soon", "1:75"])
def test_row_impossible_duration_is_kept_beside(duration: str) -> None:
    (leg,) = YEASTAR.parse(build_body(PAGE_ROW | {"Call Duration(s)": duration}))
    assert (leg.call_duration, leg.extra["call_duration"]) == (None, duration)


@pytest.mark.parametrize("time", ["2026/06/30 21:37", "30/06/2026 21:37", "06/30/2026 21:37"])
def test_row_time_without_seconds_has_those_of_the_id(time: str) -> None:
    (leg,) = YEASTAR.parse(build_body(PAGE_ROW | {"Time": time}))
    assert leg.time_start == "2026-06-30 21:37:17"


@pytest.mark.parametrize("changes", [{"Time": "2026/06/30 21:38"}, {"Time": "2026/06/30 21:37", "ID": "7"}])
def test_row_time_without_seconds_that_no_id_has_is_rejected(changes: dict[str, str]) -> None:
    with pytest.raises(ParseError, match="has no seconds"):
        YEASTAR.parse(build_body(PAGE_ROW | changes))


def test_row_of_onhooks_own_export_is_the_same_record() -> None:
    """With formulas that were escaped; what follows from the others is left out."""
    row = {
        "call_id": "1782844637.854",
        "time_start": "2026-06-30 21:37:17",
        "call_from": "'=1+1",
        "call_to": "1002",
        "call_duration": "37",
        "seq": "7",
        "record_id": "x",
        "started_at": "2026-06-30T18:37:17+00:00",
        "ring_duration": "3",
        "extra": '{"is_display":1}',
    }
    (leg,) = YEASTAR.parse(build_body(row))
    assert (leg.call_from, leg.call_duration, leg.extra) == ("=1+1", 37, {"is_display": 1})
    (leg,) = YEASTAR.parse(build_body(row | {"extra": "none", "enb_call_note": 1}))
    assert (leg.extra, leg.enb_call_note) == ({}, 1)
