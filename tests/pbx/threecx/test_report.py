"""Segments of the reports of a 3CX (X13). The sample is constructed from public descriptions of the XAPI."""

import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call
from onhook.cdr.record import Call
from onhook.lib.errors import ParseError
from onhook.pbx.threecx.report import SEGMENTS_MAX, parse_iso_duration
from tests.counts import rounds
from tests.pbx.threecx.test_acceptance import THREE_CX, load

REPORT = load("3cx_xapi_get_call_log_data.json")
QUEUE_SEGMENT, AGENT_SEGMENT = json.loads(REPORT)["value"]
RECEIVED_AT = datetime(2026, 1, 1, tzinfo=UTC)


def body(*segments: object) -> bytes:
    return json.dumps({"value": segments}).encode()


def changed(segment: dict[str, Any], **members: object) -> dict[str, Any]:
    return segment | members


def assemble(content: bytes) -> Call:
    legs = [
        ReportedLeg(details=details, seq=1, via="backfill", received_at=RECEIVED_AT)
        for details in THREE_CX.parse(content)
    ]
    return assemble_call("3CX", legs, PbxFacts(dialect="3cx"))


def test_x13_report_is_one_call_that_the_agent_answered() -> None:
    """Talk is cut off to whole seconds, as in lines; the queue's `Answered` is no person's."""
    for content in (REPORT, body(AGENT_SEGMENT, QUEUE_SEGMENT, AGENT_SEGMENT)):
        call = assemble(content)
        assert (call.type, call.call_from, call.src_trunk_name) == ("Inbound", "Caller<+15550100001>", "10000")
        assert (call.call_to, call.answered_by, call.talk_duration) == ("Support<803>", "101", 57)
        assert call.started_at == datetime(2025, 12, 8, 21, 32, 26, tzinfo=UTC)
        agent = call.legs[1]
        assert (agent.call_to, agent.agent_ring_time, agent.extra["queue"]) == ("Example, Dina<101>", 4, "803")
        assert (agent.call_duration, agent.talk_duration) == (61, 57)
    assert THREE_CX.peek(REPORT) == THREE_CX.peek(body(AGENT_SEGMENT, QUEUE_SEGMENT))
    assert (THREE_CX.peek(REPORT).kind, THREE_CX.peek(REPORT).label) == ("details", "report")
    assert THREE_CX.parse_in_order(REPORT, ("callid",)) == THREE_CX.parse(REPORT)


def test_report_of_a_queue_that_overflowed_has_no_talk_of_the_next_one() -> None:
    def segment_from(second: int, name: str, original: dict[str, Any], **members: object) -> dict[str, Any]:
        return changed(original, CdrId=name, StartTime=f"2025-12-08T21:32:{second:02}Z", **members)

    call = assemble(
        body(
            segment_from(0, "q1", QUEUE_SEGMENT, DestinationDn="800", RingingDuration="PT20S"),
            segment_from(1, "a1", AGENT_SEGMENT, DestinationDn="101", Status="Unanswered", RingingDuration="PT19S"),
            segment_from(20, "q2", QUEUE_SEGMENT, DestinationDn="801", RingingDuration="PT5S"),
            segment_from(25, "a2", AGENT_SEGMENT, DestinationDn="201", RingingDuration="PT3S", TalkingDuration="PT60S"),
        )
    )
    legs = {leg.extra["dst_channel"]: leg for leg in call.legs}
    assert [(legs[name].status, legs[name].talk_duration, legs[name].call_duration) for name in ("q1", "q2")] == [
        ("NO ANSWER", 0, 20),
        ("ANSWERED", 60, 68),
    ]
    assert [legs[name].extra["queue"] for name in ("a1", "a2")] == ["800", "801"]


def test_report_of_a_queue_that_the_caller_left_is_abandoned() -> None:
    call = assemble(body(changed(QUEUE_SEGMENT, Status="Waiting", RingingDuration="PT30S")))
    assert (call.status, call.talk_duration, call.answered_by) == ("ABANDONED", 0, "")
    moved_on = assemble(body(QUEUE_SEGMENT, changed(AGENT_SEGMENT, Status="Unanswered", DestinationType=99)))
    assert [leg.status for leg in moved_on.legs] == ["NO ANSWER", "NO ANSWER"]
    assert "callee_kind" not in moved_on.legs[1].extra


