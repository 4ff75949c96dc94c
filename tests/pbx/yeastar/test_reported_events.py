"""Events that PBXs reported and that are easily misread, and what happened in truth."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.record import Call
from onhook.pbx.yeastar.payload import Yeastar

PAYLOADS = Path(__file__).parents[2] / "payloads"


def read_call(name: str) -> Call:
    return assemble(PAYLOADS.joinpath(f"{name}.json").read_bytes())


def assemble(body: bytes) -> Call:
    legs = [
        ReportedLeg(details=details, seq=seq, via="webhook", received_at=datetime.now(UTC))
        for seq, details in enumerate(Yeastar().parse(body), 1)
    ]
    return assemble_call("3631A2124ABC", legs, PbxFacts())


@pytest.mark.parametrize(
    ("name", "answered_by"),
    [
        ("a1_answered_spaces", "+49 30 901820"),
        ("a2_answered_brackets", "(030)901-820"),
        ("a4_answered_named_extension", "alice"),
        ("a7_control_plain_number", "+4930901820"),
        ("b1_112_is_an_extension", "112"),
        ("e1_array_of_events", "+4930901820"),
    ],
)
def test_answered_call_counts_as_answered_whatever_the_number_looks_like(name: str, answered_by: str) -> None:
    call = read_call(name)
    assert (call.status, call.talk_duration, call.answered_by) == ("ANSWERED", 50, answered_by)
    assert len(call.legs) == 1


def test_number_that_goes_out_by_a_trunk_is_no_extension() -> None:
    assert NumberPlan().kind_of_leg(read_call("b1_112_is_an_extension").legs[0]) == "external"


@pytest.mark.parametrize(
    "call_to",
    [
        "0049 30,,901820",
        "+49(30)901820w12",
        "sip:alice@office.example",
        '"Alice" <sip:alice@tenant1.example>',
        "1001*acme",
        "tenant-1001",
        "张伟",
        "Jörg Müller",
    ],
)
def test_answered_call_to_any_spelling_is_answered_by_a_person(call_to: str) -> None:
    envelope = json.loads(PAYLOADS.joinpath("a4_answered_named_extension.json").read_bytes())
    members = json.loads(envelope["msg"]) | {"call_to": call_to}
    call = assemble(json.dumps(envelope | {"msg": json.dumps(members)}).encode())
    assert (call.status, call.talk_duration) == ("ANSWERED", 50)
