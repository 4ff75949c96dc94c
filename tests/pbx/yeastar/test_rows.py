"""Rows of the PBX's list say the same call details as the event."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call
from onhook.cdr.identity import record_key
from onhook.lib.errors import ParseError
from onhook.pbx.yeastar.payload import Yeastar
from onhook.pbx.yeastar.rows import ROW_LABEL, RowContext, parse_date_order, wrap_row
from tests.factories import STARTED_AT

SN = "3651XXXXXXXX"
YEASTAR = Yeastar()
SIX_LEGS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "payloads" / "rest_six_legs.json").read_text()
)["data"]
IVR = SIX_LEGS[0]


def body_of(row: dict[str, Any], *, date_format: str = "", call_id: str = "", detail: Any = None) -> bytes:
    wrapping = RowContext(sn=SN, date_format=date_format, call_id=call_id)
    return wrap_row(msgspec.json.encode(row), wrapping, b"" if detail is None else msgspec.json.encode(detail))


def without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def test_six_rows_are_six_legs_of_one_call() -> None:
    """With the identities that their events have, and read as one call in their order."""
    read = [YEASTAR.parse(body_of(row))[0] for row in SIX_LEGS]
    assert len({record_key(SN, one) for one in read}) == 6
    assert record_key(SN, read[0]) == (SN, "1782844637.854", "2026-06-30 21:37:17", "6200")
    assert read[5].call_to == "Satisfaction Survey"
    said = [
        ReportedLeg(details=one, seq=seq, via="backfill", received_at=STARTED_AT) for seq, one in enumerate(read, 1)
    ]
    call = assemble_call(SN, said, PbxFacts())
    assert [leg.call_to for leg in call.legs] == [row["call_to"] for row in SIX_LEGS]
    assert (call.answered_by, call.talk_duration, call.legs[0].utc_offset) == ("4005", 74, "+03:00")


def test_each_renamed_member_is_found() -> None:
    """yeastar-p-series.md 7.4: what the list calls `duration` the event calls `call_duration`, and so on."""
    (leg,) = YEASTAR.parse(body_of(SIX_LEGS[4]))
    assert (leg.call_duration, leg.talk_duration, leg.status, leg.type) == (85, 74, "ANSWERED", "Inbound")
    assert (leg.src_trunk_name, leg.did_number, leg.uid) == ("Trunk-A", "5550000", "20260630213717AB3D1")
    assert leg.recording.startswith("20260630213820-")
    assert (leg.call_from, leg.call_to) == ("5550199", "Agent Name<4005>")
    assert leg.agent_ring_time is None, "the list has no such field"
    assert leg.extra["new_id"] == SIX_LEGS[4]["new_id"]
    (other,) = YEASTAR.parse(body_of(without(IVR, "record_file") | {"recording": "a.wav"}))
    assert other.recording == "a.wav"


def test_what_a_row_leaves_out_is_unknown() -> None:
    """Not zero: 14.5 % of rows have no `talk_duration` (yeastar-p-series.md 2.9)."""
    (leg,) = YEASTAR.parse(body_of(without(IVR, "duration", "talk_duration")))
    assert (leg.call_duration, leg.talk_duration) == (None, None)


@pytest.mark.parametrize(
    ("shown", "date_format"),
    [
        ("05/04/2026 09:37:17 PM", "DD/MM/YYYY"),
        ("04/05/2026 21:37:17", "MM/DD/YYYY"),
        ("2026/04/05 09:37:17 PM", ""),
        ("2026-04-05 21:37:17", "DD/MM/YYYY"),
        ("5/4/2026 9:37:17 PM", "DD/MM/YYYY"),
    ],
)
def test_every_display_format_is_read(shown: str, date_format: str) -> None:
    """By the format that the PBX told; year first is never ambiguous."""
    (leg,) = YEASTAR.parse(body_of(without(IVR, "timestamp", "uid") | {"time": shown}, date_format=date_format))
    assert leg.time_start == "2026-04-05 21:37:17"


def test_the_seconds_beside_it_prove_which_is_the_month() -> None:
    """Also where the format told is that of yesterday; so does the stamp in `uid` where there are no seconds."""
    ambiguous = IVR | {"time": "05/04/2026 09:37:17 PM", "timestamp": 1775414237, "call_id": "1775414237.1"}
    for row in (ambiguous, without(ambiguous, "timestamp") | {"uid": "20260405213717AB3D1"}):
        (leg,) = YEASTAR.parse(body_of(row, date_format="MM/DD/YYYY"))
        assert leg.time_start == "2026-04-05 21:37:17"


def test_seconds_alone_are_read_with_the_offset_in_the_ids() -> None:
    """A row without `time` still says when it began."""
    (leg,) = YEASTAR.parse(body_of(without(SIX_LEGS[2], "time")))
    assert leg.time_start == "2026-06-30 21:37:35"


@pytest.mark.parametrize(
    ("shown", "date_format", "why"),
    [
        ("05/04/2026 21:37:17", "", "whether the day or the month comes first"),
        ("27/04/2026 21:37:17", "MM/DD/YYYY", "does not fit the display format"),
        ("yesterday", "DD/MM/YYYY", "none that we know"),
        ("", "", "none that we know"),
    ],
)
def test_a_moment_is_never_guessed(shown: str, date_format: str, why: str) -> None:
    """Such a row waits in the quarantine, with the reason."""
    row = without(IVR, "timestamp", "uid") | {"time": shown}
    with pytest.raises(ParseError, match=why):
        YEASTAR.parse(body_of(row, date_format=date_format))


def test_a_number_that_is_its_own_name_is_a_number() -> None:
    """`number<number>` is how the list writes it; parts alone are put together."""
    (leg,) = YEASTAR.parse(body_of(IVR | {"call_from": "5550199<5550199>"}))
    assert leg.call_from == "5550199"
    parts = without(IVR, "call_to") | {"call_to_name": "Bob", "call_to_number": "1002"}
    assert YEASTAR.parse(body_of(parts))[0].call_to == "Bob<1002>"


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
V2_DETAIL = {
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


def test_a_row_of_the_second_version_is_the_legs_in_its_detail() -> None:
    """Under the call's id where it is known here, so that they are the records that the events made."""
    legs = YEASTAR.parse(body_of(V2_ROW, call_id="1782844637.854", detail=V2_DETAIL))
    assert [record_key(SN, leg)[1:] for leg in legs] == [
        ("1782844637.854", "2026-06-30 21:37:17", "6200"),
        ("1782844637.854", "2026-06-30 21:38:09", "4005"),
    ]
    assert [(leg.status, leg.type, leg.call_duration, leg.talk_duration) for leg in legs] == [
        ("ANSWERED", "Inbound", 13, 13),
        ("ANSWERED", "Inbound", 85, 74),
    ]


