"""What a line of 3CX says: the samples, each by the name of its acceptance test."""

from pathlib import Path
from typing import Any

import pytest

from onhook.cdr.call_details import CallDetails
from onhook.cdr.number_plan import NumberPlan
from onhook.lib.errors import ParseError
from onhook.pbx.lines import LineSplitter
from onhook.pbx.threecx.fields import parse_order
from onhook.pbx.threecx.payload import ThreeCx

PAYLOADS = Path(__file__).parents[2] / "payloads" / "lines"
THREE_CX = ThreeCx()
OUTBOUND, QUEUE = "3cx_v20_2024_outbound_27_fields.txt", "3cx_v20_2024_inbound_queue_27_fields.txt"
V18, COMMA = "3cx_v18_2023_queue_20_fields.txt", "3cx_v20_comma_in_name_27_fields.txt"
REORDERED = "3cx_v20_2026_reordered_20_fields.txt"
REORDERED_FIELDS = (
    "time-start, to-no, from-dn, duration, time-answered, time-end, reason-terminated, reason-changed,"
    " missed-queue-calls, from-no, dial-no, to-dn, final-number, final-dn, from-type, to-type, final-type,"
    " from-dispname, to-dispname, final-dispname"
)


def load(name: str) -> bytes:
    return (PAYLOADS / name).read_bytes()


def parse(body: bytes) -> CallDetails:
    (details,) = THREE_CX.parse(body)
    return details


def values_of(details: CallDetails, *names: str) -> dict[str, Any]:
    return {name: getattr(details, name) for name in names}


EXPECTED = {
    OUTBOUND: {
        "call_id": "4cc2c72490010000_26808",
        "time_start": "2024-06-17 05:59:49",
        "call_from": "Backup no2<10016>",
        "call_to": "+46700000082",
        "call_duration": 34,
        "talk_duration": 25,
        "status": "ANSWERED",
        "type": "Outbound",
        "src_trunk_name": "",
        "dst_trunk_name": "10020",
    },
    QUEUE: {
        "call_id": "89d3af2d8f010000_3456",
        "time_start": "2024-04-30 06:27:28",
        "call_from": "0700000000",
        "call_to": "Sven Last name Last Name<10013>",
        "call_duration": 498,
        "talk_duration": 490,
        "status": "ANSWERED",
        "type": "Inbound",
        "src_trunk_name": "10020",
        "dst_trunk_name": "",
    },
    V18: {
        "call_id": "00000C21DE5C2470_6531",
        "time_start": "2023-09-19 13:33:54",
        "call_from": "+353860000149",
        "call_to": "504",
        "call_duration": 337,
        "talk_duration": 336,
        "status": "ANSWERED",
        "type": "Inbound",
        "src_trunk_name": "10021",
        "dst_trunk_name": "",
    },
    COMMA: {
        "call_id": "89d3af2d8f010000_3457",
        "time_start": "2024-04-30 06:40:00",
        "call_from": "0700000000",
        "call_to": "Example, Dina<101>",
        "call_duration": 35,
        "talk_duration": 30,
        "status": "ANSWERED",
        "type": "Inbound",
        "src_trunk_name": "10020",
        "dst_trunk_name": "",
    },
}


@pytest.mark.parametrize("name", EXPECTED)
def test_x1_to_x4_line_of_sample_has_its_details(name: str) -> None:
    details = parse(load(name))
    assert values_of(details, *EXPECTED[name]) == EXPECTED[name]


def test_x1_cost_of_the_3cx_is_kept_beside_the_call() -> None:
    assert parse(load(OUTBOUND)).extra["bill_cost"] == "0.43"


def test_x2_queue_of_an_answered_call_is_kept() -> None:
    details = parse(load(QUEUE))
    assert (details.extra["queue"], details.extra["callee_kind"]) == ("80002", "extension")


def test_x3_line_without_types_may_be_answered_by_a_machine() -> None:
    details = parse(load(V18))
    assert details.extra["answered_by_machine_possible"] is True
    assert details.extra["chain"] == "Chain: +353860000149'Ext.960;Ext.963;Ext.509;Ext.504;"
    assert "callee_kind" not in details.extra


