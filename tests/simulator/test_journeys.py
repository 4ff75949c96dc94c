"""Legs of one call."""

from collections import Counter
from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from onhook.simulator.journeys import LEGS_MAX, Journey, generate_journey
from onhook.simulator.numbers import QUEUE, RING_GROUP, SURVEY, create_directory

OFFICE = create_directory(1, 12)


def journeys(count: int) -> list[Journey]:
    rng = Random(1)
    return [generate_journey(rng, OFFICE) for _ in range(count)]


@given(st.integers())
def test_journey_every_leg_is_possible(seed: int) -> None:
    """Talk fits into the call, a busy or failed leg lasts no time, an unanswered one has no talk, a voice mail has."""
    journey = generate_journey(Random(seed), OFFICE)
    assert 1 <= len(journey.legs) <= LEGS_MAX
    for leg in journey.legs:
        assert 0 <= leg.talk_duration <= leg.call_duration
        assert (leg.talk_duration > 0) == (leg.status in ("ANSWERED", "VOICEMAIL"))
        assert leg.call_duration == 0 or leg.status not in ("BUSY", "FAILED")


@given(st.integers())
def test_journey_group_and_its_person_have_one_conversation(seed: int) -> None:
    """The leg after an answered queue or ring group is the person's: same talk, same end, same recording."""
    legs = generate_journey(Random(seed), OFFICE).legs
    for group, person in pairwise(legs):
        if group.call_to in (QUEUE, RING_GROUP) and group.status == "ANSWERED":
            assert person.talk_duration == group.talk_duration
            assert person.ends_after == group.ends_after
            assert person.recorded_number == group.recorded_number == person.call_to.number


def test_journey_every_kind_of_call_occurs() -> None:
    """All directions, all outcomes, one to six legs, surveys, transfers and callers who hang up in a menu."""
    calls = journeys(2000)
    assert {call.type for call in calls} == {"Inbound", "Outbound", "Internal"}
    assert {len(call.legs) for call in calls} == set(range(1, LEGS_MAX + 1))
    statuses = {leg.status for call in calls for leg in call.legs}
    assert statuses == {"ANSWERED", "NO ANSWER", "BUSY", "VOICEMAIL", "FAILED"}
    last = Counter(call.legs[-1].call_to for call in calls)
    assert last[SURVEY]
    assert last[QUEUE]
    assert any(call.legs[-1].call_to.name.startswith("IVR") for call in calls)
    people = [[leg for leg in call.legs if leg.call_to in OFFICE.extensions and leg.talk_duration] for call in calls]
    assert any(len(spoke) == 2 for spoke in people)


def test_journey_trunks_match_the_direction() -> None:
    """An inbound call has a DID and no outgoing trunk, an outbound one the opposite, an internal one neither."""
    lines = {(call.type, bool(call.did), bool(call.dst_trunk_name)) for call in journeys(500)}
    assert lines == {("Inbound", True, False), ("Outbound", False, True), ("Internal", False, False)}
