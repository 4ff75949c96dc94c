"""The simulated office as a stream of calls."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onhook.cdr.call_details import CallDetails
from onhook.cdr.identity import record_key
from onhook.cdr.utc_offset import call_epoch, offset_from_uid, parse_wall_clock
from onhook.lib.errors import UsageError
from onhook.pbx.yeastar.payload import PAYLOAD_FORMATS, Yeastar
from onhook.simulator.office import CALLS_PER_DAY_MAX, Office, OfficePlan
from tests.counts import examples

ZONES = ("Europe/Berlin", "America/St_Johns", "Asia/Singapore", "Australia/Lord_Howe", "Pacific/Auckland", "UTC")
BERLIN = ZoneInfo("Europe/Berlin")
SN = "3631A2124XXX"

# Half an hour before some of these zones change their clocks.
NIGHTS = {
    "Europe/Berlin": (datetime(2026, 3, 29, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
    "Australia/Lord_Howe": (datetime(2026, 4, 4, 14, 30, tzinfo=UTC), datetime(2026, 10, 3, 15, 0, tzinfo=UTC)),
    "Pacific/Auckland": (datetime(2026, 4, 4, 13, 30, tzinfo=UTC), datetime(2026, 9, 26, 13, 30, tzinfo=UTC)),
}
moments = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - Hypothesis adds the zone


def office(seed: int = 1, zone: str = "Europe/Berlin", **plan: object) -> Office:
    return Office(seed, ZoneInfo(zone), OfficePlan(**plan))  # type: ignore[arg-type]  # the plan's own fields


def take_calls(office: Office, calls: int = 40) -> list[list[CallDetails]]:
    return list(islice(office.calls(), calls))


@given(st.integers(), st.sampled_from(ZONES), moments)
@settings(max_examples=examples(20))
def test_office_same_seed_gives_same_calls(seed: int, zone: str, start: datetime) -> None:
    """Two offices of one seed, zone and plan are equal; another seed gives others."""
    assert take_calls(office(seed, zone, start=start)) == take_calls(office(seed, zone, start=start))
    assert take_calls(office(seed, zone, start=start)) != take_calls(office(seed + 1, zone, start=start))


def assert_ids_read_the_offset(legs: list[CallDetails], zone: str) -> timedelta | None:
    epoch = call_epoch(legs[0].call_id)
    began = datetime.fromtimestamp(epoch, ZoneInfo(zone))
    assert {offset_from_uid(leg.uid, epoch) for leg in legs} == {began.utcoffset()}
    assert parse_wall_clock(legs[0].time_start) == began.replace(tzinfo=None)
    return began.utcoffset()


@given(st.integers(), st.sampled_from(ZONES), moments)
@settings(max_examples=examples(20))
def test_office_ids_contain_the_offset_of_the_zone(seed: int, zone: str, start: datetime) -> None:
    """The difference of `uid` and `call_id` is the zone's offset at that moment."""
    for legs in take_calls(office(seed, zone, start=start)):
        assert_ids_read_the_offset(legs, zone)


@pytest.mark.parametrize(("zone", "start"), [(zone, night) for zone, nights in NIGHTS.items() for night in nights])
def test_office_ids_contain_the_offset_at_a_clock_change(zone: str, start: datetime) -> None:
    """Each call has the offset of its own moment: two in one night."""
    night = office(1, zone, start=start, calls_per_day=50_000).calls_since(start)
    calls = takewhile(lambda call: call.started_at < start + timedelta(hours=1), night)
    assert len({assert_ids_read_the_offset(call.legs, zone) for call in calls}) == 2


@given(st.integers(), st.sampled_from(ZONES), moments)
@settings(max_examples=examples(20))
def test_office_legs_of_a_call_share_its_ids_and_records_are_unique(seed: int, zone: str, start: datetime) -> None:
    """`call_id`, `uid`, `call_note_id`, caller and trunks are the call's."""
    calls = take_calls(office(seed, zone, start=start), 100)
    for legs in calls:
        assert (
            len({(leg.call_id, leg.uid, leg.call_note_id, leg.call_from, leg.type, leg.did_number) for leg in legs})
            == 1
        )
    keys = [record_key(SN, leg) for legs in calls for leg in legs]
    assert len(set(keys)) == len(keys)
    assert len({legs[0].call_id for legs in calls}) == len(calls)


