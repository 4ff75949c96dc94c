"""Acceptance tests of Grandstream UCM, G1 to G5, with samples that were constructed from public descriptions."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call
from onhook.cdr.call_details import CallDetails
from onhook.cdr.record import Call
from onhook.lib.errors import ParseError, UsageError
from onhook.pbx.grandstream.payload import Grandstream

PAYLOADS = Path(__file__).parents[2] / "payloads" / "grandstream"
REALTIME = (PAYLOADS / "grandstream_ucm_realtime_cdr.json").read_bytes()
CDRAPI = (PAYLOADS / "grandstream_ucm_cdrapi.json").read_bytes()
GRANDSTREAM = Grandstream()
QUEUE_ROWS: Mapping[str, Any] = json.loads(CDRAPI)["cdr_root"][0]


def changed(**members: object) -> bytes:
    """Return the real-time row with other members; None removes one."""
    row = json.loads(REALTIME) | members
    return json.dumps({name: value for name, value in row.items() if value is not None}).encode()


def assemble(details: Sequence[CallDetails]) -> list[Call]:
    calls: dict[str, list[ReportedLeg]] = {}
    for leg in details:
        reported_leg = ReportedLeg(details=leg, seq=1, via="webhook", received_at=datetime.now(UTC))
        calls.setdefault(leg.call_id, []).append(reported_leg)
    return [assemble_call("UCM", legs, PbxFacts(dialect="grandstream")) for legs in calls.values()]


def test_g1_realtime_row_is_a_call() -> None:
    """G1."""
    (details,) = GRANDSTREAM.parse(REALTIME)
    assert (details.time_start, details.call_from, details.call_to, details.call_duration, details.talk_duration) == (
        *("2026-02-01 10:30:00", "Ann Example<1001>", "+15550100234", 310, 305),
    )
    assert (details.type, details.status, details.dst_trunk_name) == ("Outbound", "ANSWERED", "OutboundTrunk")
    assert details.recording == "2026-02/auto-1769941800-1001-+15550100234.wav"
    (call,) = assemble([details])
    assert call.started_at == datetime(2026, 2, 1, 10, 30, tzinfo=UTC)
    assert call.legs[0].offset_from == "ids"
    assert GRANDSTREAM.parse_legs([REALTIME, REALTIME]) == [details]
    assert GRANDSTREAM.peek(REALTIME) == GRANDSTREAM.peek(json.dumps(json.loads(REALTIME), indent=3).encode())


def test_g2_g3_group_of_the_list_is_a_call_without_its_summary() -> None:
    """G2 and G3: the talk of a call by a queue counts once; a flat row is a call too."""
    queue_call, internal_call = sorted(assemble(GRANDSTREAM.parse(CDRAPI)), key=lambda call: call.started_at)
    assert (queue_call.type, queue_call.call_from, queue_call.call_to, queue_call.answered_by) == (
        *("Inbound", "+15550100001", "6500", "1002"),
    )
    assert (queue_call.talk_duration, queue_call.call_duration, queue_call.wait_duration) == (82, 122, 40)
    assert queue_call.recordings == ("2026-08/call.wav",)
    assert queue_call.started_at == datetime(2026, 8, 3, 7, 0, tzinfo=UTC)
    assert [(leg.call_to, leg.call_duration, leg.talk_duration, leg.agent_ring_time) for leg in queue_call.legs] == [
        ("6500", 122, 82, 8),
        ("1002", 90, 82, 8),
    ]
    assert (internal_call.type, internal_call.call_from, internal_call.call_to, internal_call.status) == (
        *("Internal", "1001", "1002", "NO ANSWER"),
    )
    assert (internal_call.call_duration, internal_call.talk_duration) == (20, 0)


def test_stages_that_come_one_by_one_are_the_same_call() -> None:
    rows = [QUEUE_ROWS["main_cdr"], QUEUE_ROWS["sub_cdr_1"], QUEUE_ROWS["sub_cdr_2"]]
    session = {"session": rows[0]["session"], "userfield": "Inbound"}
    bodies = [json.dumps(row | session).encode() for row in rows[1:]]
    links = [GRANDSTREAM.read_links(body) for body in bodies]
    assert links[0].linked_ids == links[1].linked_ids == {"1785740400-1"}
    assert links[0].leg_id != links[1].leg_id
    (call,) = assemble(GRANDSTREAM.parse_legs(bodies))
    assert (call.talk_duration, call.answered_by) == (82, "1002")
    group = json.dumps({"cdr_root": [QUEUE_ROWS]}).encode()
    assert len(GRANDSTREAM.parse_legs([group, *bodies])) == len(GRANDSTREAM.parse_legs([*bodies, group])) == 2


@pytest.mark.parametrize("first", [["main_cdr"], ["sub_cdr_1"], ["main_cdr", "sub_cdr_2"], ["flat"]])
def test_summary_in_another_body_than_its_stages_is_no_talk(first: Sequence[str]) -> None:
    """In any order, with repeats: a row that was a summary once is one, also where it comes without its stages."""
    main = {**QUEUE_ROWS["main_cdr"], "dst": "5550199"}
    stage = {"session": main["session"], "userfield": "Inbound"}
    group = {"main_cdr": main, **{name: QUEUE_ROWS[name] | stage for name in ("sub_cdr_1", "sub_cdr_2")}}
    expected = GRANDSTREAM.parse(json.dumps(group).encode())
    assert [details.call_to for details in expected] == ["6500", "1002"]
    part = {**main, "reason": "x", "channel": "y"} if first == ["flat"] else {name: group[name] for name in first}
    rest = group if first == ["flat"] else {name: row for name, row in group.items() if name not in first}
    bodies = [json.dumps(body).encode() for body in (part, rest, group)]
    for own_bodies in ([*bodies, bodies[0]], bodies[::-1], bodies[:2], [bodies[1], bodies[0]]):
        assert GRANDSTREAM.parse_legs(own_bodies) == expected
    assert [details.call_to for details in GRANDSTREAM.parse_legs([json.dumps({"main_cdr": main}).encode()] * 2)] == [
        "5550199"
    ]


def test_summary_that_no_body_calls_so_is_known_by_its_times_beside_flat_stages() -> None:
    """In any order; without them, or with one alone, it is a row like others."""
    session = {"session": "1785740400-1", "userfield": "Inbound"}
    flat = {name: json.dumps(QUEUE_ROWS[name] | session).encode() for name in ("main_cdr", "sub_cdr_1", "sub_cdr_2")}
    expected = GRANDSTREAM.parse_legs([flat["sub_cdr_1"], flat["sub_cdr_2"]])
    for order in permutations(flat.values()):
        assert GRANDSTREAM.parse_legs(order) == expected
    assert len(GRANDSTREAM.parse_legs([flat["main_cdr"]])) == 1
    assert len(GRANDSTREAM.parse_legs([flat["main_cdr"], flat["sub_cdr_2"]])) == 2
    unanswered = {"answer": "", "billsec": "0", "disposition": "NO ANSWER"}
    rows = [json.dumps(QUEUE_ROWS[name] | session | unanswered).encode() for name in flat]
    assert [details.call_to for details in GRANDSTREAM.parse_legs(rows)] == ["6500", "1002"]


@pytest.mark.parametrize(
    "changes",
    [
        {"start": "2026-08-03 08:59:59"},
        {"answer": "2026-08-03 09:00:03"},
        {"end": "2026-08-03 09:02:03"},
        {"end": ""},
        {"action_type": "IVR[7000]"},
    ],
    ids=repr,
)
def test_row_with_other_times_than_the_others_or_of_a_machine_is_a_stage(changes: Mapping[str, str]) -> None:
    session = {"session": "1785740400-1", "userfield": "Inbound"}
    rows = [QUEUE_ROWS["main_cdr"] | changes, QUEUE_ROWS["sub_cdr_1"], QUEUE_ROWS["sub_cdr_2"]]
    assert len(GRANDSTREAM.parse_legs([json.dumps(row | session).encode() for row in rows])) == 3


def test_row_that_lasts_as_long_as_another_one_is_a_stage() -> None:
    """As of two telephones that rang together, and were answered one after the other."""
    session = {"session": "1785740400-1", "userfield": "Inbound"}
    other = {**QUEUE_ROWS["main_cdr"], "AcctId": "805", "dst": "1003", "answer": "2026-08-03 09:00:02"}
    rows = [QUEUE_ROWS["main_cdr"], other, QUEUE_ROWS["sub_cdr_1"], QUEUE_ROWS["sub_cdr_2"]]
    assert len(GRANDSTREAM.parse_legs([json.dumps(row | session).encode() for row in rows])) == 4


def test_stages_that_begin_in_one_second_are_in_the_order_of_their_numbers() -> None:
    queue = {**QUEUE_ROWS["sub_cdr_1"], "AcctId": "999"}
    mailbox = {**QUEUE_ROWS["sub_cdr_2"], "AcctId": "1000", "action_type": "VM[6500]", "start": queue["start"]}
    body = json.dumps({"main_cdr": {"session": "s"}, "sub_cdr_1": queue, "sub_cdr_2": mailbox})
    assert [details.status for details in GRANDSTREAM.parse(body.encode())] == ["NO ANSWER", "VOICEMAIL"]


def test_queue_row_whose_agent_ends_years_later_keeps_its_own_duration() -> None:
    agent = {**QUEUE_ROWS["sub_cdr_2"], "end": "2099-01-01 00:00:00"}
    body = json.dumps({"main_cdr": {"session": "s"}, "sub_cdr_1": QUEUE_ROWS["sub_cdr_1"], "sub_cdr_2": agent})
    assert [details.call_duration for details in GRANDSTREAM.parse(body.encode())] == [32, 90]


def test_talk_of_a_queue_is_no_longer_than_its_row_where_the_agent_ends_too_early() -> None:
    """The end of the agent's row is wrong, as where a clock was set back during the call."""
    group = json.loads(json.dumps(QUEUE_ROWS))
    for name, row in group.items():
        if name.startswith("sub_cdr") and row["action_type"].startswith("QUEUE"):
            row["end"] = "2026-08-03 09:00:32"
    for details in GRANDSTREAM.parse(json.dumps(group).encode()):
        assert details.call_duration is not None
        assert details.talk_duration is not None
        assert details.talk_duration <= details.call_duration


