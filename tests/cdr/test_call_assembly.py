"""Assembly of a call from its legs."""

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


def assemble(*legs: CallDetails, facts: PbxFacts | None = None, first: int = 1) -> Call:
    """Assemble these legs, reported in this order."""
    reported_legs = [
        ReportedLeg(details=leg, seq=seq, via="webhook", received_at=RECEIVED_AT) for seq, leg in enumerate(legs, first)
    ]
    return assemble_call("3651XXXXXXXX", reported_legs, facts or PbxFacts(name="office"))


def leg(call_to: str, status: str, times: str, **changes: Any) -> CallDetails:
    """Return a leg of a call at 10:00 UTC+3, `times` as `start call_duration talk_duration`, such as `+13 40 30`."""
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
    """Return the live call of yeastar-p-series.md 2.5 as its six events."""
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
def test_assemble_call_six_legs_in_any_order_gives_one_call(
    repeats: Sequence[CallDetails], legs: Sequence[CallDetails]
) -> None:
    call = assemble(*legs, *repeats)
    assert (call.status, call.answered_by, call.talk_duration, call.ring_duration) == ("ANSWERED", "4005", 74, 11)
    assert (call.wait_duration, call.call_duration) == (63, 141)
    assert (call.call_from, call.call_to, call.did_number) == ("5550199", "IVR Welcome<6200>", "5550000")
    assert call.started_at == datetime(2026, 6, 30, 18, 37, 17, tzinfo=UTC)
    assert call.ended_at == datetime(2026, 6, 30, 18, 39, 38, tzinfo=UTC)
    assert [call_leg.call_to for call_leg in call.legs] == [six_leg.call_to for six_leg in six_legs()]
    assert {call_leg.utc_offset for call_leg in call.legs} == {"+03:00"}
    assert call.recordings == ("20260630213820-1782844637.854-5550199-4005-Inbound.wav",)


@given(st.permutations(six_legs()), st.integers(1, 5))
def test_assemble_call_later_legs_equals_assembly_at_once(legs: Sequence[CallDetails], known: int) -> None:
    earlier = assemble(*legs[:known])
    reported_legs = [*map(to_reported_leg, earlier.legs)]
    reported_legs += [
        ReportedLeg(details=details, seq=seq, via="webhook", received_at=RECEIVED_AT)
        for seq, details in enumerate(legs[known:], known + 1)
    ]
    assert assemble_call("3651XXXXXXXX", reported_legs, PbxFacts(name="office")) == assemble(*legs)