def test_x5_names_that_cannot_be_separated_are_empty() -> None:
    body = load(QUEUE).replace(b"Partnersupport,Sven Last name Last Name", b"Support, North,Last, Sven")
    details = parse(body)
    assert values_of(details, "call_from", "call_to", "call_duration", "talk_duration") == {
        "call_from": "0700000000",
        "call_to": "10013",
        "call_duration": 498,
        "talk_duration": 490,
    }
    assert details.extra["names"] == "0700000000,Support, North,Last, Sven"


def test_x6_reordered_line_needs_a_declared_order() -> None:
    with pytest.raises(ParseError, match="first field is no history id: declare the field order"):
        THREE_CX.parse(load(REORDERED))
    (details,) = THREE_CX.parse_in_order(load(REORDERED), parse_order(REORDERED_FIELDS))
    names = ("type", "call_from", "call_to", "talk_duration", "call_duration", "dst_trunk_name", "status")
    assert values_of(details, *names) == {
        "type": "Outbound",
        "call_from": "Ann Example<5490>",
        "call_to": "0500000250",
        "talk_duration": 9,
        "call_duration": 13,
        "dst_trunk_name": "10000",
        "status": "ANSWERED",
    }
    # No field has an id: that of the call is made of its parties and its start.
    assert details.call_id.startswith("line-")
    assert THREE_CX.parse_in_order(load(REORDERED), parse_order(REORDERED_FIELDS))[0].call_id == details.call_id


def test_x8_lines_are_the_same_however_they_are_cut() -> None:
    line, other_line = load(OUTBOUND), load(QUEUE)
    splitter = LineSplitter()
    assert splitter.feed(line[:100]) == []
    assert splitter.feed(line[100:]) == [line.rstrip()]
    assert splitter.feed(line + other_line) == [line.rstrip(), other_line.rstrip()]
    assert splitter.feed(line.rstrip()) == []
    assert splitter.flush() == [line.rstrip()]
    assert splitter.flush() == []


def test_x10_line_without_an_answer_has_no_talk() -> None:
    body = load(QUEUE).replace(b"00:08:10,2024/04/30 06:27:28,2024/04/30 06:27:36", b",2024/04/30 06:27:28,")
    details = parse(body)
    assert values_of(details, "status", "talk_duration", "call_duration", "call_to") == {
        "status": "NO ANSWER",
        "talk_duration": 0,
        "call_duration": 498,
        "call_to": "Partnersupport<80002>",
    }


def test_x11_words_of_both_generations_mean_the_same() -> None:
    body = load(QUEUE)
    new_words = (
        (b"TerminatedByDst", b"dst_participant_terminated"),
        (b",Line,Queue,Extension,", b",external_line,queue,extension,"),
    )
    new_body = body
    for old, new in new_words:
        assert old in new_body
        new_body = new_body.replace(old, new)
    details, new_details = parse(body), parse(new_body)
    assert new_details.extra.pop("reason_terminated") != details.extra.pop("reason_terminated")
    assert new_details == details
    assert details.extra["ended_by"] == "callee"


@pytest.mark.parametrize(
    ("final_type", "number", "status", "kind"),
    [
        ("Queue", "80003", "ANSWERED", "queue"),
        ("ivr", "80003", "ANSWERED", "ivr"),
        ("RingGroup", "80003", "ANSWERED", "ring_group"),
        ("VMail", "80002", "VOICEMAIL", "voicemail"),
    ],
)
def test_line_that_a_machine_answered_is_marked(final_type: str, number: str, status: str, kind: str) -> None:
    body = (
        load(QUEUE).replace(b"Ext.10013,10013", b"Ext.80003,80003").replace(b",Extension,", f",{final_type},".encode())
    )
    details = parse(body.replace(b"Partnersupport,Sven Last name Last Name", b","))
    assert (details.call_to, details.status, details.extra["callee_kind"]) == (number, status, kind)
    assert NumberPlan().kind_of_leg(details) == kind