@pytest.mark.parametrize("profile", sorted(PAYLOAD_FORMATS))
@given(seed=st.integers(), with_names=st.booleans())
@settings(max_examples=examples(10))
def test_office_every_payload_format_is_parsed_unchanged(profile: str, seed: int, with_names: bool) -> None:
    """But for the members which that generation does not have."""
    left_out = PAYLOAD_FORMATS[profile].omitted_members
    blank = CallDetails(call_id="", time_start="", call_from="", call_to="")
    for leg in (leg for call in take_calls(office(seed, with_names=with_names)) for leg in call):
        (read,) = Yeastar().parse(Yeastar().format(leg, SN, profile))
        assert set(read.extra) <= {"is_display", "realclidnum"}
        for name in set(CallDetails.__struct_fields__) - {"extra"}:
            assert getattr(read, name) == getattr(blank if name in left_out else leg, name)


def test_office_recording_has_the_name_of_a_pbx() -> None:
    """Time of the answer, `call_id`, both numbers, direction; a queue's row names the agent
    (yeastar-p-series.md 2.7).
    """
    calls = office(with_names=True).calls()
    queue, agent = next(pair for legs in calls for pair in pairwise(legs) if _is_answered_queue(pair[0]))
    stamp, call_id, caller, called, direction = queue.recording.split("-")
    answered = parse_wall_clock(queue.time_start) + timedelta(
        seconds=(queue.call_duration or 0) - (queue.talk_duration or 0)
    )
    assert stamp == answered.strftime("%Y%m%d%H%M%S")
    assert (call_id, caller, direction) == (queue.call_id, queue.call_from, "Inbound.wav")
    assert agent.call_to.endswith(f"<{called}>")
    assert agent.recording == queue.recording


def test_office_calls_are_in_the_order_of_their_end() -> None:
    """A PBX reports a call when it ends: a short call overtakes a long one, across midnight too."""
    calls = list(islice(office(calls_per_day=5000).calls_since(datetime(2026, 6, 1, 18, tzinfo=UTC)), 4000))
    assert all(earlier.ended_at <= later.ended_at for earlier, later in pairwise(calls))
    assert any(earlier.started_at > later.started_at for earlier, later in pairwise(calls))


def test_office_latest_is_the_end_of_the_stream() -> None:
    """And generated again it is the same."""
    now = datetime(2026, 6, 3, 10, 30, tzinfo=UTC)
    since = office().calls_since(now - timedelta(days=10))
    stream = [call.legs for call in takewhile(lambda call: call.ended_at <= now, since)]
    latest = [call.legs for call in office().latest(now, 300)]
    assert len(latest) == 300
    assert sorted(map(str, latest)) == sorted(map(str, stream[-300:]))
    assert office().latest(now, 0) == []


def test_office_live_call_ends_at_its_time() -> None:
    """For each time there is one call that ends in that second, and no time is read before its turn."""
    requested_times: list[datetime] = []

    def end_times() -> Iterator[datetime]:
        for second in range(10):
            requested_times.append(datetime(2026, 6, 3, 10, 30, second, 999_999, tzinfo=UTC))
            yield requested_times[-1]

    for number, call in enumerate(office().live_calls(end_times())):
        assert len(requested_times) == number + 1
        assert call.ended_at == requested_times[-1].replace(microsecond=0)
        assert call.started_at.timestamp() == call_epoch(call.legs[0].call_id)


def test_office_wrong_clock_moves_reported_times_only() -> None:
    """With a clock that is an hour ahead all ids and times are an hour later, and the calls end when they did."""
    start = datetime(2026, 6, 3, tzinfo=UTC)
    right, wrong = (next(office(clock_error_seconds=error).calls_since(start)) for error in (0, 3600))
    assert right.ended_at == wrong.ended_at
    assert call_epoch(wrong.legs[0].call_id) == call_epoch(right.legs[0].call_id) + 3600
    assert parse_wall_clock(wrong.legs[0].time_start) == parse_wall_clock(right.legs[0].time_start) + timedelta(hours=1)


@pytest.mark.parametrize("calls_per_day", [0, CALLS_PER_DAY_MAX + 1])
def test_office_calls_per_day_are_limited(calls_per_day: int) -> None:
    with pytest.raises(UsageError, match="calls a day"):
        office(calls_per_day=calls_per_day)


def _is_answered_queue(leg: CallDetails) -> bool:
    return leg.call_to.endswith("<6400>") and leg.status == "ANSWERED"