ANSWERED_BY_ALICE = [leg("6200", "ANSWERED", "0 10 10"), leg("1001", "ANSWERED", "10 40 30")]
JOURNEYS = {
    # case: legs, status, answered_by, wait, ring, talk
    "answered by a person": ([leg("1001", "ANSWERED", "0 40 30")], "ANSWERED", "1001", 10, 10, 30),
    "answered after the IVR": (ANSWERED_BY_ALICE, "ANSWERED", "1001", 20, 10, 30),
    "abandoned in the IVR": ([leg("6200", "ANSWERED", "0 10 10")], "ABANDONED", "", 10, 0, 0),
    "abandoned in the queue": (
        [leg("6200", "ANSWERED", "0 10 10"), leg("6400", "NO ANSWER", "10 60 0")],
        "NO ANSWER",
        "",
        70,
        60,
        0,
    ),
    "queue and agent in one talk": (
        [leg("6400", "ANSWERED", "0 85 74"), leg("1002", "ANSWERED", "0 85 74")],
        "ANSWERED",
        "1002",
        11,
        11,
        74,
    ),
    "answered by the queue only": ([leg("6400", "ANSWERED", "0 85 74")], "ABANDONED", "", 85, 11, 0),
    "voicemail": (
        [leg("1001", "NO ANSWER", "0 20 0"), leg("1001", "VOICEMAIL", "20 11 11")],
        "VOICEMAIL",
        "",
        31,
        20,
        0,
    ),
    "busy": ([leg("5550101", "BUSY", "0 0 0", type="Outbound")], "BUSY", "", 0, 0, 0),
    "ring group, answered by Bob": (
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
    "Bob joins Alice": (
        [leg("1001", "ANSWERED", "0 60 50"), leg("1002", "ANSWERED", "30 40 35")],
        "ANSWERED",
        "1001",
        10,
        10,
        60,
    ),
    "the vendor's misspelling": ([leg("1001", "ANSWERD", "0 40 30")], "ANSWERED", "1001", 10, 10, 30),
    "unknown status": ([leg("1001", "TELEPORTED", "0 40 0")], "TELEPORTED", "", 40, 40, 0),
    "answered with no talk": ([leg("1001", "ANSWERED", "0 10 0")], "ANSWERED", "1001", 10, 10, 0),
}


@pytest.mark.parametrize("journey", JOURNEYS)
def test_assemble_call_journey_gives_expected_totals(journey: str) -> None:
    legs, *expected = JOURNEYS[journey]
    call = assemble(*legs)
    assert [call.status, call.answered_by, call.wait_duration, call.ring_duration, call.talk_duration] == expected


def test_assemble_call_missing_durations_stay_none() -> None:
    call = assemble(CallDetails(call_id="a", time_start="2026-01-01 00:00:00", call_from="1", call_to="1001"))
    assert (call.status, call.ended_at, call.call_duration, call.wait_duration) == ("", None, None, None)
    assert call.talk_duration is None
    assert (call.legs[0].ring_duration, call.legs[0].offset_from) == (None, "assumed")
    answered = CallDetails(
        call_id="a", time_start="2026-01-01 00:00:00", call_from="1", call_to="1001", status="answered"
    )
    assert (assemble(answered).answered_by, assemble(answered).talk_duration) == ("1001", None)


def test_assemble_call_changed_report_replaces_and_repeat_does_not() -> None:
    """A report with other content under the same key is newer; the same content keeps its first number."""
    before, after = leg("1001", "ANSWERED", "0 40 30"), leg("1001", "ANSWERED", "0 41 31")
    assert [(call_leg.talk_duration, call_leg.seq) for call_leg in assemble(before, after).legs] == [(31, 2)]
    assert [(call_leg.talk_duration, call_leg.seq) for call_leg in assemble(before, before).legs] == [(30, 1)]


def test_assemble_call_leg_without_uid_uses_call_offset() -> None:
    """The firmware of 2023 sends no `uid`: the first leg determines the offset, in any order of arrival."""
    legs = [leg("6200", "ANSWERED", "0 317 317"), leg("1001", "ANSWERED", "317 40 30")]
    for order in (legs, legs[::-1]):
        assert [(call_leg.utc_offset, call_leg.offset_from) for call_leg in assemble(*order).legs] == [
            ("+03:00", "ids")
        ] * 2


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
def test_assemble_call_through_clock_change_keeps_leg_times(
    zone: str, begins: str, seconds_later: int, has_uid: bool
) -> None:
    """The clock changes by half an hour on Lord Howe Island; in Sydney, with the same summer time, by an hour."""
    leg_times = [
        datetime.fromtimestamp(datetime.fromisoformat(begins).timestamp() + s, ZoneInfo(zone))
        for s in (0, seconds_later)
    ]
    uid = f"{leg_times[0]:%Y%m%d%H%M%S}0A1B2" if has_uid else ""
    legs = [
        CallDetails(
            call_id=f"{int(leg_times[0].timestamp())}.7",
            time_start=f"{leg_time:%Y-%m-%d %H:%M:%S}",
            call_from="5550199",
            call_to=call_to,
            call_duration=seconds_later,
            talk_duration=seconds_later,
            status="ANSWERED",
            uid=uid,
        )
        for leg_time, call_to in zip(leg_times, ("6200", "1001"), strict=True)
    ]
    for order in (legs, legs[::-1]):
        call = assemble(*order)
        assert [call_leg.started_at for call_leg in call.legs] == [leg_time.astimezone(UTC) for leg_time in leg_times]
        assert (call.talk_duration, call.call_duration) == (seconds_later, 2 * seconds_later)


def test_assemble_call_agent_after_clock_change_stays_within_queue_leg() -> None:
    """The queue's leg lasts through the clock change; the agent's leg begins after it."""
    queue = leg("6400", "ANSWERED", "0 300 100", call_id="1774745880.7", time_start="2026-03-29 01:58:00")
    agent = leg("1002", "ANSWERED", "0 110 100", call_id="1774745880.7", time_start="2026-03-29 03:01:10")
    for order in ((queue, agent), (agent, queue)):
        call = assemble(*order)
        assert [f"{call_leg.started_at:%H:%M:%S}" for call_leg in call.legs] == ["00:58:00", "01:01:10"]
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
def test_assemble_call_contradicting_legs_in_any_order_gives_same_call(legs: list[CallDetails], rng: Any) -> None:
    """Legs may begin in the same second, or hours apart, with ids that contradict each other."""
    unique = list({(random_leg.time_start, random_leg.call_to): random_leg for random_leg in legs}.values())
    shuffled = rng.sample(unique, len(unique))

    def summarize(call: Call) -> list[Any]:
        return [(random_leg.record_id, random_leg.started_at, random_leg.utc_offset) for random_leg in call.legs]

    assert summarize(assemble(*unique)) == summarize(assemble(*shuffled))


def test_assemble_call_opaque_id_uses_configured_zone() -> None:
    details = CallDetails(call_id="a1b2", time_start="2026-07-01 12:00:00", call_from="1", call_to="1001")
    call = assemble(details, facts=PbxFacts(zone=ZoneInfo("Europe/Berlin")))
    assert (call.started_at.hour, call.legs[0].utc_offset, call.legs[0].offset_from) == (10, "+02:00", "configured")


def channel_leg(call_to: str, times: str, channels: tuple[str, str], **changes: Any) -> CallDetails:
    """Return a leg with the channels that an Asterisk reports."""
    channel, called = channels
    return leg(call_to, "ANSWERED", times, extra={"channel": channel, "dst_channel": called}, **changes)


def test_assemble_call_leg_reported_again_with_other_start_is_one() -> None:
    """A connection loss during a call splits it in two; a later complete report replaces both, in any batches."""
    first = channel_leg("6400", "+0 4 0", ("PJSIP/trunk-1", ""))
    second = channel_leg("6400", "+5 6 4", ("PJSIP/trunk-1", ""))
    whole = channel_leg("6400", "+0 11 4", ("PJSIP/trunk-1", ""))
    agent = channel_leg("4006", "+5 6 4", ("PJSIP/trunk-1", "PJSIP/4006-2"))
    assert len(assemble(first, second).legs) == 2
    call = assemble(first, second, whole, agent)
    assert [(call_leg.call_to, call_leg.call_duration) for call_leg in call.legs] == [("6400", 11), ("4006", 6)]
    early = assemble(first, second)
    again = [to_reported_leg(call_leg) for call_leg in early.legs]
    later = [
        ReportedLeg(details=call_leg, seq=seq, via="backfill", received_at=RECEIVED_AT)
        for seq, call_leg in ((3, whole), (4, agent))
    ]
    assert assemble_call("3651XXXXXXXX", [*again, *later], PbxFacts()).legs[0].call_duration == 11


def test_assemble_call_distinct_legs_on_same_channels_stay_separate() -> None:
    """Consecutive talks, and legs within one report, are separate."""
    morning = channel_leg("1002", "+0 4 4", ("PJSIP/1001-1", "PJSIP/1002-2"))
    noon = channel_leg("1002", "+4 4 4", ("PJSIP/1001-1", "PJSIP/1002-2"))
    assert len(assemble(morning, noon).legs) == 2
    overlapping = channel_leg("1002", "+3 4 4", ("PJSIP/1001-1", "PJSIP/1002-2"))
    same_report = [
        ReportedLeg(details=details, seq=1, via="ami", received_at=RECEIVED_AT) for details in (morning, overlapping)
    ]
    assert len(assemble_call("3651XXXXXXXX", same_report, PbxFacts()).legs) == 2
    other_channel = channel_leg("1002", "+3 4 4", ("PJSIP/1001-1", "PJSIP/1002-9"))
    assert len(assemble(morning, other_channel).legs) == 2
