"""The journey of one call, from its legs."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call, to_reported_leg
from onhook.cdr.call_details import CallDetails
from onhook.cdr.record import Call

RECEIVED_AT = datetime(2026, 6, 30, 19, 0, tzinfo=UTC)
SIX_LEGS = Path(__file__).parents[1] / "payloads" / "rest_six_legs.json"


def said(*legs: CallDetails, facts: PbxFacts | None = None, first: int = 1) -> Call:
    """These legs, reported one after the other, as one call."""
    reports = [
        ReportedLeg(details=leg, seq=seq, via="webhook", received_at=RECEIVED_AT) for seq, leg in enumerate(legs, first)
    ]
    return assemble_call("3651XXXXXXXX", reports, facts or PbxFacts(name="office"))


def leg(call_to: str, status: str, times: str, **changes: Any) -> CallDetails:
    """A leg of Alice's call at 10:00 UTC+3, `times` as `start call_duration talk_duration`, such as `+13 40 30`."""
    start, call_duration, talk_duration = times.split()
    clock = datetime.fromtimestamp(1782803600 + int(start), UTC)
    fields: dict[str, Any] = {
        "call_id": "1782792800.7",
        "time_start": f"{clock:%Y-%m-%d %H:%M:%S}",
        "call_from": "5550199",
        "call_to": call_to,
        "call_duration": int(call_duration),
        "talk_duration": int(talk_duration),
        "status": status,
        "type": "Inbound",
    }
    return CallDetails(**fields | changes)


def six_legs() -> list[CallDetails]:
    """The live call of yeastar-p-series.md 2.5, as the six events of it would say it."""
    rows = json.loads(SIX_LEGS.read_text())["data"]
    return [
        CallDetails(
            call_id=row["call_id"],
            time_start=str(datetime.fromtimestamp(row["timestamp"], ZoneInfo("Etc/GMT-3")).replace(tzinfo=None)),
            call_from=row["call_from"],
            call_to=row["call_to"],
            call_duration=row["duration"],
            talk_duration=row["talk_duration"],
            src_trunk_name=row["src_trunk"],
            status=row["disposition"],
            type=row["call_type"],
            recording=row.get("record_file", ""),
            did_number=row["did_number"],
            uid=row["uid"],
        )
        for row in rows
    ]


@given(st.lists(st.sampled_from(six_legs()), max_size=12), st.permutations(six_legs()))
def test_six_legs_are_one_call(repeats: Sequence[CallDetails], legs: Sequence[CallDetails]) -> None:
    """In any order, with any repeats: one answer by agent 4005, 74 seconds of talk, 11 of ring, legs in order."""
    call = said(*legs, *repeats)
    assert (call.status, call.answered_by, call.talk_duration, call.ring_duration) == ("ANSWERED", "4005", 74, 11)
    assert (call.wait_duration, call.call_duration) == (63, 141)
    assert (call.call_from, call.call_to, call.did_number) == ("5550199", "IVR Welcome<6200>", "5550000")
    assert call.started_at == datetime(2026, 6, 30, 18, 37, 17, tzinfo=UTC)
    assert call.ended_at == datetime(2026, 6, 30, 18, 39, 38, tzinfo=UTC)
    assert [one.call_to for one in call.legs] == [six_leg.call_to for six_leg in six_legs()]
    assert {one.utc_offset for one in call.legs} == {"+03:00"}
    assert call.recordings == ("20260630213820-1782844637.854-5550199-4005-Inbound.wav",)


@given(st.permutations(six_legs()), st.integers(1, 5))
def test_legs_that_come_later_give_the_same_call(legs: Sequence[CallDetails], known: int) -> None:
    """A call put together from what is stored and what is new is the call put together at once."""
    earlier = said(*legs[:known])
    reports = [*map(to_reported_leg, earlier.legs)]
    reports += [
        ReportedLeg(details=one, seq=seq, via="webhook", received_at=RECEIVED_AT)
        for seq, one in enumerate(legs[known:], known + 1)
    ]
    assert assemble_call("3651XXXXXXXX", reports, PbxFacts(name="office")) == said(*legs)


