"""What is written as a FreeSWITCH would send it is read back, in each encoding (FS18)."""

import random
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onhook.cdr.call_details import UTC_OFFSET, CallDetails
from onhook.lib.errors import UsageError
from onhook.pbx.freeswitch.writing import ENCODINGS, PAYLOAD_FORMATS, format_event, format_legs
from tests.counts import examples
from tests.pbx.freeswitch.captures import FREESWITCH, assemble

CALL_ID = "0467dd55-d427-45e6-8a09-81c8857c9db3"
EXTENSIONS = st.integers(1001, 1004).map(str)
OUTSIDE = st.from_regex(r"\+49[1-9][0-9]{6,10}", fullmatch=True)
NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="<>%"), min_size=1, max_size=12
)
DURATIONS = st.integers(0, 90_000)


def without_extra(details: CallDetails) -> dict[str, Any]:
    """Return the members that a reader gets back; the ids of legs are FreeSWITCH's own."""
    names = ("call_id", "time_start", "call_from", "call_to", "call_duration", "talk_duration", "status", "type")
    further_names = ("src_trunk_name", "dst_trunk_name", "pin_code", "recording", "did_number", "agent_ring_time")
    return {name: getattr(details, name) for name in (*names, *further_names)}


@st.composite
def generated_calls(draw: st.DrawFn) -> list[CallDetails]:
    """Draw a call: through an IVR and a queue to a person, or to a person alone, or to a mailbox."""
    direction = draw(st.sampled_from(["Internal", "Inbound", "Outbound"]))
    number = draw(OUTSIDE if direction == "Inbound" else EXTENSIONS)
    name = draw(st.none() | NAMES)
    common: dict[str, Any] = {
        "call_id": CALL_ID,
        "call_from": f"{name}<{number}>" if name and name != number else number,
        "type": direction,
        "src_trunk_name": "carrier1" if direction == "Inbound" else "",
        "did_number": draw(OUTSIDE) if direction == "Inbound" else "",
        "pin_code": draw(st.sampled_from(["", "4711"])),
    }
    offset = draw(st.sampled_from([-12600, 0, 3600, 20700]))
    start = draw(st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1))).replace(microsecond=0)  # noqa: DTZ001
    rows: list[CallDetails] = []

    def add(number: str, status: str, call: int, talk: int, kind: str = "", **changes: Any) -> None:
        extra = {UTC_OFFSET: offset} | ({"callee_kind": kind} if kind else {})
        fields = {"call_to": number, "status": status, "call_duration": call, "talk_duration": talk, "extra": extra}
        rows.append(CallDetails(time_start=str(start), **common | fields | changes))

    ring, talk = draw(DURATIONS), draw(DURATIONS)
    journey = draw(st.sampled_from(["person", "queue", "voicemail"])) if direction != "Outbound" else "person"
    if journey == "queue":
        menu = draw(st.integers(1, 60))
        add("6200", "ANSWERED", menu, menu, "ivr")
        start += timedelta(seconds=menu)
        add("6400", "ANSWERED", ring + talk, talk, "queue", agent_ring_time=ring)
        add("1002", "ANSWERED", ring + talk, talk, "extension", agent_ring_time=ring)
    elif journey == "voicemail":
        add("1002", "VOICEMAIL", talk, talk, "voicemail")
    else:
        status = draw(st.sampled_from(["ANSWERED", "BUSY", "NO ANSWER", "FAILED"]))
        is_answered = status == "ANSWERED"
        trunk = "carrier2" if direction == "Outbound" else ""
        recording = draw(st.sampled_from(["", "talk.wav"])) if is_answered else ""
        callee = draw(OUTSIDE if direction == "Outbound" else EXTENSIONS)
        add(callee, status, ring + talk, talk if is_answered else 0, dst_trunk_name=trunk, recording=recording)
    return rows


@settings(max_examples=examples(200))
@given(generated_calls(), st.sampled_from(sorted(ENCODINGS)), st.randoms(use_true_random=False))
def test_fs18_written_legs_in_any_order_are_the_call(
    rows: list[CallDetails], encoding: str, order: random.Random
) -> None:
    bodies = format_legs(rows, "pbx1", encoding)
    shuffled = order.choices(bodies, k=2) + order.sample(bodies, len(bodies))
    read_rows = FREESWITCH.parse_legs(shuffled)
    assert [without_extra(row) for row in read_rows] == [without_extra(row) for row in rows]
    assert [row.extra[UTC_OFFSET] for row in read_rows] == [row.extra[UTC_OFFSET] for row in rows]
    assert assemble(read_rows).talk_duration == assemble(rows).talk_duration
    assert {FREESWITCH.peek(body).kind for body in bodies} == {"details"}


ROW = CallDetails(
    call_id="1.1",
    time_start="2026-04-27 19:04:36",
    call_from="Alice<1001>",
    call_to="Bob<1002>",
    call_duration=20,
    talk_duration=14,
    status="ANSWERED",
    type="Internal",
)


@pytest.mark.parametrize("payload_format", PAYLOAD_FORMATS)
def test_format_each_leg_alone_is_the_call(payload_format: str) -> None:
    """An id of another form becomes one of FreeSWITCH's; the called party has no name."""
    (details,) = FREESWITCH.parse(FREESWITCH.format(ROW, "pbx1", payload_format))
    assert (details.call_from, details.call_to, details.call_duration, details.talk_duration) == (
        "Alice<1001>",
        "1002",
        20,
        14,
    )


def test_format_legs_of_unknown_durations_and_words_are_readable() -> None:
    row = CallDetails(
        call_id="1", time_start=ROW.time_start, call_from="", call_to="6500", extra={"callee_kind": "conference"}
    )
    (details,) = FREESWITCH.parse_legs(format_legs([row], "pbx1", "json"))
    assert (details.call_to, details.call_duration, details.status) == ("6500", 0, "NO ANSWER")


def test_format_event_has_the_caller_with_the_last_details_alone() -> None:
    """All documents of a call are those of its legs; a queue has none of its own."""
    queue = msgspec.structs.replace(ROW, call_to="6400", extra={"callee_kind": "queue"})
    calls = [queue, ROW, msgspec.structs.replace(ROW, call_to="Carol<1003>", time_start="2026-04-27 19:04:50")]
    bodies = [format_event(details, calls, "pbx1", "json") for details in calls]
    assert [len(documents) for documents in bodies] == [0, 1, 2]
    assert sorted(body for documents in bodies for body in documents) == sorted(format_legs(calls, "pbx1", "json"))


@pytest.mark.parametrize("kind", ["queue", "voicemail"])
def test_format_legs_of_a_machine_that_did_not_connect(kind: str) -> None:
    row = CallDetails(
        call_id=CALL_ID,
        time_start=ROW.time_start,
        call_from="1001",
        call_to="6400",
        call_duration=9,
        talk_duration=0,
        status="ABANDONED" if kind == "queue" else "ANSWERED",
        extra={"callee_kind": kind},
    )
    (details,) = FREESWITCH.parse_legs(format_legs([row], "pbx1", "json"))
    assert (details.call_to, details.extra["callee_kind"]) == ("6400", kind)
    assert (details.status == "ABANDONED") == (kind == "queue")


def test_format_unknown_payload_format_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="unknown payload format"):
        FREESWITCH.format(ROW, "pbx1", "csv")