def test_report_of_an_outbound_call_has_its_trunk() -> None:
    segment = changed(
        AGENT_SEGMENT,
        SourceType=0,
        SourceDn="101",
        SourceDisplayName="101",
        SourceCallerId="",
        Direction="x",
        DestinationType=13,
        DestinationDn="10000",
        DestinationCallerId="+4930901820",
        CallCost=0.43,
        DestinationDisplayName="",
    )
    (leg,) = assemble(body(segment)).legs
    assert (leg.type, leg.call_from, leg.call_to, leg.dst_trunk_name) == ("Outbound", "101", "+4930901820", "10000")
    assert leg.extra["bill_cost"] == "0.43"
    (leg,) = assemble(body(changed(segment, DestinationType=0, Direction="Internal", DestinationDn="102"))).legs
    assert (leg.type, leg.call_to, leg.agent_ring_time) == ("Internal", "102", None)
    (leg,) = assemble(body(changed(segment, DestinationType=0, Direction="Outbound"))).legs
    assert leg.type == "Outbound"


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [("PT0S", 0), ("P1DT1H", 90_000 * 10**6), ("PT4.5S", 4_500_000), ("PT", None), ("P", None), ("PT99999999S", None)],
)
def test_report_durations_are_iso(text: str, microseconds: int | None) -> None:
    assert parse_iso_duration(text) == microseconds


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"value":[', "no segment"),
        (b'{"value":[]}', "no segment"),
        (b'{"value":{}}', "no segment"),
        (body(1), "a segment is no object"),
        (body(changed(AGENT_SEGMENT, CdrId=None)), "no CdrId"),
        (body(changed(AGENT_SEGMENT, MainCallHistoryId="")), "no MainCallHistoryId"),
        (body(changed(AGENT_SEGMENT, CdrId="x" * 300)), "more than 200 characters"),
        (body(changed(AGENT_SEGMENT, StartTime=None)), "StartTime is no time"),
        (body(changed(AGENT_SEGMENT, StartTime="soon")), "StartTime is no time"),
        (body(changed(AGENT_SEGMENT, StartTime="1970-01-01T00:00:00Z")), "StartTime is no time"),
        (body(*[AGENT_SEGMENT] * (SEGMENTS_MAX + 1)), "more than 1000 segments"),
    ],
)
def test_report_without_a_call_is_refused(content: bytes, reason: str) -> None:
    assert THREE_CX.peek(content).kind == "unparsable"
    with pytest.raises(ParseError, match=reason):
        THREE_CX.parse(content)


def test_report_with_odd_values_has_what_is_known() -> None:
    segment = changed(AGENT_SEGMENT, SourceType=True, RingingDuration=4, TalkingDuration="long", CallCost=None)
    (leg,) = assemble(body(changed(segment, SourceDisplayName="\ud800", Reason=5))).legs
    assert (leg.call_duration, leg.talk_duration, leg.call_from) == (0, 0, "\ufffd<10000>")


TOKENS = (b"", b'"', b"{}", b"[]", b"null", b"-1", b"9" * 25, b"\x00", b"\xff", b"PT9H", b"1970-01-01T00:00:00Z")


def check_mutated(seed: int) -> None:
    source = random.Random(seed)
    content = json.dumps(json.loads(REPORT)).encode()
    for _change in range(source.randint(1, 4)):
        begin = source.randrange(len(content) + 1)
        end = min(len(content), begin + source.choice((0, 1, 1, 4, 40)))
        token = source.choice((*TOKENS, content[begin:end] * 2, source.randbytes(end - begin)))
        content = content[:begin] + token + content[end:]
    assert len(THREE_CX.peek(content).key) == 16
    try:
        legs = THREE_CX.parse(content)
    except ParseError:
        return
    for leg in legs:
        assert "1990" <= leg.time_start[:4] <= "2100"
        assert 0 <= (leg.talk_duration or 0) <= (leg.call_duration or 0)


@pytest.mark.parametrize("count", [200, rounds(1_000_000, seconds_each=0.001)])
def test_mutated_report_is_a_possible_call_or_a_parse_error(count: int) -> None:
    for seed in range(count):
        try:
            check_mutated(seed)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
