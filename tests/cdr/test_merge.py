"""Merging of repeated reports of a record, by the event and by rows of the PBX's list, in any order."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call, to_reported_leg
from onhook.cdr.call_details import CallDetails
from onhook.cdr.identity import leg_channels
from onhook.cdr.merge import merge_details
from onhook.cdr.record import Call
from tests.factories import SN, details

RECEIVED_AT = datetime(2026, 4, 27, 12, tzinfo=UTC)
EVENT = details(
    call_from="1001",
    call_to="1002",
    agent_ring_time=7,
    enb_call_note=4,
    uid="20260427190436AB3D1",
    did_number="5550100",
    extra={"is_display": 1},
)
ROW = msgspec.structs.replace(
    EVENT,
    call_from="Alice<1001>",
    call_to="Bob<1002>",
    status="answered",
    agent_ring_time=None,
    enb_call_note=1,
    did_number="Sales<5550100>",
    pin_code="",
    extra={"new_id": "67C67519-D30000CD"},
)


def reported(call_details: CallDetails, seq: int, via: str) -> ReportedLeg:
    return ReportedLeg(details=call_details, seq=seq, via=via, received_at=RECEIVED_AT)


def assemble(*reports: ReportedLeg) -> Call:
    return assemble_call(SN, reports, PbxFacts())


def test_merge_row_with_same_content_keeps_event() -> None:
    """The row adds names, has other notations and lacks fields; the record stays the event's."""
    event_only, event_and_row = (
        assemble(reported(EVENT, 1, "webhook")),
        assemble(reported(EVENT, 1, "webhook"), reported(ROW, 2, "backfill")),
    )
    assert event_and_row == event_only
    assert (event_and_row.legs[0].seq, event_and_row.legs[0].via) == (1, "webhook")


def test_merge_event_after_row_replaces_row() -> None:
    (leg,) = assemble(reported(ROW, 1, "backfill"), reported(EVENT, 2, "websocket")).legs
    assert (leg.seq, leg.via, leg.agent_ring_time, leg.extra) == (2, "websocket", 7, {"is_display": 1})
    assert (leg.call_from, leg.call_to, leg.status, leg.enb_call_note) == ("1001", "1002", EVENT.status, 4)


def test_merge_row_with_changes_corrects_event() -> None:
    """Values that the list does not have stay."""
    row = msgspec.structs.replace(ROW, status="VOICEMAIL", call_duration=31)
    (leg,) = assemble(reported(EVENT, 1, "webhook"), reported(row, 2, "backfill")).legs
    assert (leg.seq, leg.via, leg.status, leg.call_duration) == (2, "backfill", "VOICEMAIL", 31)
    assert (leg.agent_ring_time, leg.enb_call_note, leg.call_from) == (7, 4, "1001")


def test_merge_event_after_identical_row_takes_number_and_channel_of_event() -> None:
    """The first event of a record counts as its report, even if a row contained everything already."""
    (leg,) = assemble(reported(EVENT, 1, "import"), reported(EVENT, 2, "webhook")).legs
    assert (leg.seq, leg.via) == (2, "webhook")


def test_merge_row_after_identical_row_keeps_first_number_and_channel() -> None:
    (leg,) = assemble(reported(ROW, 1, "import"), reported(ROW, 2, "backfill")).legs
    assert (leg.seq, leg.via) == (1, "import")


@pytest.mark.parametrize(
    ("name", "old_value", "row_value", "expected"),
    [
        ("call_to", "1002", "Bob<1002>", "1002"),
        ("did_number", "5550100", "Sales<5550100>", "5550100"),
        ("type", "Inbound", "INBOUND", "Inbound"),
        ("src_trunk_name", "Main<1>", "Backup<1>", "Backup<1>"),
        ("did_name", "Sales<1>", "Support<1>", "Support<1>"),
    ],
)
def test_merge_row_with_other_notation_keeps_parties_and_words_alone(
    name: str, old_value: str, row_value: str, expected: str
) -> None:
    """Only parties are compared by number and only words without case: any other text that differs is a change."""
    old = msgspec.structs.replace(EVENT, **{name: old_value})
    row = msgspec.structs.replace(EVENT, **{name: row_value})
    assert getattr(merge_details(old, "webhook", row, "backfill"), name) == expected


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_merge_row_fills_fields_of_old_firmware(order: tuple[int, ...]) -> None:
    """The event of 2023 has no `uid`, the row has; in either order."""
    reports = [(msgspec.structs.replace(EVENT, uid="", enb_call_note=None), "webhook"), (ROW, "backfill")]
    (leg,) = assemble(
        *(reported(*reports[index][:1], seq, reports[index][1]) for seq, index in enumerate(order, 1))
    ).legs
    assert (leg.uid, leg.enb_call_note, leg.agent_ring_time, leg.extra) == (EVENT.uid, 1, 7, {"is_display": 1})