def test_a_row_of_the_second_version_without_its_detail_is_one_leg() -> None:
    """Named by its `uid` where nobody heard of the call before."""
    (leg,) = YEASTAR.parse(body_of(V2_ROW))
    assert (leg.call_id, leg.call_to, leg.status) == ("20260630213717AB3D1", "Queue Team<6400>", "ANSWERED")
    assert (leg.call_duration, leg.talk_duration) == (119, 74)


@pytest.mark.parametrize("withheld", [{"call_from": ""}, {"call_from": None}, {"Call From": " "}])
def test_a_caller_who_withholds_the_number_is_a_caller(withheld: dict[str, Any]) -> None:
    """The list and its download leave the number blank; a row without such a column says no call."""
    nobody = without(SIX_LEGS[4], "call_from", "call_from_number", "call_from_name")
    (leg,) = YEASTAR.parse(body_of(nobody | withheld))
    assert (leg.call_from, leg.call_duration) == ("", 85)
    with pytest.raises(ParseError, match="call_from"):
        YEASTAR.parse(body_of(nobody))


def test_a_download_of_the_web_page_is_read_by_its_headings() -> None:
    """Its `ID` is what the list calls `uid`."""
    row = {
        "ID": "20260630213717AB3D1", "Time": "30/06/2026 09:38:09 PM", "Call From": "5550199",
        "Call To": "Agent Name<4005>", "Call Duration(s)": "85", "Ring Duration(s)": "11", "Talk Duration(s)": "74",
        "Status": "ANSWERED", "Source Trunk": "Trunk-A", "Communication Type": "Inbound", "DID/DDI": "5550000",
        "Recording File": "", "PIN Code": "",
    }  # fmt: skip
    (leg,) = YEASTAR.parse(body_of(row, call_id="1782844637.854"))
    (same,) = YEASTAR.parse(body_of(SIX_LEGS[4]))
    assert record_key(SN, leg) == record_key(SN, same)
    assert (leg.call_duration, leg.talk_duration, leg.status, leg.type) == (85, 74, "ANSWERED", "Inbound")
    assert (leg.src_trunk_name, leg.did_number) == ("Trunk-A", "5550000")


def test_a_repeat_of_a_row_has_the_same_key_however_it_was_wrapped() -> None:
    """And in any order of members; another row has another key, and the event of the same call too."""
    first = YEASTAR.peek(body_of(IVR))
    turned = dict(reversed(IVR.items()))
    assert (first.kind, first.label, first.sn) == ("details", ROW_LABEL, SN)
    assert YEASTAR.peek(body_of(turned, date_format="DD/MM/YYYY")).key == first.key
    assert YEASTAR.peek(body_of(IVR | {"duration": 14})).key != first.key
    assert first.key[:4] == (1782844637).to_bytes(4)


@pytest.mark.parametrize("row", [b"[]", b"null", b'"text"', b"{}", b'{"call_id": "1782844637.854"}', b"{broken"])
def test_a_row_that_says_no_call_is_unreadable(row: bytes) -> None:
    """With a reason; it is kept all the same."""
    with pytest.raises(ParseError):
        YEASTAR.parse(wrap_row(row, RowContext(sn=SN)))
    assert len(YEASTAR.peek(wrap_row(row, RowContext(sn=SN))).key) == 16


@pytest.mark.parametrize(
    ("date_format", "order"),
    [("DD/MM/YYYY", "dmy"), ("mm/dd/yyyy", "mdy"), ("d-m-Y", "dmy"), ("YYYY/MM/DD", "ymd"), ("12", ""), ("", "")],
)
def test_a_display_format_is_known_by_its_letters(date_format: str, order: str) -> None:
    """Whatever stands between them."""
    assert parse_date_order(date_format) == order
