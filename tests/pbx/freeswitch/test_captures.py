"""Every capture of a real FreeSWITCH against its truth table, which is what the telephones saw."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from onhook.cdr.call_assembly import is_answered
from onhook.cdr.call_details import CallDetails
from onhook.cdr.identity import extract_name, extract_number
from onhook.cdr.leg_joining import missing_leg_ids
from onhook.cdr.record import Call, Record
from tests.pbx.freeswitch.captures import EXPECTED, FREESWITCH, PAYLOADS, assemble, bodies, calls_of

TOLERANCE_SECONDS = 1.0
"""Truncated seconds of the PBX against half seconds of the telephones."""

UNKNOWN_TALK = "s18_deflect_carrier"
"""The PBX waits nine seconds for the carrier, and no document says when the talk ended."""

SCENARIOS = [name for name in EXPECTED if bodies(name)]
"""All but those in which FreeSWITCH sent nothing: a wrong password, a killed process."""

EACH_SCENARIO = pytest.mark.parametrize("scenario", SCENARIOS)


def is_close(seconds: int | None, expected: float | None) -> bool:
    """Return whether a number of seconds is what the telephones saw; None there is unknown."""
    return expected is None or (seconds is not None and abs(seconds - expected) <= TOLERANCE_SECONDS)


def find_leg(stage: dict[str, Any], legs: list[Record]) -> Record:
    """Remove and return the leg of a stage: the first to its number."""
    number = stage["to"].removeprefix("mailbox ")
    kinds = {"person": (None, "extension"), "echo": ("feature",), "voicemail": ("voicemail", "feature")}
    wanted = kinds.get(stage["kind"], (stage["kind"],))
    leg = next(leg for leg in legs if number in (leg.call_to, "PBX") and leg.extra.get("callee_kind") in wanted)
    legs.remove(leg)
    return leg


@EACH_SCENARIO
def test_capture_gives_the_calls_that_the_telephones_saw(scenario: str) -> None:
    calls = calls_of(bodies(scenario))
    assert len(calls) == len(EXPECTED[scenario])
    for details, expected in zip(calls, EXPECTED[scenario], strict=True):
        check_call(assemble(details), expected, is_talk_known=scenario != UNKNOWN_TALK)


def check_call(call: Call, expected: dict[str, Any], *, is_talk_known: bool) -> None:
    assert (call.type, extract_number(call.call_from)) == (expected["type"], expected["from"])
    assert expected["dialled"] in (call.did_number, call.legs[0].extra.get("dialled"), call.call_to) or is_click(call)
    if "from_name" in expected:
        assert extract_name(call.call_from).replace('"', "'") == expected["from_name"]
    if expected["talk_with_persons_s"] is not None and is_talk_known:
        assert is_close(call.talk_duration, expected["talk_with_persons_s"])
    legs = list(call.legs)
    for stage in expected["stages"]:
        if is_click(call) and stage["to"] == extract_number(call.call_from):
            continue  # the telephone that the click-to-call called first is the caller's
        check_stage(find_leg(stage, legs), stage, is_talk_known=is_talk_known)
    # A number that does not exist has a row, but no stage.
    assert [leg.status for leg in legs] == ([] if expected["stages"] else ["FAILED"])


def check_stage(leg: CallDetails, stage: dict[str, Any], *, is_talk_known: bool) -> None:
    if stage["status"] == "machine":
        assert leg.status in ("ANSWERED", "VOICEMAIL")
    else:
        assert leg.status == stage["status"]
    assert (leg.status == "VOICEMAIL") == bool(stage.get("message_s"))
    ring, talk = (leg.call_duration or 0) - (leg.talk_duration or 0), leg.talk_duration
    assert is_close(ring, stage.get("wait_s") if stage["kind"] == "queue" else stage["ring_s"])
    assert not is_talk_known or is_close(talk, stage["talk_s"])
    assert leg.dst_trunk_name == stage.get("trunk", "")
    assert bool(leg.recording) or not stage.get("recording")
    assert bool(leg.extra.get("answered_elsewhere")) == (stage.get("note") == "answered elsewhere") or not is_answered(
        leg
    )


def is_click(call: Call) -> bool:
    return any(leg.extra.get("originated") for leg in call.legs)


@EACH_SCENARIO
def test_capture_legs_in_any_order_with_repeats_give_the_same_calls(scenario: str) -> None:
    legs, order = bodies(scenario), random.Random(scenario)
    calls = calls_of(legs)
    for _round in range(3):
        shuffled = order.choices(legs, k=2) + order.sample(legs, len(legs))
        assert calls_of(shuffled) == calls
    assert [len(assemble(details).legs) for details in calls] == [len(details) for details in calls]


@EACH_SCENARIO
def test_capture_call_is_complete_with_its_last_leg(scenario: str) -> None:
    legs = bodies(scenario)
    assert missing_leg_ids([FREESWITCH.read_links(body) for body in legs]) == frozenset()


@EACH_SCENARIO
def test_capture_each_leg_alone_is_readable(scenario: str) -> None:
    """A leg whose others do not come gives rows with possible times."""
    for body in bodies(scenario):
        check_possible(FREESWITCH.parse(body))


def check_possible(calls: Sequence[CallDetails]) -> None:
    for details in calls:
        assert details.time_start.startswith("2026-1")
        assert details.call_to
        assert 0 <= (details.talk_duration or 0) <= (details.call_duration or 0)


@pytest.mark.parametrize("scenario", ["s02", "s10", "s20", "s44"])
def test_capture_as_xml_gives_the_same_call(scenario: str) -> None:
    assert calls_of(bodies(scenario, "xml")) == calls_of(bodies(scenario))


@pytest.mark.parametrize(
    ("scenario", "index", "status"), [("s03", 1, "BUSY"), ("s04", 1, "NO ANSWER"), ("s06", 1, "FAILED")]
)
def test_capture_caller_leg_alone_has_status_of_called_party(scenario: str, index: int, status: str) -> None:
    """Its own hangup cause is NORMAL_CLEARING where no telephone answered."""
    (details,) = FREESWITCH.parse(bodies(scenario)[index])
    assert (details.status, details.call_to, details.talk_duration) == (status, "1002", 0)
    assert details.extra["missing_leg"]


def test_capture_caller_leg_alone_has_stages_of_transfer() -> None:
    """The times of the older profile are those of the first talk."""
    caller_leg = next(body for body in bodies("s10") if not FREESWITCH.read_links(body).linked_ids)
    rows = FREESWITCH.parse(caller_leg)
    assert [(row.call_to, row.talk_duration) for row in rows] == [("1002", 4), ("1003", 6)]


def test_capture_gateway_is_known_without_called_leg() -> None:
    (details,) = FREESWITCH.parse(bodies("s60")[1])
    assert (details.type, details.dst_trunk_name, details.call_to) == ("Outbound", "carrier1", "004917600000002")


def test_capture_at_end_of_summer_time_has_exact_times() -> None:
    call = assemble(calls_of(bodies("z2"))[0])
    (leg,) = call.legs
    assert (leg.time_start, leg.utc_offset, leg.call_duration) == ("2026-10-25 02:59:54", "+02:00", 14)
    assert f"{call.started_at:%H:%M:%S}" == "00:59:54"


UNSOUND = ("e02_", "e37_")
"""Captures of `encode=true` with `encode-values=true`, which FS6 has."""

BODIES = sorted(PAYLOADS.glob("*/*.body"))


def test_capture_each_body_of_each_setting_is_read() -> None:
    """Of mod_json_cdr, mod_xml_cdr and mod_format_cdr in all encodings; and what it wrote to disk."""
    files = [*BODIES, *(path for path in sorted(PAYLOADS.glob("*/disk/*/*")) if path.is_file())]
    assert len({path.parts[-2] for path in BODIES}) == len(list(PAYLOADS.glob("[a-z][0-9]*")))
    for path in files:
        is_sound = not path.relative_to(PAYLOADS).parts[0].startswith(UNSOUND) or not path.match("*-json.body")
        assert (FREESWITCH.peek(path.read_bytes()).kind == "details") == is_sound, path