ANSWERED_BY_ALICE = [leg("6200", "ANSWERED", "0 10 10"), leg("1001", "ANSWERED", "10 40 30")]
JOURNEYS = {
    # what happened: legs, status, answered_by, wait, ring, talk
    "a person answers": ([leg("1001", "ANSWERED", "0 40 30")], "ANSWERED", "1001", 10, 10, 30),
    "after the IVR": (ANSWERED_BY_ALICE, "ANSWERED", "1001", 20, 10, 30),
    "hangs up in the IVR": ([leg("6200", "ANSWERED", "0 10 10")], "ABANDONED", "", 10, 0, 0),
    "hangs up in the queue": (
        [leg("6200", "ANSWERED", "0 10 10"), leg("6400", "NO ANSWER", "10 60 0")],
        "NO ANSWER",
        "",
        70,
        60,
        0,
    ),
    "queue and agent are one conversation": (
        [leg("6400", "ANSWERED", "0 85 74"), leg("1002", "ANSWERED", "0 85 74")],
        "ANSWERED",
        "1002",
        11,
        11,
        74,
    ),
    "the queue's answer is nobody's": ([leg("6400", "ANSWERED", "0 85 74")], "ABANDONED", "", 85, 11, 0),
    "leaves a message": (
        [leg("1001", "NO ANSWER", "0 20 0"), leg("1001", "VOICEMAIL", "20 11 11")],
        "VOICEMAIL",
        "",
        31,
        20,
        0,
    ),
    "is busy": ([leg("5550101", "BUSY", "0 0 0", type="Outbound")], "BUSY", "", 0, 0, 0),
    "ring group, Bob picks up": (
        [leg("6300", "ANSWERED", "0 40 30"), leg("1002", "ANSWERED", "0 40 30")],
        "ANSWERED",
        "1002",
        10,
        10,
        30,
    ),
    "transferred from Alice to Bob": (
        [leg("1001", "ANSWERED", "0 40 30"), leg("1002", "ANSWERED", "40 25 20")],
        "ANSWERED",
        "1001",
        10,
        10,
        50,
    ),
    "Alice stays while Bob joins": (
        [leg("1001", "ANSWERED", "0 60 50"), leg("1002", "ANSWERED", "30 40 35")],
        "ANSWERED",
        "1001",
        10,
        10,
        60,
    ),
    "the vendor's misspelling": ([leg("1001", "ANSWERD", "0 40 30")], "ANSWERED", "1001", 10, 10, 30),
    "an outcome nobody knows": ([leg("1001", "TELEPORTED", "0 40 0")], "TELEPORTED", "", 40, 40, 0),
    "answered and at once over": ([leg("1001", "ANSWERED", "0 10 0")], "ANSWERED", "1001", 10, 10, 0),
}


@pytest.mark.parametrize("journey", JOURNEYS)
def test_a_journey_is_counted_once_and_told_truly(journey: str) -> None:
    """How it ended for the caller, who answered, how long the caller waited, heard it ring, and spoke with a person."""
    legs, *expected = JOURNEYS[journey]
    call = said(*legs)
    assert [call.status, call.answered_by, call.wait_duration, call.ring_duration, call.talk_duration] == expected


def test_what_nobody_said_stays_unknown() -> None:
    """Without durations there is an answer but no length, no end and no wait to an end; nothing becomes zero."""
    call = said(CallDetails(call_id="a", time_start="2026-01-01 00:00:00", call_from="1", call_to="1001"))
    assert (call.status, call.ended_at, call.call_duration, call.wait_duration) == ("", None, None, None)
    assert call.talk_duration is None
    assert (call.legs[0].ring_duration, call.legs[0].offset_from) == (None, "assumed")
    answered = CallDetails(
        call_id="a", time_start="2026-01-01 00:00:00", call_from="1", call_to="1001", status="answered"
    )
    assert (said(answered).answered_by, said(answered).talk_duration) == ("1001", None)