def test_peek_of_a_name_that_is_no_text_is_an_event() -> None:
    body = changed().replace(b'"AcctId"', b'"\\ud800": 1, "AcctId"')
    assert GRANDSTREAM.peek(body).kind == "details"


def test_names_of_members_are_read_in_any_case() -> None:
    assert GRANDSTREAM.parse(REALTIME.replace(b"AcctId", b"acctid")) == GRANDSTREAM.parse(REALTIME)
    assert GRANDSTREAM.peek(REALTIME.replace(b"AcctId", b"ACCTID")) == GRANDSTREAM.peek(REALTIME)


def test_g4_row_of_the_list_after_its_report_is_one_record() -> None:
    """G4: the row with more members counts, in any order."""
    shorter = changed(channel=None, lastdata=None, recordfiles=None)
    for bodies in ([REALTIME, shorter], [shorter, REALTIME]):
        (details,) = GRANDSTREAM.parse_legs(bodies)
        assert details.recording
    assert GRANDSTREAM.read_links(REALTIME) == GRANDSTREAM.read_links(shorter)


@pytest.mark.parametrize("answer", ["", "0000-00-00 00:00:00", "0", None])
def test_g5_row_without_an_answer_is_unanswered(answer: str | None) -> None:
    """G5."""
    for disposition, status in (("NO ANSWER", "NO ANSWER"), ("ANSWERED", "NO ANSWER"), ("BUSY", "BUSY")):
        (details,) = GRANDSTREAM.parse(changed(answer=answer, disposition=disposition, billsec="0"))
        assert (details.status, details.talk_duration, details.call_duration) == (status, 0, 310)
    (details,) = GRANDSTREAM.parse(changed(answer=answer, disposition=None))
    assert details.status == "NO ANSWER"


