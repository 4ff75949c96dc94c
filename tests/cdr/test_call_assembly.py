"""Assembly of a call from its legs."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call, to_reported_leg
from onhook.cdr.call_details import CLOCK_SHIFT, CallDetails
from onhook.cdr.identity import record_id, record_key
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
    assert (call.call_id, call.src_trunk_name) == (six_legs()[0].call_id, six_legs()[0].src_trunk_name)
    assert {(call_leg.sn, call_leg.pbx) for call_leg in call.legs} == {("3651XXXXXXXX", "office")}
    assert call.recordings == ("20260630213820-1782844637.854-5550199-4005-Inbound.wav",)


@given(st.permutations(six_legs()), st.integers(1, 5))
def test_assemble_call_later_legs_equals_assembly_at_once(legs: Sequence[CallDetails], early_count: int) -> None:
    earlier = assemble(*legs[:early_count])
    reported_legs = [*map(to_reported_leg, earlier.legs)]
    reported_legs += [
        ReportedLeg(details=details, seq=seq, via="webhook", received_at=RECEIVED_AT)
        for seq, details in enumerate(legs[early_count:], early_count + 1)
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
        20,
        20,
        0,
    ),
    "voicemail, then another attempt": (
        [leg("1001", "VOICEMAIL", "0 20 5"), leg("1002", "NO ANSWER", "20 10 0")],
        "VOICEMAIL",
        "",
        15,
        15,
        0,
    ),
    "agent rings shorter than the queue": (
        [leg("6400", "NO ANSWER", "0 30 0"), leg("1001", "ANSWERED", "30 40 36")],
        "ANSWERED",
        "1001",
        34,
        4,
        36,
    ),
    "no status, no talk": ([leg("1001", "", "0 20 0")], "", "", 20, 20, 0),
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
    assert {type(call.wait_duration), type(call.call_duration), type(call.talk_duration)} == {int}


def test_assemble_call_missing_durations_stay_none() -> None:
    call = assemble(CallDetails(call_id="a", time_start="2026-01-01 00:00:00", call_from="1", call_to="1001"))
    assert (call.status, call.ended_at, call.call_duration, call.wait_duration) == ("", None, None, None)
    assert call.talk_duration is None
    assert (call.legs[0].ring_duration, call.legs[0].offset_from) == (None, "assumed")
    answered = CallDetails(
        call_id="a", time_start="2026-01-01 00:00:00", call_from="1", call_to="1001", status="answered"
    )
    assert (assemble(answered).answered_by, assemble(answered).talk_duration) == ("1001", None)


def test_assemble_call_leg_keeps_its_report_and_has_its_id() -> None:
    details = leg("1001", "ANSWERED", "0 40 30")
    reported_leg = ReportedLeg(details=details, seq=7, via="websocket", received_at=RECEIVED_AT)
    (record,) = assemble_call("3651XXXXXXXX", [reported_leg], PbxFacts()).legs
    assert to_reported_leg(record) == reported_leg
    assert record.record_id == record_id(record_key("3651XXXXXXXX", details))


@pytest.mark.parametrize(
    ("call_duration", "talk_duration", "answered_after"),
    [(40, 30, 10), (40, 40, 0), (40, 0, None), (40, None, None), (None, 30, None)],
)
def test_assemble_call_leg_answer_time_is_end_minus_talk(
    call_duration: int | None, talk_duration: int | None, answered_after: int | None
) -> None:
    details = leg("1001", "ANSWERED", "0 0 0", call_duration=call_duration, talk_duration=talk_duration)
    (record,) = assemble(details).legs
    expected = None if answered_after is None else record.started_at + timedelta(seconds=answered_after)
    assert record.answered_at == expected


@pytest.mark.parametrize(
    ("alice", "bob", "expected"),
    [
        ({"talk_duration": None}, {"talk_duration": None}, None),
        ({"talk_duration": None}, {}, 20),
        ({"call_duration": None}, {}, 20),
        ({"call_duration": None}, {"call_duration": None}, None),
    ],
)
def test_assemble_call_two_persons_talk_is_the_known_part(
    alice: dict[str, None], bob: dict[str, None], expected: int | None
) -> None:
    """A talk without a duration or an end is not counted; unknown is not zero."""
    legs = [leg("1001", "ANSWERED", "0 40 30", **alice), leg("1002", "ANSWERED", "40 25 20", **bob)]
    assert assemble(*legs).talk_duration == expected


@pytest.mark.parametrize("call_id", ["1782792800.7", "opaque"])
def test_assemble_call_legs_of_the_same_second_begin_with_the_one_that_forwards(call_id: str) -> None:
    """Also if its number is greater, and whether the time comes from the id or is assumed."""
    forwarding = ["6200", "6400", "6300", "6500", "1001", "+4930901820", "Play Prompt"]
    for numbers in (forwarding, forwarding[1:3], forwarding[3:5]):
        legs = [leg(number, "NO ANSWER", "0 40 0", call_id=call_id) for number in numbers]
        call = assemble(*reversed(legs))
        assert [call_leg.call_to for call_leg in call.legs] == numbers
        assert call.call_to == numbers[0]


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


def shifted_legs(call_begins: str, offset_hours: float, times: Sequence[str]) -> list[tuple[float, str]]:
    """Return for each leg of a call how many seconds after the call it begins, and its offset.

    `call_begins` is the PBX's wall clock; `times` are `start call_duration`, by the same clock, in seconds from there.
    """
    clock, offset = datetime.fromisoformat(call_begins), timedelta(hours=offset_hours)
    begins = clock.replace(tzinfo=UTC) - offset
    legs = [
        CallDetails(
            call_id=f"{int(begins.timestamp())}.7",
            time_start=str(clock + timedelta(seconds=int(time.split()[0]))),
            call_from="5550199",
            call_to=str(1001 + number),
            call_duration=int(time.split()[1]),
            uid=f"{clock:%Y%m%d%H%M%S}0A1B2",
        )
        for number, time in enumerate(times)
    ]
    call = assemble(*legs)
    by_number = sorted(call.legs, key=lambda call_leg: call_leg.call_to)
    return [((call_leg.started_at - begins).total_seconds(), call_leg.utc_offset) for call_leg in by_number]


HOUR, MINUTE = 3600, 60


@pytest.mark.parametrize(
    ("begins", "first_leg", "start", "expected_start"),
    [
        # The first leg lasts until the second one begins, or until a minute before: no clock change.
        ("01:30:00", f"0 {HOUR}", HOUR, HOUR),
        ("01:30:00", f"0 {HOUR}", HOUR + MINUTE, HOUR + MINUTE),
        # A larger gap disappears if the clock was put forward.
        ("01:30:00", f"0 {HOUR}", HOUR + MINUTE + 1, MINUTE + 1),
        ("01:30:00", "0 0", HOUR, 0),
        ("01:30:00", "0 10", HOUR + 10 + MINUTE, 10 + MINUTE),
        # It would not disappear, or the second leg would begin before its call.
        ("01:30:00", "0 10", HOUR + 11 + MINUTE, HOUR + 11 + MINUTE),
        ("01:30:00", "0 10", 2 * HOUR, 2 * HOUR),
        ("01:30:00", "0 10", HOUR - 1, HOUR - 1),
        # Clocks are put forward at night: the hour after the change is 4 at most.
        ("03:59:59", "0 10", HOUR, 0),
        ("04:00:00", "0 10", HOUR, HOUR),
        ("12:00:00", "0 10", HOUR, HOUR),
        # A leg that begins more than a minute before its call began after the clock was put back.
        ("02:59:50", "0 10", -MINUTE, -MINUTE),
        ("02:59:50", "0 10", -MINUTE - 1, HOUR - MINUTE - 1),
        ("02:59:50", "0 10", -HOUR - MINUTE, -MINUTE),
        ("02:59:50", "0 10", -HOUR - MINUTE - 1, -HOUR - MINUTE - 1),
    ],
)
def test_assemble_call_second_leg_is_shifted_only_at_a_clock_change(
    begins: str, first_leg: str, start: int, expected_start: int
) -> None:
    """Starts are in seconds after the call's; the clocks of one PBX may differ by a minute."""
    (_first, (second_start, utc_offset)) = shifted_legs(f"2026-10-25 {begins}", 2, [first_leg, f"{start} 10"])
    assert second_start == expected_start
    assert utc_offset == f"+0{2 + (start - expected_start) // HOUR}:00"