def test_merge_later_event_replaces_earlier_event() -> None:
    changed = msgspec.structs.replace(EVENT, did_number="5550111", talk_duration=1, status="VOICEMAIL")
    assert merge_details(EVENT, "webhook", changed, "websocket") == changed


@pytest.mark.parametrize("status", ["NO ANSWER", "NO_ANSWER", "no answer", "BUSY", "FAILED", ""])
def test_merge_later_event_that_says_less_undoes_nothing(status: str) -> None:
    """An answered call stays answered, with its talk, and a recording stays named; all else is the event's."""
    first = msgspec.structs.replace(EVENT, status="ANSWERED", talk_duration=50, call_duration=60, recording="a.wav")
    less = msgspec.structs.replace(
        EVENT, status=status, talk_duration=0, call_duration=9, recording="", did_number="", src_trunk_name="Main"
    )
    merged = merge_details(first, "webhook", less, "websocket")
    assert (merged.status, merged.talk_duration, merged.call_duration) == ("ANSWERED", 50, 60)
    assert (merged.recording, merged.did_number, merged.src_trunk_name) == ("a.wav", EVENT.did_number, "Main")


def test_merge_later_event_without_talk_keeps_that_of_the_answer() -> None:
    answered = msgspec.structs.replace(EVENT, call_duration=60, talk_duration=50)
    unfinished = msgspec.structs.replace(EVENT, call_duration=10, talk_duration=0)
    assert merge_details(answered, "webhook", unfinished, "webhook") == answered
    corrected = msgspec.structs.replace(EVENT, call_duration=60, talk_duration=45)
    assert merge_details(answered, "webhook", corrected, "webhook") == corrected


def test_merge_later_event_that_says_less_is_the_leg_s_last_report() -> None:
    """So that its raw event is kept as long as the leg."""
    less = msgspec.structs.replace(EVENT, status="BUSY")
    (leg,) = assemble(reported(EVENT, 1, "webhook"), reported(less, 2, "webhook")).legs
    assert (leg.seq, leg.status) == (2, EVENT.status)


def test_merge_later_event_that_says_more_replaces_one_that_said_less() -> None:
    less = msgspec.structs.replace(EVENT, status="NO ANSWER", talk_duration=0, recording="")
    assert merge_details(less, "webhook", EVENT, "webhook") == EVENT


def test_merge_row_undoes_an_answer() -> None:
    """The PBX's own list has the last word."""
    row = msgspec.structs.replace(ROW, status="NO ANSWER", talk_duration=0)
    assert merge_details(EVENT, "webhook", row, "backfill").status == "NO ANSWER"


def test_merge_later_event_of_a_named_leg_replaces_all() -> None:
    """A PBX that names its legs corrects them."""
    named = msgspec.structs.replace(EVENT, extra={"channel": "PJSIP/1001-00000001"})
    less = msgspec.structs.replace(named, status="NO ANSWER", talk_duration=0, recording="")
    assert leg_channels(named)
    assert merge_details(named, "ami", less, "ami") == less


@given(
    st.lists(st.tuples(st.sampled_from(["webhook", "websocket", "backfill", "import"]), st.integers(0, 3)), min_size=1)
)
def test_merge_in_batches_equals_merge_at_once(reports: list[tuple[str, int]]) -> None:
    """Stored legs contain everything that assembly with later reports needs."""
    kinds = (
        EVENT,
        ROW,
        msgspec.structs.replace(ROW, status="BUSY"),
        msgspec.structs.replace(EVENT, talk_duration=None),
    )
    reported_legs = [reported(kinds[kind], seq, via) for seq, (via, kind) in enumerate(reports, 1)]
    at_once = assemble(*reported_legs)
    in_batches = assemble(reported_legs[0])
    for reported_leg in reported_legs[1:]:
        in_batches = assemble(*map(to_reported_leg, in_batches.legs), reported_leg)
    assert in_batches == at_once


@pytest.mark.parametrize("note", ["calls back", "", None])
def test_merge_details_note_on_the_pbx_is_kept(note: str | None) -> None:
    """The list of the PBX has it, its events do not: whichever comes first."""
    event = details(extra={"is_display": 1})
    row = details(extra={"call_note": note})
    expected = {"is_display": 1} | ({"call_note": note} if note else {})
    assert merge_details(event, "webhook", row, "backfill").extra == expected
    assert merge_details(row, "backfill", event, "webhook").extra == expected
    merged = merge_details(event, "webhook", row, "backfill")
    assert merge_details(merged, "webhook", row, "backfill") == merged