def test_a_later_report_replaces_and_an_exact_repeat_does_not() -> None:
    """Rule 2: other content under the same key is the newer truth; the same content keeps its first number."""
    before, after = leg("1001", "ANSWERED", "0 40 30"), leg("1001", "ANSWERED", "0 41 31")
    assert [(one.talk_duration, one.seq) for one in said(before, after).legs] == [(31, 2)]
    assert [(one.talk_duration, one.seq) for one in said(before, before).legs] == [(30, 1)]


def test_a_leg_without_its_own_offset_has_the_calls() -> None:
    """The firmware of 2023 sends no `uid`: the first leg tells for the whole call, whichever way they come."""
    legs = [leg("6200", "ANSWERED", "0 317 317"), leg("1001", "ANSWERED", "317 40 30")]
    for order in (legs, legs[::-1]):
        assert [(one.utc_offset, one.offset_from) for one in said(*order).legs] == [("+03:00", "ids")] * 2


@pytest.mark.parametrize(
    ("zone", "begins", "seconds_later"),
    [
        ("Europe/Berlin", "2026-10-25T00:59:50+00:00", 20),
        ("Europe/Berlin", "2026-03-29T00:59:50+00:00", 20),
        ("America/New_York", "2026-11-01T05:59:30+00:00", 45),
        ("America/New_York", "2026-03-08T06:59:30+00:00", 45),
        ("Australia/Lord_Howe", "2026-04-04T14:59:50+00:00", 20),
        ("Australia/Lord_Howe", "2026-10-03T15:29:50+00:00", 20),
        ("Australia/Sydney", "2026-04-04T15:59:50+00:00", 20),
    ],
)
@pytest.mark.parametrize("has_uid", [True, False])
def test_a_call_through_the_change_of_the_clock_is_in_order(
    zone: str, begins: str, seconds_later: int, has_uid: bool
) -> None:
    """A second leg after the clock was put back or forward begins when it did, not an hour before or after.

    On Lord Howe Island half an hour is meant, in Sydney, with the same summer time, an hour.
    """
    moments = [
        datetime.fromtimestamp(datetime.fromisoformat(begins).timestamp() + s, ZoneInfo(zone))
        for s in (0, seconds_later)
    ]
    uid = f"{moments[0]:%Y%m%d%H%M%S}0A1B2" if has_uid else ""
    legs = [
        CallDetails(
            call_id=f"{int(moments[0].timestamp())}.7",
            time_start=f"{moment:%Y-%m-%d %H:%M:%S}",
            call_from="5550199",
            call_to=call_to,
            call_duration=seconds_later,
            talk_duration=seconds_later,
            status="ANSWERED",
            uid=uid,
        )
        for moment, call_to in zip(moments, ("6200", "1001"), strict=True)
    ]
    for order in (legs, legs[::-1]):
        call = said(*order)
        assert [one.started_at for one in call.legs] == [moment.astimezone(UTC) for moment in moments]
        assert (call.talk_duration, call.call_duration) == (seconds_later, 2 * seconds_later)


def test_an_agent_who_is_found_after_the_clock_was_put_forward_joins_the_queue() -> None:
    """The queue's leg began before the change and goes on after it; the agent's began in between."""
    queue = leg("6400", "ANSWERED", "0 300 100", call_id="1774745880.7", time_start="2026-03-29 01:58:00")
    agent = leg("1002", "ANSWERED", "0 110 100", call_id="1774745880.7", time_start="2026-03-29 03:01:10")
    for order in ((queue, agent), (agent, queue)):
        call = said(*order)
        assert [f"{one.started_at:%H:%M:%S}" for one in call.legs] == ["00:58:00", "01:01:10"]
        assert (call.call_duration, call.talk_duration, call.wait_duration) == (300, 100, 200)