@pytest.mark.parametrize(
    ("reason", "status"),
    [("Failed_Busy", "BUSY"), ("no_route", "FAILED"), ("Failed_Cancelled", "NO ANSWER"), ("polling", "NO ANSWER")],
)
def test_line_that_was_not_answered_has_the_status_of_its_reason(reason: str, status: str) -> None:
    body = load(OUTBOUND).replace(b"2024/06/17 05:59:58", b"").replace(b"TerminatedBySrc", reason.encode())
    assert parse(body).status == status


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        # Internal, without types: by the words before the numbers.
        (b"+353860000149,Ext.960,10021", b"Ext.101,Ext.960,101", ("Internal", "", "")),
        (b"+353860000149,Ext.960,10021,960,960,QFwdToDNA,Ext.504,504", b"Ext.101,0700,101,10021,0700,,0700,10021",
         ("Outbound", "", "10021")),
    ],
)  # fmt: skip
def test_line_without_types_has_its_direction_by_the_numbers(old: bytes, new: bytes, names: tuple[str, ...]) -> None:
    body = load(V18)
    assert old in body
    details = parse(body.replace(old, new))
    assert (details.type, details.src_trunk_name, details.dst_trunk_name) == names
    assert details.call_from == "101"


def test_line_of_a_call_that_was_forwarded_outside_has_both_trunks() -> None:
    body = load(QUEUE).replace(b"Ext.10013,10013", b"0700000009,10021").replace(b",Extension,", b",Line,")
    details = parse(body.replace(b"Sven Last name Last Name", b""))
    names = (details.type, details.src_trunk_name, details.dst_trunk_name, details.call_to)
    assert names == ("Inbound", "10020", "10021", "0700000009")


def test_line_at_which_the_clock_was_put_back_has_no_duration() -> None:
    body = load(OUTBOUND).replace(b"2024/06/17 06:00:23", b"2024/06/17 05:00:23")
    details = parse(body)
    assert (details.call_duration, details.talk_duration) == (None, 25)


def test_line_without_duration_has_the_talk_of_its_times() -> None:
    assert parse(load(OUTBOUND).replace(b"00:00:25", b"")).talk_duration == 25
    assert parse(load(OUTBOUND).replace(b"00:00:25", b"09:00:00")).talk_duration == 34


def test_line_without_called_number_has_the_final_one() -> None:
    body = load(OUTBOUND).replace(b"2024/06/17 05:59:58", b"").replace(b"Ext.10016,+46700000082", b"Ext.10016,")
    body = body.replace(b",Line,Line,", b",,Line,")
    assert parse(body).call_to == "+46700000082"


def test_line_of_an_answered_call_without_final_number_has_the_called_one() -> None:
    body = load(QUEUE).replace(b"Ext.10013,10013", b",")
    assert parse(body).call_to == "Partnersupport<80002>"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"Call 1,2,3", "it has 3 values"),
        (load(OUTBOUND).replace(b"2024/06/17 05:59:49", b"today"), "time-start is no time: 'today'"),
        (load(OUTBOUND).replace(b"2024/06/17 05:59:49", b"1970/01/01 00:00:00"), "time-start is no time"),
        (load(OUTBOUND).replace(b"2024/06/17 06:00:23", b""), "time-end is no time"),
        (load(OUTBOUND).replace(b"4cc2c72490010000_26808", b"4" * 201), "callid is longer"),
    ],
)
def test_line_without_a_call_is_refused_with_its_reason(body: bytes, reason: str) -> None:
    with pytest.raises(ParseError, match=reason):
        THREE_CX.parse(body)


def test_peek_key_of_a_line_is_equal_for_repeats() -> None:
    envelope = THREE_CX.peek(load(OUTBOUND))
    assert (envelope.kind, envelope.sn, envelope.label) == ("details", "", "line")
    assert THREE_CX.peek(load(OUTBOUND).rstrip()) == envelope
    assert THREE_CX.peek(load(QUEUE)).key != envelope.key
    assert THREE_CX.peek(load(QUEUE)).key < envelope.key  # earlier
    assert THREE_CX.peek(b"GET / HTTP/1.1").kind == "not_json"
