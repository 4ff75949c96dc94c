"""A record that is reported again: by the event, by a row of the PBX's list, in any order."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call, to_reported_leg
from onhook.cdr.call_details import CallDetails
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


def said(one: CallDetails, seq: int, via: str) -> ReportedLeg:
    return ReportedLeg(details=one, seq=seq, via=via, received_at=RECEIVED_AT)


def the_record(*reports: ReportedLeg) -> Call:
    return assemble_call(SN, reports, PbxFacts())


def test_a_row_with_the_same_content_changes_nothing() -> None:
    """Not the names it adds, not its other words, not what it leaves out; the record is still the event's."""
    alone, both = the_record(said(EVENT, 1, "webhook")), the_record(said(EVENT, 1, "webhook"), said(ROW, 2, "backfill"))
    assert both == alone
    assert (both.legs[0].seq, both.legs[0].via) == (1, "webhook")


def test_an_event_after_its_row_is_what_the_record_says() -> None:
    """The way it came last counts, because the event says more; it is one record."""
    (leg,) = the_record(said(ROW, 1, "backfill"), said(EVENT, 2, "websocket")).legs
    assert (leg.seq, leg.via, leg.agent_ring_time, leg.extra) == (2, "websocket", 7, {"is_display": 1})


def test_a_row_that_says_otherwise_corrects_the_event() -> None:
    """What the PBX changed afterwards counts; what the list does not have stays."""
    row = msgspec.structs.replace(ROW, status="VOICEMAIL", call_duration=31)
    (leg,) = the_record(said(EVENT, 1, "webhook"), said(row, 2, "backfill")).legs
    assert (leg.seq, leg.via, leg.status, leg.call_duration) == (2, "backfill", "VOICEMAIL", 31)
    assert (leg.agent_ring_time, leg.enb_call_note, leg.call_from) == (7, 4, "1001")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_old_firmware_leaves_out_is_filled_from_the_row(order: tuple[int, ...]) -> None:
    """In either order: the event of 2023 has no `uid`, the row has."""
    reports = [(msgspec.structs.replace(EVENT, uid="", enb_call_note=None), "webhook"), (ROW, "backfill")]
    (leg,) = the_record(*(said(*reports[one][:1], seq, reports[one][1]) for seq, one in enumerate(order, 1))).legs
    assert (leg.uid, leg.enb_call_note, leg.agent_ring_time, leg.extra) == (EVENT.uid, 1, 7, {"is_display": 1})


def test_a_later_event_replaces_the_earlier_one() -> None:
    """As before: only rows say less than they know."""
    bare = msgspec.structs.replace(EVENT, did_number="", status="BUSY")
    assert merge_details(EVENT, "webhook", bare, "websocket") == bare


@given(
    st.lists(st.tuples(st.sampled_from(["webhook", "websocket", "backfill", "import"]), st.integers(0, 3)), min_size=1)
)
def test_reading_in_pieces_gives_the_same_as_reading_at_once(reports: list[tuple[str, int]]) -> None:
    """Wherever a batch ends: what the store gives back is all that is needed to go on."""
    kinds = (
        EVENT,
        ROW,
        msgspec.structs.replace(ROW, status="BUSY"),
        msgspec.structs.replace(EVENT, talk_duration=None),
    )
    all_said = [said(kinds[kind], seq, via) for seq, (via, kind) in enumerate(reports, 1)]
    at_once = the_record(*all_said)
    piecemeal = the_record(all_said[0])
    for one in all_said[1:]:
        piecemeal = the_record(*map(to_reported_leg, piecemeal.legs), one)
    assert piecemeal == at_once