@given(
    st.lists(
        st.builds(
            leg,
            st.sampled_from(["6200", "6400", "1001", "1002", "+4912"]),
            st.sampled_from(["ANSWERED", "NO ANSWER"]),
            st.sampled_from(["0 0 0", "0 4000 0", "3601 0 0", "3601 4000 10", "7200 30 5", "-3590 10 0"]),
            uid=st.sampled_from(["", "20260630100000AAAAA", "20260630110000AAAAA"]),
        ),
        min_size=1,
        max_size=5,
    ),
    st.randoms(use_true_random=False),
)
def test_even_odd_legs_give_one_call_in_any_order(legs: list[CallDetails], chance: Any) -> None:
    """Legs that begin in one second, with ids that contradict each other, hours apart: arrival counts for nothing."""
    unique = list({(one.time_start, one.call_to): one for one in legs}.values())
    shuffled = chance.sample(unique, len(unique))

    def placed(call: Call) -> list[Any]:
        return [(one.record_id, one.started_at, one.utc_offset) for one in call.legs]

    assert placed(said(*unique)) == placed(said(*shuffled))


def test_a_configured_zone_serves_where_ids_do_not() -> None:
    """An opaque call id leaves the zone that people set."""
    details = CallDetails(call_id="a1b2", time_start="2026-07-01 12:00:00", call_from="1", call_to="1001")
    call = said(details, facts=PbxFacts(zone=ZoneInfo("Europe/Berlin")))
    assert (call.started_at.hour, call.legs[0].utc_offset, call.legs[0].offset_from) == (10, "+02:00", "configured")


def half_heard(call_to: str, times: str, channels: tuple[str, str], **changes: Any) -> CallDetails:
    """A leg of a PBX that says by which channels it ran."""
    channel, called = channels
    return leg(call_to, "ANSWERED", times, extra={"channel": channel, "dst_channel": called}, **changes)


def test_a_leg_that_is_told_anew_with_another_begin_is_one() -> None:
    """As of a call that was heard in two halves, and read as one later: the last report counts, in any split."""
    first = half_heard("6400", "+0 4 0", ("PJSIP/trunk-1", ""))
    second = half_heard("6400", "+5 6 4", ("PJSIP/trunk-1", ""))
    whole = half_heard("6400", "+0 11 4", ("PJSIP/trunk-1", ""))
    agent = half_heard("4006", "+5 6 4", ("PJSIP/trunk-1", "PJSIP/4006-2"))
    assert len(said(first, second).legs) == 2
    call = said(first, second, whole, agent)
    assert [(one.call_to, one.call_duration) for one in call.legs] == [("6400", 11), ("4006", 6)]
    early = said(first, second)
    again = [to_reported_leg(one) for one in early.legs]
    later = [
        ReportedLeg(details=one, seq=seq, via="backfill", received_at=RECEIVED_AT)
        for seq, one in ((3, whole), (4, agent))
    ]
    assert assemble_call("3651XXXXXXXX", [*again, *later], PbxFacts()).legs[0].call_duration == 11


def test_legs_of_one_report_and_legs_apart_stay() -> None:
    """Two talks over the same channels, one after the other, are two; so is what one report says."""
    morning = half_heard("1002", "+0 4 4", ("PJSIP/1001-1", "PJSIP/1002-2"))
    noon = half_heard("1002", "+4 4 4", ("PJSIP/1001-1", "PJSIP/1002-2"))
    assert len(said(morning, noon).legs) == 2
    overlapping = half_heard("1002", "+3 4 4", ("PJSIP/1001-1", "PJSIP/1002-2"))
    one_report = [ReportedLeg(details=one, seq=1, via="ami", received_at=RECEIVED_AT) for one in (morning, overlapping)]
    assert len(assemble_call("3651XXXXXXXX", one_report, PbxFacts()).legs) == 2
    other_channel = half_heard("1002", "+3 4 4", ("PJSIP/1001-1", "PJSIP/1002-9"))
    assert len(said(morning, other_channel).legs) == 2