def test_xml_rows_are_the_same_as_those_of_json() -> None:
    row = json.loads(REALTIME)
    text = "".join(f"<{name}>{value.replace('<', '&lt;')}</{name}>" for name, value in row.items())
    body = f"<?xml version='1.0'?>\n<root><cdr>{text}</cdr></root>".encode()
    assert GRANDSTREAM.parse(body) == GRANDSTREAM.parse(REALTIME)
    assert GRANDSTREAM.peek(body) == GRANDSTREAM.peek(REALTIME)
    two = f"<root><cdr>{text}</cdr><cdr>{text.replace('>812<', '>813<')}</cdr></root>".encode()
    assert len(GRANDSTREAM.parse(two)) == 2


@pytest.mark.parametrize(
    ("members", "kind", "status", "call_to"),
    [
        ({"action_type": "IVR[7000]", "dst": "7000"}, "ivr", "ANSWERED", "7000"),
        ({"action_type": "VM[1001]", "dst": "1001"}, "voicemail", "VOICEMAIL", "1001"),
        ({"action_type": "RINGGROUP[6300]", "dst": "6300", "dstanswer": ""}, "ring_group", "ANSWERED", "6300"),
        ({"action_type": "RINGGROUP[6300]", "dst": "6300", "dstanswer": "1002"}, "extension", "ANSWERED", "1002"),
        ({"action_type": "QUEUE[6500]", "dst": "6500", "dstanswer": ""}, "queue", "ABANDONED", "6500"),
        ({"action_type": "QUEUE[6500]", "dst": "1002", "dstanswer": ""}, "extension", "ANSWERED", "1002"),
        ({"action_type": "", "dst": "", "dstanswer": "1002"}, None, "ANSWERED", "1002"),
        ({"action_type": "]"}, None, "ANSWERED", "+15550100234"),
    ],
)
def test_action_says_who_was_called(members: Mapping[str, str], kind: str | None, status: str, call_to: str) -> None:
    (details,) = GRANDSTREAM.parse(changed(**members))
    assert (details.extra.get("callee_kind"), details.status, details.call_to) == (kind, status, call_to)


