"""Calls that a real Asterisk or FreePBX reported in a way that is easily misread, and what happened in truth.

Streams are in `streams/`, CDR tables in `tables/`; the truth is in the channel events and in what was dialled.
"""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call
from onhook.cdr.record import Call
from onhook.pbx.asterisk.call import CallHeader, format_body
from onhook.pbx.asterisk.call_collector import MISSING_CDR_SECONDS, AsteriskParserConfig, CallCollector
from onhook.pbx.asterisk.files import collect_calls, parse_rows
from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.cdr_archive import ArchivedCall
from tests.pbx.asterisk.ami_streams import build_event, events

TABLES = Path(__file__).parent / "tables"
CONFIG = AsteriskParserConfig(
    trunks=("trunk-a", "trunk-b", "i1", "33", "voipms"), inbound_contexts=("from-trunk", "from-pstn")
)


def read_stream(name: str) -> list[Call]:
    """Return the calls of a recorded stream."""
    collector = CallCollector(CONFIG)
    collected_calls = [call for event in events(name) for call in collector.add_event(event, now=1.0)]
    collected_calls += collector.pop_completed(2.0 + MISSING_CDR_SECONDS)
    return assemble_calls([call.body for call in collected_calls])


def read_table(name: str) -> list[Call]:
    """Return the calls of a CDR table."""
    lines = (TABLES / f"{name}.csv").read_text("utf-8").splitlines(keepends=True)
    calls = [call for call in collect_calls(parse_rows(lines), CONFIG) if isinstance(call, ArchivedCall)]
    return assemble_calls([call.body for call in calls])


def assemble_calls(bodies: list[bytes]) -> list[Call]:
    legs_by_call: dict[str, list[ReportedLeg]] = {}
    for seq, body in enumerate(bodies, 1):
        for details in Asterisk().parse(body):
            leg = ReportedLeg(details=details, seq=seq, via="ami", received_at=datetime.now(UTC))
            legs_by_call.setdefault(details.call_id, []).append(leg)
    return [assemble_call("LAB", legs, PbxFacts(dialect="asterisk")) for legs in legs_by_call.values()]


def summary(call: Call) -> tuple[str, str, str, str, str, int | None]:
    return call.type, call.status, call.call_from, call.call_to, call.answered_by, call.talk_duration


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("outbound_caller_id", ("Outbound", "ANSWERED", "Alice<1001>", "85550123", "85550123", 2)),
        ("originated", ("Outbound", "ANSWERED", "Bob<1002>", "95550123", "95550123", 7)),
        ("originated_through_local", ("Outbound", "ANSWERED", "Bob<1002>", "95550123", "95550123", 6)),
        ("originated_unanswered", ("Outbound", "NO ANSWER", "Dave<1004>", "95550123", "", 0)),
        ("summer_time_begins", ("Inbound", "ANSWERED", "Outside<5550199>", "Bob<1002>", "1002", 7)),
        ("summer_time_ends", ("Inbound", "ANSWERED", "Outside<5550199>", "Bob<1002>", "1002", 7)),
        ("announcement", ("Inbound", "ANSWERED", "Outside<5550199>", "app-announcement-1", "1002", 1)),
        ("ring_group_of_local_channels", ("Inbound", "ANSWERED", "Outside<5550199>", "600", "1002", 3)),
        ("queue_of_local_channels", ("Inbound", "ANSWERED", "Outside<5550199>", "fpq<6410>", "4006", 8)),
        ("queue_overflow", ("Inbound", "ANSWERED", "Outside<5550199>", "empty-desk<6412>", "4006", 4)),
        ("unregistered_without_cdr", ("Inbound", "FAILED", "Outside<5550199>", "2009", "", 0)),
    ],
)
def test_stream_gives_the_call_that_happened(name: str, expected: tuple[str, str, str, str, str, int]) -> None:
    (call,) = read_stream(name)
    assert summary(call) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("outbound_cid", [("Outbound", "ANSWERED", "1001", "95550123", "95550123", 60)]),
        ("header_with_bom", [("Outbound", "ANSWERED", "1001", "95550123", "95550123", 60)]),
        ("conference_with_answer_column", [("Internal", "ANSWERED", "Alice<1001>", "6500", "6500", 58)]),
        ("conference_without_answer_column", [("Internal", "ANSWERED", "Alice<1001>", "6500", "6500", 58)]),
        ("second_device", [("Inbound", "ANSWERED", "5550199", "201", "201", 20)]),
        ("snoop_externalmedia", [("Internal", "ANSWERED", "1001", "1002", "1002", 60)]),
        (
            "named_extensions",
            [
                ("Internal", "ANSWERED", "Bob<bob>", "alice", "alice", 30),
                ("Internal", "ANSWERED", "Ann<1001>", "101-acme", "101-acme", 30),
                ("Internal", "ANSWERED", "Ann<1001>", "1002", "1002", 30),
            ],
        ),
        ("queue_ringgroup_numbers", 8 * [("Inbound", "ANSWERED", "5550199", "600", "1001", 30)]),
        (
            "dahdi_iax2_trunks",
            [
                ("Inbound", "ANSWERED", "5550199", "1001", "1001", 60),
                ("Inbound", "ANSWERED", "5550199", "1001", "1001", 60),
                ("Inbound", "ANSWERED", "5550199", "1001", "1001", 60),
                ("Outbound", "ANSWERED", "1001", "95550123", "95550123", 60),
            ],
        ),
        (
            "dst_s_ivr_announcement",
            [
                ("Inbound", "ABANDONED", "5550199", "ivr-1", "", 0),
                ("Inbound", "ABANDONED", "5550199", "app-announcement-1", "", 0),
                ("Internal", "ANSWERED", "1001", "3000", "3000", 60),
                ("Internal", "ANSWERED", "1002", "3000", "3000", 55),
                ("Internal", "ABANDONED", "1001", "*43", "", 0),
            ],
        ),
    ],
)
def test_table_gives_the_calls_that_happened(name: str, expected: list[tuple[str, str, str, str, str, int]]) -> None:
    assert [summary(call) for call in read_table(name)] == expected