@pytest.mark.parametrize(
    ("start", "expected_start"),
    [(10 - HOUR // 2, 10), (70 - HOUR // 2, 70), (71 - HOUR // 2, HOUR // 2 + 71)],
)
def test_assemble_call_on_lord_howe_island_is_shifted_by_half_an_hour_next_to_another_leg(
    start: int, expected_start: int
) -> None:
    """The first leg ends after ten seconds; a minute later is next to it."""
    legs = shifted_legs("2026-04-05 01:59:50", 11, ["0 10", f"{start} 10"])
    assert legs[1][0] == expected_start


def test_assemble_call_first_leg_a_minute_before_its_ids_stays_first() -> None:
    """A leg a minute before the call is the first, not one from after a clock change: it keeps the line busy, so that
    the later one follows it without a gap, on Lord Howe Island too.
    """
    legs = shifted_legs("2026-10-04 01:30:00", 10.5, [f"{-MINUTE} {HOUR // 2 + MINUTE}", f"{HOUR // 2 + 30} 10"])
    assert legs == [(-MINUTE, "+10:30"), (HOUR // 2 + 30, "+10:30")]


def test_assemble_call_later_leg_alone_is_not_shifted() -> None:
    """Until the leg before it is reported, there is no gap that a clock change could explain."""
    assert shifted_legs("2026-03-29 01:30:00", 1, [f"{HOUR} 10"]) == [(HOUR, "+01:00")]


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
    early_legs = [to_reported_leg(call_leg) for call_leg in early.legs]
    late_legs = [
        ReportedLeg(details=call_leg, seq=seq, via="backfill", received_at=RECEIVED_AT)
        for seq, call_leg in ((3, whole), (4, agent))
    ]
    assert assemble_call("3651XXXXXXXX", [*early_legs, *late_legs], PbxFacts()).legs[0].call_duration == 11


def test_assemble_call_distinct_legs_on_same_channels_stay_separate() -> None:
    """Consecutive talks, and legs within one report, are separate."""
    morning = channel_leg("1002", "+0 4 4", ("PJSIP/1001-1", "PJSIP/1002-2"))
    noon = channel_leg("1002", "+4 4 4", ("PJSIP/1001-1", "PJSIP/1002-2"))
    assert len(assemble(morning, noon).legs) == 2
    assert len(assemble(noon, morning).legs) == 2
    overlapping = channel_leg("1002", "+3 4 4", ("PJSIP/1001-1", "PJSIP/1002-2"))
    same_report = [
        ReportedLeg(details=details, seq=1, via="ami", received_at=RECEIVED_AT) for details in (morning, overlapping)
    ]
    assert len(assemble_call("3651XXXXXXXX", same_report, PbxFacts()).legs) == 2
    other_channel = channel_leg("1002", "+3 4 4", ("PJSIP/1001-1", "PJSIP/1002-9"))
    assert len(assemble(morning, other_channel).legs) == 2


def test_assemble_call_single_leg_after_clock_put_back_is_not_before_its_call() -> None:
    """The channel is created at 02:59:59 in Berlin; the clock is put back; the leg begins at 02:00:01."""
    details = CallDetails(
        call_id=f"{int(datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC).timestamp())}.7",
        time_start="2026-10-25 02:00:01",
        call_from="5550199",
        call_to="1001",
        call_duration=10,
        uid="202610250259590A1B2",
    )
    reported_leg = ReportedLeg(details=details, seq=1, via="webhook", received_at=datetime(2026, 10, 25, 2, tzinfo=UTC))
    (leg,) = assemble_call("3651XXXXXXXX", [reported_leg], PbxFacts()).legs
    assert (leg.started_at, leg.utc_offset) == (datetime(2026, 10, 25, 1, 0, 1, tzinfo=UTC), "+01:00")


def test_assemble_call_leg_with_a_reported_clock_change_is_shifted_by_it() -> None:
    """A second before the clock is put back, and a minute after it."""
    first = leg("6200", "ANSWERED", "0 60 60", call_id="1792889999.7", time_start="2026-10-25 02:59:59")
    second = leg("1001", "ANSWERED", "0 9 9", call_id="1792889999.7", time_start="2026-10-25 02:00:59")
    call = assemble(first, msgspec.structs.replace(second, extra={CLOCK_SHIFT: -3_600}))
    assert [f"{part.started_at:%H:%M:%S} {part.utc_offset}" for part in call.legs] == [
        *("00:59:59 +02:00", "01:00:59 +01:00")
    ]


def test_pbx_facts_signature_of_a_pbx_with_a_common_secret_is_its_own() -> None:
    facts = PbxFacts(sn="SN-A", signers=(frozenset({"SN-A", "SN-B"}),))
    assert [facts.is_signed_by(sn) for sn in ("sn-a", "sn-b", "SN-C")] == [True, True, False]


def test_pbx_facts_removed_serial_number_accepts_what_came_before() -> None:
    facts = PbxFacts(sn="SN-A", removed_sns={"SN-OLD": 1_000})
    assert [facts.accepts(*event) for event in (("SN-A", 2_000), ("sn-old", 999), ("sn-old", 1_000))] == [
        True,
        True,
        False,
    ]