def test_queue_that_is_left_for_a_mailbox_is_not_abandoned() -> None:
    queue, mailbox = dict(QUEUE_ROWS["sub_cdr_1"]), dict(QUEUE_ROWS["sub_cdr_2"])
    mailbox |= {"action_type": "VM[6500]", "dstanswer": ""}
    body = json.dumps({"cdr_root": [{"main_cdr": {"session": "s"}, "sub_cdr_1": queue, "sub_cdr_2": mailbox}]})
    assert [details.status for details in GRANDSTREAM.parse(body.encode())] == ["NO ANSWER", "VOICEMAIL"]


def test_queue_row_without_ends_keeps_its_own_duration() -> None:
    queue, agent = dict(QUEUE_ROWS["sub_cdr_1"]), {**QUEUE_ROWS["sub_cdr_2"], "end": ""}
    main = QUEUE_ROWS["main_cdr"]
    body = json.dumps({"main_cdr": main, "sub_cdr_1": queue, "sub_cdr_2": agent}).encode()
    assert [details.call_duration for details in GRANDSTREAM.parse(body)] == [32, 90]
    without_stages = GRANDSTREAM.parse(json.dumps({"main_cdr": main}).encode())
    assert [details.call_to for details in without_stages] == ["6500"]
    agent |= {"duration": ""}
    (_queue, details) = GRANDSTREAM.parse(
        json.dumps({"main_cdr": main, "sub_cdr_1": queue, "sub_cdr_2": agent}).encode()
    )
    assert (details.call_duration, details.talk_duration, details.agent_ring_time) == (None, 82, None)


@pytest.mark.parametrize(
    ("members", "expected_type"),
    [
        ({"userfield": "EXT"}, "Outbound"),
        ({"userfield": "", "src_trunk_name": "T"}, "Inbound"),
        ({"userfield": "", "dst_trunk_name": ""}, "Internal"),
    ],
)
def test_type_without_a_known_word_is_that_of_the_trunks(members: Mapping[str, str], expected_type: str) -> None:
    assert GRANDSTREAM.parse(changed(**members))[0].type == expected_type


def test_row_has_names_ids_recordings_and_durations_as_far_as_they_are_there() -> None:
    (details,) = GRANDSTREAM.parse(
        changed(caller_name=None, recordfiles="a.wav@b.wav@", duration=None, session=None, uniqueid=None, AcctId=7)
    )
    assert (details.call_from, details.recording, details.extra["further_recordings"]) == (
        *("Ann Example<1001>", "a.wav", ["b.wav"]),
    )
    assert (details.call_duration, details.call_id) == (310, "20260201103000-7")
    assert "utc_offset_seconds" not in details.extra
    (details,) = GRANDSTREAM.parse(changed(caller_name="1001", duration="x", end="", src="1001"))
    assert (details.call_from, details.call_duration, details.talk_duration) == ("1001", None, 305)
    (details,) = GRANDSTREAM.parse(changed(end="2026-02-01 10:00:00", duration="9" * 9, billsec=None))
    assert (details.call_duration, details.talk_duration) == (None, 0)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (changed(AcctId=""), "AcctId is empty"),
        (b'{"AcctId": "1"}', "no start"),
        (changed(start="1/2/2026"), "start is no time"),
        (changed(end="1/2/2026"), "end is no time"),
        (b'{"x": "AcctId"}', "no row"),
        (b"[" * 10 + b'{"AcctId": "1"}' + b"]" * 10, "no row"),
        (b"<root>AcctId", "damaged"),
        (b"<!DOCTYPE x><root>AcctId</root>", "declaration"),
        (b"<root><a><a><a><a><a><a><a><AcctId>1</AcctId></a></a></a></a></a></a></a></root>", "no row"),
        (json.dumps([json.loads(REALTIME)] * 1_001).encode(), "more than 1000 rows"),
    ],
)
def test_body_that_is_no_row_is_refused_with_a_reason(body: bytes, reason: str) -> None:
    with pytest.raises(ParseError, match=reason):
        GRANDSTREAM.parse(body)
    assert GRANDSTREAM.peek(body).kind == "unparsable"


def test_peek_of_something_else_is_no_event() -> None:
    assert GRANDSTREAM.peek(b"AcctId").kind == "not_json"
    assert GRANDSTREAM.peek(b"{}").kind == "not_json"
    assert GRANDSTREAM.recognizes(REALTIME)


def test_format_of_another_name_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown payload format"):
        GRANDSTREAM.format(GRANDSTREAM.parse(REALTIME)[0], "UCM", "csv")