def test_outbound_caller_id_is_kept_beside_the_caller() -> None:
    (stream_call,), (table_call,) = read_stream("outbound_caller_id"), read_table("outbound_cid")
    assert stream_call.legs[0].extra["outbound_caller_id"] == "ACME <5550000>"
    assert table_call.legs[0].extra["outbound_caller_id"] == "ACME <5550000>"


def test_attempt_of_an_agent_who_did_not_answer_is_marked() -> None:
    (call,) = read_stream("originated_unanswered")
    assert call.legs[0].extra["originated"] == "attempt"


def test_two_queues_in_a_row_have_their_own_times() -> None:
    """A wait that timed out is no abandonment."""
    (call,) = read_stream("queue_overflow")
    queues = [leg for leg in call.legs if leg.extra["callee_kind"] == "queue"]
    assert [(leg.time_start[11:], leg.call_duration, "abandoned" in leg.extra) for leg in queues] == [
        ("03:17:15", 3, False),
        ("03:17:18", 4, False),
    ]


def test_member_called_through_a_local_channel_has_the_times_of_the_queue() -> None:
    (call,) = read_stream("queue_of_local_channels")
    (agent,) = (leg for leg in call.legs if leg.call_to == "Agent Six<4006>")
    assert (agent.agent_ring_time, agent.extra["hold_time"]) == (1, 5)


def test_announcement_has_a_row_and_no_part_of_the_ringing() -> None:
    (call,) = read_stream("announcement")
    assert [(leg.call_to, leg.time_start[11:], leg.ring_duration) for leg in call.legs] == [
        ("app-announcement-1", "03:31:50", 0),
        ("Bob<1002>", "03:31:53", 1),
    ]


def test_blind_transfer_is_found_though_times_are_cut_to_seconds() -> None:
    (call,) = read_stream("transfer_blind_by_extension")
    assert (call.legs[0].extra["transfer"], call.legs[0].extra["transferred_to"]) == ("blind", "1006")


def test_participants_who_enter_a_conference_in_one_second_are_two_records() -> None:
    (call,) = read_table("same_second_same_target")
    assert sorted(leg.call_from for leg in call.legs) == ["1001", "1002"]
    assert len({leg.record_id for leg in call.legs}) == 2


def test_call_with_a_cut_id_is_the_same_call() -> None:
    """A FreePBX's table cuts a UUID to 32 characters."""
    (from_table,) = read_table("uuid_truncated_by_freepbx_table")
    lines = (TABLES / "uuid_truncated_by_freepbx_table.csv").read_text().replace("7c2d1c1d", "7c2d1c1d2e3f")
    (with_whole_id,) = collect_calls(parse_rows(lines.splitlines(keepends=True)), CONFIG)
    assert isinstance(with_whole_id, ArchivedCall)
    (details,) = Asterisk().parse(with_whole_id.body)
    assert (details.call_id, details.time_start) == (from_table.call_id, from_table.legs[0].time_start)


@pytest.mark.parametrize(
    ("destination", "application", "answered_by"),
    [
        ("6400", ("Queue", "support,t"), "trunk-b"),
        ("600", ("Dial", "PJSIP/1001&PJSIP/5550177@trunk-b,20"), "5550177"),
    ],
)
@pytest.mark.parametrize(("caller", "direction"), [("trunk-a", "Inbound"), ("1002", "Internal")])
def test_call_that_a_member_outside_answers_has_the_direction_of_its_caller(
    destination: str, application: tuple[str, str], answered_by: str, caller: str, direction: str
) -> None:
    """The leg to the member goes out."""
    name, data = application
    cdr = build_event(
        "Cdr",
        LastApplication=name,
        LastData=data,
        LinkedID="1777309476.1",
        Source="5550199",
        Destination=destination,
        Channel=f"PJSIP/{caller}-00000001",
        DestinationChannel="PJSIP/trunk-b-00000002",
        StartTime="2026-04-27 19:04:36",
        Disposition="ANSWERED",
        Duration="10",
        BillableSeconds="7",
    )
    (call,) = assemble_calls([format_body(CallHeader(trunks=CONFIG.trunks), [cdr])])
    assert (call.type, call.call_to, call.answered_by, call.talk_duration) == (direction, destination, answered_by, 7)
    assert [leg.type for leg in call.legs] == [direction, "Outbound"]


@pytest.mark.parametrize("name", ["summer_time_begins", "summer_time_ends"])
def test_call_during_which_the_clock_is_changed_keeps_its_durations(name: str) -> None:
    ((leg,),) = (call.legs for call in read_stream(name))
    assert (leg.status, leg.talk_duration, leg.call_duration, leg.utc_offset) == ("ANSWERED", 7, 8, "+01:00")
